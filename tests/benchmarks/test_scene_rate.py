"""How fast is a large pair aligned and cut into chips, beside gdalwarp and beside chips through WarpedVRT?

INTERVAL_LARGE_PAIR may name a folder where the pair is kept from one run to the next.
"""

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from ingest.align import align_pair
from ingest.chips import chip_starts, iter_chips
from ingest.geotiff.environment import gdal_environment
from ingest.pairing import Pair
from tests.ingest.large_pair import CURRENT, PRIOR, SIDE, write_large, write_large_pair
from tests.ingest.scene_files import paired

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]

CHIP = 512


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    kept = os.environ.get("INTERVAL_LARGE_PAIR")
    path = Path(kept) if kept else tmp_path_factory.mktemp("large")
    path.mkdir(exist_ok=True)
    if not (path / CURRENT).is_file():
        write_large_pair(path)
    yield path
    if not kept:
        shutil.rmtree(path)


def timed(work: Callable[[], object], files: tuple[Path, ...]) -> tuple[float, float]:
    """Seconds of wall clock and of processor time, child processes included; all find the files in the page cache."""
    for path in files:
        with path.open("rb") as file:
            while file.read(2**24):
                pass

    def used() -> float:
        both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(one.ru_utime + one.ru_stime for one in both)

    wall, cpu = time.perf_counter(), used()
    work()
    return time.perf_counter() - wall, used() - cpu


def chips(pair: Pair) -> int:
    return sum(chip.is_clear for chip in iter_chips(align_pair(pair), size=CHIP))


def by_gdalwarp(program: Path, prior: Path, current: Path, out: Path) -> None:
    """The prior on the current's grid, and nothing else."""
    with rasterio.open(current) as src:
        west, south, east, north = src.bounds
        size = ["-ts", str(src.width), str(src.height)]
        system = src.crs.to_string()
    command = [program, "-q", "-overwrite", "-multi", "-wo", "NUM_THREADS=ALL_CPUS", "-wm", "1024", "-r", "bilinear"]
    command += ["-t_srs", system, "-te", *(repr(edge) for edge in (west, south, east, north)), *size, prior, out]
    subprocess.run(command, check=True)
    out.unlink()


def by_warped_vrt(pair: Pair, *, anew: bool) -> None:
    """Three rows of chips of the prior through a WarpedVRT on the current's grid, and of the current.

    Args:
        pair: Both scenes.
        anew: Open both files for each chip, as a loader does that is asked for one place at a time.
    """
    grid = pair.current.grid
    lefts = chip_starts(grid.width, size=CHIP)
    tops = chip_starts(grid.height, size=CHIP)

    def read(top: int, columns: tuple[int, ...]) -> None:
        with gdal_environment(), rasterio.open(pair.prior.path) as prior, rasterio.open(pair.current.path) as current:
            placed = {"crs": current.crs, "transform": Affine(*grid.affine), "height": grid.height, "width": grid.width}
            with WarpedVRT(prior, resampling=Resampling.bilinear, num_threads=2, **placed) as warped:
                for left in columns:
                    window = Window(left, top, CHIP, CHIP)
                    warped.read([3, 2, 1], window=window)
                    current.read([3, 2, 1], window=window)

    for top in (tops[len(tops) // 6], tops[len(tops) // 2], tops[5 * len(tops) // 6]):
        for group in [(left,) for left in lefts] if anew else [lefts]:
            read(top, group)


def by_blocks(paths: tuple[Path, ...]) -> None:
    """Every block of the files, once, in the order of the file, with one thread."""
    with gdal_environment():
        for path in paths:
            with rasterio.open(path) as src:
                for _, window in src.block_windows(1):
                    src.read(window=window)


def test_a_large_pair_beside_gdalwarp_and_warped_vrt(
    folder: Path, require_program: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    program = require_program("gdalwarp")
    pair = paired(folder / PRIOR, folder / CURRENT)
    files = folder / PRIOR, folder / CURRENT
    theirs = timed(lambda: by_gdalwarp(program, *files, folder / "warped.tif"), files)
    ours = timed(lambda: chips(pair), files)
    rows = len(chip_starts(pair.current.grid.height, size=CHIP))
    vrt = {
        "one WarpedVRT": timed(lambda: by_warped_vrt(pair, anew=False), files),
        "a WarpedVRT for each chip": timed(lambda: by_warped_vrt(pair, anew=True), files),
    }
    with capsys.disabled():
        print(f"\npair of {SIDE} x {SIDE} x 4 uint16 in two UTM zones, {os.cpu_count()} processors")
        print(f"gdalwarp of the prior: {theirs[0]:.1f} s, {theirs[1]:.1f} s of processor time")
        print(f"both aligned, measured, cut into chips of {CHIP}: {ours[0]:.1f} s, {ours[1]:.1f} s of processor time")
        print(f"ratio {ours[0] / theirs[0]:.2f}, of processor time {ours[1] / theirs[1]:.2f}")
        for name, (wall, used) in vrt.items():
            wall, used = wall * rows / 3, used * rows / 3
            print(
                f"chip by chip, {name}: {wall:.0f} s, {wall / ours[0]:.1f} of ours, of processor time "
                f"{used / ours[1]:.1f}; from three of {rows} rows of chips"
            )


def test_a_pair_on_one_grid_beside_reading_its_blocks(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with rasterio.open(folder / CURRENT) as src:
        crs, transform = src.crs.to_string(), src.transform
    write_large(tmp_path / PRIOR, crs, transform, seed=3)
    pair = paired(tmp_path / PRIOR, folder / CURRENT)

    files = tmp_path / PRIOR, folder / CURRENT
    raw = timed(lambda: by_blocks(files), files)
    started = time.perf_counter()
    aligned = align_pair(pair)
    align = time.perf_counter() - started
    cut = timed(lambda: sum(chip.is_clear for chip in iter_chips(aligned, size=CHIP)), files)
    pixels = 2 * SIDE**2 / 1e6

    with capsys.disabled():
        print(f"\npair of {SIDE} x {SIDE} x 4 uint16 on one grid, {os.cpu_count()} processors")
        print(
            f"blocks read by one thread: {raw[0]:.1f} s, {raw[1]:.1f} s of processor time, {pixels / raw[0]:.1f} Mpx/s"
        )
        print(f"chips of both dates: {cut[0]:.1f} s, {cut[1]:.1f} s of processor time, {pixels / cut[0]:.1f} Mpx/s")
        print(
            f"{raw[0] / cut[0]:.2f} of the block rate, {raw[1] / cut[1]:.2f} by processor time, "
            f"{raw[0] / (cut[0] + align):.2f} with the alignment before"
        )
