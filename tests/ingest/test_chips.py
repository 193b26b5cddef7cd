"""Chips cover a pair wholly, alike for both dates, whether it is held at once or read in parts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject
from scipy.ndimage import map_coordinates

from ingest.chips import chip_starts, iter_chips
from ingest.geotiff.align import align_scenes
from ingest.geotiff.source import Source, read_source
from ingest.geotiff.warp import warp
from ingest.grid import Grid
from ingest.pairing import Pair
from tests.ingest.scene_files import NORTH, WEST, ground, paired, write_scene

LATER = "2021:05:01 10:00:00"


@given(length=st.integers(1, 3000), size=st.integers(1, 600), overlap=st.floats(0, 0.9, allow_nan=False))
def test_chips_along_a_side_cover_it_and_stay_inside(length: int, size: int, overlap: float) -> None:
    starts = chip_starts(length, size=size, overlap=overlap)

    assert starts[0] == 0
    assert starts[-1] + min(size, length) == length
    assert list(starts) == sorted(set(starts))
    gaps = np.diff(starts)
    assert np.all(gaps <= max(1, size * (1 - overlap)))


@pytest.mark.parametrize(("length", "size", "overlap"), [(0, 4, 0.1), (4, 0, 0.1), (4, 4, 1.0), (4, 4, -0.1)])
def test_chips_that_make_no_sense_are_refused(length: int, size: int, overlap: float) -> None:
    with pytest.raises(ValueError, match="no chips"):
        chip_starts(length, size=size, overlap=overlap)


def in_two_zones(folder: Path) -> Pair:
    """Prior in UTM 33 with a gap of nodata, current in UTM 34, of the same ground near their common border."""
    from rasterio.warp import transform

    prior = np.round(ground(420, 460, seed=3) * 20)
    prior[:60, :80] = 0
    (x,), (y,) = transform("EPSG:32633", "EPSG:32634", [650_300.0], [5_500_000.0 - 300])
    return paired(
        write_scene(
            folder / "a.tif",
            prior,
            dtype="uint16",
            nodata=0,
            transform=Affine(10, 0, 650_000, 0, -10, 5_500_000),
        ),
        write_scene(
            folder / "b.tif",
            np.round(ground(380, 400, seed=4) * 20),
            dtype="uint16",
            crs="EPSG:32634",
            transform=Affine(10, 0, round(x, -1), 0, -10, round(y, -1)),
            time=LATER,
        ),
    )


def test_the_parts_of_a_large_pair_are_those_of_the_pair_held_at_once(tmp_path: Path) -> None:
    pair = in_two_zones(tmp_path)
    whole, reduced = align_scenes(pair), align_scenes(pair, most_pixels=10_000)
    assert whole.native is None
    assert reduced.native is not None
    assert reduced.current.grid.height < whole.current.grid.height

    parts = reduced.native
    down = round((parts.grid.affine[5] - whole.current.grid.affine[5]) / -10)
    right = round((parts.grid.affine[2] - whole.current.grid.affine[2]) / 10)
    width = whole.current.grid.width
    (read,) = parts.read([slice(10, 110)])
    rows, columns = slice(10 + down, 110 + down), slice(max(0, right), min(width, parts.grid.width + right))
    inner = slice(columns.start - right, columns.stop - right)

    for name in ("prior", "current"):
        from_parts, at_once = getattr(read, name), getattr(whole, name)
        assert np.array_equal(from_parts.valid[:, inner], at_once.valid[rows, columns])
        # each stretches over its own sample of the values, so that where neither is clipped the two are proportional
        ours = from_parts.values[:, :, inner][:, from_parts.valid[:, inner]]
        theirs = at_once.values[:, rows, columns][:, at_once.valid[rows, columns]]
        grey = (ours > 0) & (ours < 1) & (theirs > 0) & (theirs < 1)
        assert grey.mean() > 0.9
        slope, offset = np.polyfit(theirs[grey], ours[grey], 1)
        # GDAL interpolates coordinates along a row, with an error of up to an eighth of a pixel that differs by row:
        # what differs is less than a tenth of what a displacement by a pixel would make
        a_pixel_off = np.abs(np.diff(at_once.values[:, rows, columns], axis=2)).mean()
        assert np.abs(ours[grey] - slope * theirs[grey] - offset).mean() < 0.1 * a_pixel_off
        assert slope == pytest.approx(1, abs=0.05)
    assert not read.prior.valid.all()
    assert read.prior.valid.any()


def test_chips_of_a_large_pair_put_together_are_the_strips_they_were_cut_from(tmp_path: Path) -> None:
    reduced = align_scenes(in_two_zones(tmp_path), most_pixels=10_000)
    parts = reduced.native
    assert parts is not None

    seen = np.zeros(parts.grid.shape, dtype=int)
    values = np.full((3, *parts.grid.shape), np.nan, dtype=np.float32)
    for chip in iter_chips(reduced, size=96):
        seen[chip.rows, chip.columns] += 1
        values[:, chip.rows, chip.columns] = chip.pair.prior.values
        assert chip.pair.prior.grid == chip.pair.current.grid == parts.grid.part(chip.rows, chip.columns)
        both = chip.pair.prior.valid & chip.pair.current.valid
        assert chip.valid_share == both.mean()
        # what is written as JSON
        assert type(chip.valid_share) is float
        assert type(chip.is_clear) is bool

    assert seen.min() == 1
    (whole,) = parts.read([slice(0, parts.grid.height)])
    assert np.array_equal(values, whole.prior.values)


def test_a_pair_smaller_than_a_chip_is_one_chip(tmp_path: Path) -> None:
    aligned = align_scenes(
        paired(
            write_scene(tmp_path / "a.tif", ground(90, 130)),
            write_scene(tmp_path / "b.tif", ground(90, 130), time=LATER),
        )
    )

    (chip,) = iter_chips(aligned, size=256)

    assert (chip.rows, chip.columns) == (slice(0, 90), slice(0, 130))
    assert np.array_equal(chip.pair.prior.values, aligned.prior.values)
    assert chip.is_clear


def test_chips_without_enough_valid_ground_say_so(tmp_path: Path) -> None:
    values = ground(128, 512)
    values[:, 256:] = 0
    aligned = align_scenes(
        paired(
            write_scene(tmp_path / "a.tif", values, nodata=0),
            write_scene(tmp_path / "b.tif", ground(128, 512), time=LATER, nodata=0),
        ),
    )

    chips = list(iter_chips(aligned, size=128, overlap=0))

    assert [chip.is_clear for chip in chips] == [True] * 2 + [False] * (len(chips) - 2)


def test_a_warp_around_hidden_pixels_equals_that_of_gdal_with_nodata(tmp_path: Path) -> None:
    pair = in_two_zones(tmp_path)
    target = Grid(
        affine=(10.0, 0.0, pair.current.grid.affine[2] - 500, 0.0, -10.0, pair.current.grid.affine[5] + 500),
        height=300,
        width=300,
        frame=pair.current.grid.frame,
    )
    whole, gap = read_source(pair.current, target), read_source(pair.prior, target)
    assert whole.shown is None
    assert gap.shown is not None

    ours = warp(gap, target)
    theirs = np.full(ours.shape, np.nan, dtype=np.float32)
    reproject(
        np.where(gap.shown, gap.values, np.float32(np.nan)).astype(np.float32),
        theirs,
        src_transform=Affine(*gap.grid.affine),
        src_crs=CRS.from_wkt(gap.grid.frame),
        dst_transform=Affine(*target.affine),
        dst_crs=CRS.from_wkt(target.frame),
        src_nodata=np.nan,
        dst_nodata=np.nan,
        resampling=Resampling.bilinear,
        XSCALE=1,
        YSCALE=1,
    )

    both = np.isfinite(ours) & np.isfinite(theirs)
    assert both.mean() > 0.5
    assert np.abs(ours[both] - theirs[both]).max() < 0.01
    # ours ends with the nearest pixel, GDAL's up to half a pixel later
    assert not (np.isfinite(ours) & ~np.isfinite(theirs)).any()
    assert np.isnan(ours[0]).any()


@pytest.mark.parametrize("degrees", [0.0, 4.6, 45.0])
@pytest.mark.parametrize("margin", [2, 200])
def test_a_turned_scene_is_interpolated_between_four_pixels(degrees: float, margin: int) -> None:
    """However much of the source is read around the target: GDAL of its own would take that for a change of scale."""
    side, utm = 120, CRS.from_epsg(32633).to_wkt()
    turned = Affine(10, 0, 500_003, 0, -10, 5_000_007) @ Affine.rotation(degrees)
    target = Grid(affine=tuple(turned)[:6], height=side, width=side, frame=utm)
    corners = [turned @ corner for corner in ((0, 0), (side, 0), (0, side), (side, side))]
    west, north = min(x for x, _ in corners) - 10 * margin, max(y for _, y in corners) + 10 * margin
    east, south = max(x for x, _ in corners) + 10 * margin, min(y for _, y in corners) - 10 * margin
    place = Affine(10, 0, west, 0, -10, north)
    height, width = round((north - south) / 10), round((east - west) / 10)
    values = np.random.default_rng(1).uniform(0, 1000, (1, height, width)).astype(np.float32)
    everywhere = np.ones((height, width), dtype=np.bool_)
    grid = Grid(affine=tuple(place)[:6], height=height, width=width, frame=utm)
    source = Source(values=values, shown=None, valid=everywhere, seen=None, grid=grid, steps=())

    warped = warp(source, target)

    columns, rows = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    x, y = ~place @ turned @ (columns, rows)
    expected = map_coordinates(values[0], [y - 0.5, x - 0.5], order=1)
    # GDAL looks positions up to an eighth of a pixel away from where they are
    assert np.median(np.abs(warped[0] - expected)) < 1
    assert warped.std() == pytest.approx(expected.std(), rel=0.01)


def test_hiding_one_pixel_changes_no_other(tmp_path: Path) -> None:
    pair = in_two_zones(tmp_path)
    source = read_source(pair.prior, pair.current.grid)
    assert source.shown is not None
    shown = source.shown.copy()
    shown[200, 200] = False
    values = source.values.copy()
    values[:, 200, 200] = 0

    before, after = (warp(one, pair.current.grid) for one in (source, replace(source, shown=shown, values=values)))

    lost = np.isfinite(before[0]) & ~np.isfinite(after[0])
    assert 1 <= lost.sum() <= 4
    # its neighbours are the mean over one pixel less
    changed = np.isfinite(after) & (np.abs(before - after) > 1e-3)
    assert changed[0].sum() <= 12


@pytest.mark.parametrize("east", [0, 7, 100])
def test_tiles_of_whole_blocks_show_what_the_whole_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, east: int
) -> None:
    monkeypatch.setattr("ingest.geotiff.parts._TILE", 128)
    monkeypatch.setattr("ingest.geotiff.parts._BLOCK", 64)
    values = ground(300, 600)
    transform = Affine(10, 0, WEST + 10 * east, 0, -10, NORTH)
    prior = write_scene(tmp_path / "a.tif", values, tiled=True, blockxsize=64, blockysize=64)
    current = write_scene(tmp_path / "b.tif", values[:, ::-1], time=LATER, transform=transform)
    pair = paired(prior, current)
    whole = align_scenes(pair)

    native = align_scenes(pair, most_pixels=100 * 100).native
    chips = list(iter_chips(align_scenes(pair, most_pixels=100 * 100), size=128))

    assert native is not None
    columns = slice(0, native.grid.width)
    # next to each other, far apart, back, inside of each other
    spans = [slice(0, 128), slice(90, 200), slice(10, 60), slice(50, 280), slice(270, 280), slice(272, 280)]
    for rows, part in zip(spans, native.read(spans), strict=True):
        np.testing.assert_array_equal(part.prior.values, whole.prior.values[:, rows, columns])
        np.testing.assert_array_equal(part.current.values, whole.current.values[:, rows, columns])
    assert len(chips) > 10
    for chip in chips:
        for role in ("prior", "current"):
            one, all_of_it = getattr(chip.pair, role), getattr(whole, role)
            np.testing.assert_array_equal(one.values, all_of_it.values[:, chip.rows, chip.columns])
            np.testing.assert_array_equal(one.valid, all_of_it.valid[chip.rows, chip.columns])
