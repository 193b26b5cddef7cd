"""A large pair is read in parts: what becomes of threads, files and errors on the way."""

import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest
from rasterio._env import get_gdal_config

from ingest.chips import iter_chips
from ingest.geotiff.align import align_scenes
from ingest.geotiff.environment import CACHE, gdal_environment
from ingest.geotiff.errors import TruncatedRaster
from ingest.geotiff.lane import open_lanes
from ingest.pairing import Pair
from ingest.pixels import AlignedPair
from tests.ingest.scene_files import ground, paired, write_scene

LATER = "2021:05:01 10:00:00"


def large_pair(folder: Path, *, size: int = 600) -> Pair:
    """Two scenes on one lattice, of blocks of 64 pixels, the prior displaced by half a pixel."""
    options = {"tiled": True, "blockxsize": 64, "blockysize": 64}
    prior = write_scene(folder / "a.tif", ground(size, size, shift=(0.5, 0.5)), **options)
    return paired(prior, write_scene(folder / "b.tif", ground(size, size), time=LATER, **options))


def aligned(pair: Pair) -> AlignedPair:
    reduced = align_scenes(pair, most_pixels=200 * 200)
    assert reduced.native is not None
    return reduced


def open_files(folder: Path) -> list[str]:
    """Files of a folder that this process has open."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [str(target) for link in links if (target := link.resolve()).is_relative_to(folder)]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks at /proc")
def test_chips_that_are_not_fetched_to_the_end_leave_no_thread_and_no_file_open(tmp_path: Path) -> None:
    reduced = aligned(large_pair(tmp_path))
    before = threading.active_count()

    chips = iter_chips(reduced, size=64)
    for _ in range(3):
        next(chips)
    assert threading.active_count() > before
    assert len(open_files(tmp_path)) > 0
    chips.close()

    assert threading.active_count() == before
    assert open_files(tmp_path) == []


@pytest.mark.parametrize("role", ["prior", "current"])
def test_a_file_that_is_cut_after_the_alignment_is_named_and_ends_the_threads(tmp_path: Path, role: str) -> None:
    pair = large_pair(tmp_path)
    reduced = aligned(pair)
    before = threading.active_count()
    path = getattr(pair, role).path
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(TruncatedRaster) as caught:
        list(iter_chips(reduced, size=64))

    assert path.name in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert threading.active_count() == before


def test_a_file_that_is_gone_after_the_alignment_is_named(tmp_path: Path) -> None:
    pair = large_pair(tmp_path)
    reduced = aligned(pair)
    pair.prior.path.unlink()

    with pytest.raises(TruncatedRaster, match=r"a\.tif cannot be read any more"):
        list(iter_chips(reduced, size=64))


def test_parts_are_the_same_however_they_are_cut_and_asked_for(tmp_path: Path) -> None:
    native = aligned(large_pair(tmp_path)).native
    assert native is not None
    height = native.grid.height

    (whole,) = native.read([slice(0, height)])
    spans = [slice(top, min(height, top + 100)) for top in range(0, height, 70)]

    for rows, part in zip(spans, native.read(spans), strict=True):
        # GDAL interpolates coordinates along a row, which differs by the tile
        np.testing.assert_allclose(part.prior.values, whole.prior.values[:, rows], atol=0.02)
        np.testing.assert_array_equal(part.prior.valid, whole.prior.valid[rows])
        np.testing.assert_array_equal(part.current.values, whole.current.values[:, rows])


def test_a_lane_drops_what_it_has_not_begun() -> None:
    begun = threading.Event()

    def slow() -> str:
        begun.set()
        time.sleep(0.2)
        return "done"

    with open_lanes(1) as (lane,):
        first, second = lane.submit(slow), lane.submit(slow)
        begun.wait()

    assert first.result() == "done"
    with pytest.raises(CancelledError):
        second.result()


def test_an_environment_inside_another_keeps_its_cache() -> None:
    """GDAL throws away what is above the limit when it is lowered: a mask beside a raster would cost its blocks."""
    with gdal_environment(cache=2 * CACHE), gdal_environment():
        assert int(get_gdal_config("GDAL_CACHEMAX")) == 2 * CACHE
    with gdal_environment():
        assert int(get_gdal_config("GDAL_CACHEMAX")) == CACHE


def test_where_no_window_is_valid_the_levels_come_from_around_a_valid_pixel(tmp_path: Path) -> None:
    """Gaps between the lines of a scanner leave no window of nine tenths; both dates have the same here."""
    values = np.round(ground(600, 600)) + 1
    values[np.arange(600) % 30 < 15] = 0
    pair = paired(
        write_scene(tmp_path / "a.tif", values * 20, nodata=0, dtype="uint16"),
        write_scene(tmp_path / "b.tif", values[:, ::-1] * 20, nodata=0, time=LATER, dtype="uint16"),
    )

    reduced = align_scenes(pair, most_pixels=200 * 200)
    at_once = align_scenes(pair)

    assert reduced.native is not None
    levels = [next(step for step in one.current.steps if step.startswith("display")) for one in (reduced, at_once)]
    low, high = (np.array([float(word.rstrip(",")) for word in step.split()[-3::2]]) for step in levels)
    np.testing.assert_allclose(low, high, rtol=0.05)


#: Two threads warp small arrays at a time; every warning is an error.
_TWO_THREADS = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from rasterio.crs import CRS
from ingest.geotiff.source import Source
from ingest.geotiff.warp import warp
from ingest.grid import Grid

frame = CRS.from_epsg(32633).to_wkt()
own = Grid(affine=(10.0, 0.0, 4e5, 0.0, -10.0, 5e6), height=8, width=8, frame=frame)
target = Grid(affine=(10.0, 0.0, 4e5 + 3, 0.0, -10.0, 5e6 - 3), height=8, width=8, frame=frame)
whole = np.ones((8, 8), bool)
source = Source(values=np.ones((1, 8, 8), np.uint8), shown=None, valid=whole, seen=None, grid=own, steps=())
sys.setswitchinterval(1e-6)
with ThreadPoolExecutor(4) as threads:
    for _ in threads.map(lambda _: warp(source, target), range(2000)):
        pass
"""


def test_threads_that_warp_at_a_time_raise_no_warning() -> None:
    """rasterio hides a warning by `warnings.catch_warnings`, which is not safe in threads."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _TWO_THREADS], capture_output=True, text=True, timeout=240, check=False
    )

    assert done.returncode == 0, done.stderr[-2000:]
