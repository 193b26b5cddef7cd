import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject
from rasterio.warp import transform as transform_points

from ingest.acquisition import Acquisition
from ingest.align import align_pair
from ingest.geotiff.align import MOST_PIXELS, align_scenes
from ingest.geotiff.crs import ground_gsd
from ingest.geotiff.errors import AlignmentFailed, NoOverlap, TruncatedRaster
from ingest.geotiff.lattice import choose_target
from ingest.geotiff.scene import index_scene
from ingest.pairing import Pair
from tests.ingest.scene_files import NORTH, WEST, ground, paired, write_scene
from tests.ingest.shifted_scenes import make_case

LATER = "2021:05:01 10:00:00"


def _real_pair(shared_data: Path, key: str) -> tuple[Pair, dict[str, float], dict[str, float]]:
    """The pair of `expected.json`, its measured figures, and those of its registration; dates are made up if absent."""
    root = shared_data / "satellite"
    expected = next(one for one in json.loads((root / "expected.json").read_text())["pairs"] if one["id"] == key)
    prior, current = (index_scene(root / expected[role], root) for role in ("prior", "current"))
    assert isinstance(prior, Acquisition)
    assert isinstance(current, Acquisition)
    start = prior.time or datetime(2020, 1, 1)
    days = ((current.time or start + timedelta(days=10)) - start).total_seconds() / 86_400
    pair = Pair(id=key, prior=prior, current=current, interval_days=days, reason="expected.json")
    return pair, expected, expected.get("registration", {})


@pytest.mark.parametrize("key", ["s2_t33uuu_crop", "s2_t33uuu_crop_mixed_crs", "s2_t33uuu_full"])
def test_the_real_displacement_is_found_with_its_sign_and_removed(shared_data: Path, key: str) -> None:
    pair, expected, registration = _real_pair(shared_data, key)
    # the same displacement in the crop that was only projected to degrees
    registration = registration or {"row_px": -1.85, "column_px": 0.6, "tolerance_px": 0.2}

    aligned = align_scenes(pair)

    # expected.json moves the current onto the prior; here the prior moves
    assert aligned.quality["shift_row_px"] == pytest.approx(-registration["row_px"], abs=registration["tolerance_px"])
    assert aligned.quality["shift_col_px"] == pytest.approx(
        -registration["column_px"], abs=registration["tolerance_px"]
    )
    assert abs(aligned.quality["residual_row_px"]) < 0.2
    assert abs(aligned.quality["residual_col_px"]) < 0.2
    assert aligned.quality["shift_agreement"] > 0.8
    valid_ha = (
        float(pair.prior.attributes["valid_share"])
        * pair.prior.grid.height
        * pair.prior.grid.width
        * np.prod(ground_gsd(pair.prior.grid))
        / 10_000
    )
    assert aligned.quality["area_ha"] / valid_ha == pytest.approx(expected["both_valid_share_of_prior_valid"], abs=0.01)


@pytest.mark.parametrize(
    ("key", "shift", "gain"), [("s2_t33uuu_crop", (1.85, -0.6), 0.03), ("montreal_same_image", (0.17, 0.15), 0.005)]
)
def test_removing_the_real_displacement_makes_the_dates_more_alike(
    shared_data: Path, key: str, shift: tuple[float, float], gain: float
) -> None:
    from ingest.geotiff.source import read_source
    from ingest.geotiff.warp import warp

    pair, _, _ = _real_pair(shared_data, key)
    target = choose_target(pair.prior, pair.current, most_pixels=MOST_PIXELS).grid
    prior, current = read_source(pair.prior, target), warp(read_source(pair.current, target), target)

    def likeness(moved: tuple[float, float]) -> float:
        warped = warp(prior, target, shift_px=moved)
        valid = np.isfinite(warped[0]) & np.isfinite(current[0])
        return float(np.corrcoef(np.log(warped[0][valid]), np.log(current[0][valid]))[0, 1])

    assert likeness(shift) > likeness((0, 0)) + gain
    assert likeness((-shift[0], -shift[1])) < likeness((0, 0))


@pytest.mark.parametrize("key", ["montreal_seasons", "montreal_same_image"])
def test_the_shared_valid_ground_of_undated_scenes_is_as_measured(shared_data: Path, key: str) -> None:
    pair, expected, _ = _real_pair(shared_data, key)

    aligned = align_scenes(pair)

    valid_ha = expected["valid_share_of_prior"] * pair.prior.grid.height * pair.prior.grid.width * 300.0385**2 / 10_000
    assert aligned.quality["area_ha"] / valid_ha == pytest.approx(expected["both_valid_share_of_prior_valid"], abs=0.01)
    assert CRS.from_wkt(aligned.current.grid.frame) == CRS.from_epsg(32618)
    # the copy in degrees was made by nearest neighbours, which moved it by a fifth of its pixel (tested below)
    assert np.hypot(aligned.quality["shift_row_px"], aligned.quality["shift_col_px"]) < 0.25


def test_the_same_picture_in_degrees_and_metres_is_alike(shared_data: Path) -> None:
    aligned = align_scenes(_real_pair(shared_data, "montreal_same_image")[0])

    both = aligned.prior.valid & aligned.current.valid
    assert np.corrcoef(aligned.prior.values[:, both].ravel(), aligned.current.values[:, both].ravel())[0, 1] > 0.85
    assert aligned.prior.values[:, both].mean() == pytest.approx(aligned.current.values[:, both].mean(), abs=0.01)


def test_eight_bit_scenes_of_one_grid_come_out_as_stored(shared_data: Path) -> None:
    import rasterio

    root = shared_data / "satellite/s2_barbellino"
    prior, current = (root / f"S2A2A_{day}_022_Barbellino_RGB432B_10.tif" for day in ("20170703", "20190723"))

    aligned = align_pair(paired(prior, current))

    for path, pixels in ((prior, aligned.prior), (current, aligned.current)):
        with rasterio.open(path) as src:
            assert np.array_equal(np.rint(pixels.values * 255), np.where(pixels.valid, src.read(), 0))
            assert tuple(src.transform)[:6] == pixels.grid.affine
    assert aligned.quality["valid_share_both"] == 1
    assert aligned.current.valid.all()
    # 33 pixels of the prior's SCL are cloud, and each lies under four of the scene
    assert aligned.quality["clear_share_both"] == pytest.approx(1 - 33 / (21 * 12))
    assert 33 * 4 <= (~aligned.prior.valid).sum() < 24 * 42 / 2
    assert aligned.quality["area_ha"] == pytest.approx(aligned.prior.valid.sum() * 100 / 10_000)
    assert any("too small" in warning for warning in aligned.warnings)


@pytest.mark.parametrize("shift", [(1.3, -0.7), (-0.4, 2.6), (3.0, 0.0), (0.05, 0.05)])
def test_a_known_displacement_is_removed_with_one_sign(tmp_path: Path, shift: tuple[float, float]) -> None:
    # the current's content lies `shift` further down and right, so the prior must move by as much
    prior = write_scene(tmp_path / "a.tif", ground())
    current = write_scene(tmp_path / "b.tif", ground(shift=shift), time=LATER)

    quality = align_scenes(paired(prior, current)).quality

    applied = shift if max(map(abs, shift)) > 0.2 else (0.0, 0.0)
    assert quality["shift_row_px"] == pytest.approx(applied[0], abs=0.08)
    assert quality["shift_col_px"] == pytest.approx(applied[1], abs=0.08)
    assert abs(quality["residual_row_px"]) < 0.1
    assert abs(quality["residual_col_px"]) < 0.1


def test_moving_the_prior_by_the_displacement_gives_the_current(tmp_path: Path) -> None:
    prior = write_scene(tmp_path / "a.tif", ground())
    current = write_scene(tmp_path / "b.tif", ground(shift=(2.0, -1.0)), time=LATER)

    aligned = align_scenes(paired(prior, current))

    # the rows that moved in from outside the prior are not valid
    assert not aligned.prior.valid[:1].any()
    inner = (slice(None), slice(8, -8), slice(8, -8))
    assert np.abs(aligned.prior.values[inner] - aligned.current.values[inner]).max() < 0.05


def test_two_unlike_scenes_are_not_moved_and_the_reader_is_told(tmp_path: Path) -> None:
    prior = write_scene(tmp_path / "a.tif", ground(seed=1))
    current = write_scene(tmp_path / "b.tif", ground(seed=2), time=LATER)

    aligned = align_scenes(paired(prior, current))

    assert aligned.quality["shift_row_px"] == aligned.quality["shift_col_px"] == 0
    assert "residual_row_px" not in aligned.quality
    assert any("agree" in warning for warning in aligned.warnings)


def test_a_displacement_beyond_registration_is_refused(tmp_path: Path) -> None:
    prior = write_scene(tmp_path / "a.tif", ground())
    current = write_scene(tmp_path / "b.tif", ground(shift=(9.0, 7.0)), time=LATER)

    with pytest.raises(AlignmentFailed, match=r"displaced by 11\.[34] pixels, more than the 10") as caught:
        align_scenes(paired(prior, current))

    assert caught.value.code == "ALIGNMENT_FAILED"


@pytest.mark.parametrize("seed", range(8))
def test_known_displacements_are_removed_from_files_with_clouds_and_noise(
    shared_data: Path, tmp_path: Path, seed: int
) -> None:
    case = make_case(shared_data / "satellite", seed)
    # the clouds of a date are nodata there
    paths = [
        write_scene(
            tmp_path / f"{role}.tif", np.where(clear, values, -9999), dtype="float32", nodata=-9999, time=time, count=1
        )
        for role, values, clear, time in (
            ("x_B04_prior", case.prior, case.clear[0], "2020:05:01 10:00:00"),
            ("x_B04_current", case.current, case.clear[1], LATER),
        )
    ]

    quality = align_scenes(paired(*paths)).quality

    assert quality["shift_row_px"] == pytest.approx(case.shift[0], abs=0.1)
    assert quality["shift_col_px"] == pytest.approx(case.shift[1], abs=0.1)
    assert abs(quality["residual_row_px"]) < 0.1
    assert abs(quality["residual_col_px"]) < 0.1


@pytest.mark.parametrize(("dtype", "nodata"), [("uint16", 0), ("int16", -9999), ("float32", np.nan), ("uint8", 0)])
def test_nodata_does_not_bleed_into_values(tmp_path: Path, dtype: str, nodata: float) -> None:
    values = np.full((128, 128), 200.0)
    values[40:60, 40:60] = nodata
    half_a_pixel = Affine(10, 0, WEST + 5, 0, -10, NORTH - 5)
    prior = write_scene(tmp_path / "a.tif", values, dtype=dtype, nodata=nodata, transform=half_a_pixel)
    other = np.full((128, 128), 200.0)
    other[0, 0] = 100
    current = write_scene(tmp_path / "b.tif", other, dtype=dtype, nodata=nodata, time=LATER)

    aligned = align_scenes(paired(prior, current))

    shown = aligned.prior.values[:, aligned.prior.valid]
    assert shown.max() - shown.min() == 0
    assert (~aligned.prior.valid).sum() == pytest.approx(400, abs=45)
    assert (aligned.prior.values[:, ~aligned.prior.valid] == 0).all()


def test_a_current_in_degrees_is_compared_in_metres(tmp_path: Path) -> None:
    prior = write_scene(tmp_path / "a.tif", ground())
    flat = ground()
    source = Affine(10, 0, WEST, 0, -10, NORTH)
    (west, east), (south, north) = transform_points(
        "EPSG:32633", "EPSG:4326", [WEST - 50, WEST + 2610], [NORTH - 2610, NORTH + 50]
    )
    transform = Affine((east - west) / 260, 0, west, 0, (south - north) / 260, north)
    degrees = np.zeros((260, 260))
    reproject(
        flat,
        degrees,
        src_transform=source,
        src_crs="EPSG:32633",
        dst_transform=transform,
        dst_crs="EPSG:4326",
        dst_nodata=0,
        resampling=Resampling.cubic,
    )
    current = write_scene(tmp_path / "b.tif", degrees, crs="EPSG:4326", transform=transform, nodata=0, time=LATER)

    aligned = align_scenes(paired(prior, current))

    grid = aligned.current.grid
    assert CRS.from_wkt(grid.frame) == CRS.from_epsg(32633)
    assert grid.affine[0] == -grid.affine[4]
    assert aligned.quality["area_ha"] == pytest.approx(655.36, rel=0.02)
    both = aligned.prior.valid & aligned.current.valid
    assert np.abs(aligned.prior.values[0][both] - aligned.current.values[0][both]).mean() < 0.01


@pytest.mark.parametrize("coarse_is_prior", [True, False])
def test_different_resolutions_are_compared_at_the_coarser_one(tmp_path: Path, coarse_is_prior: bool) -> None:
    fine = ground()
    coarse = fine.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    names = ("b.tif", "a.tif") if coarse_is_prior else ("a.tif", "b.tif")
    times = (LATER, "2020:05:01 10:00:00") if coarse_is_prior else ("2020:05:01 10:00:00", LATER)
    write_scene(tmp_path / names[0], fine, dtype="float32", time=times[0])
    write_scene(tmp_path / names[1], coarse, dtype="float32", pixel=40.0, time=times[1])

    aligned = align_scenes(paired(tmp_path / "a.tif", tmp_path / "b.tif"))

    assert aligned.current.grid.shape == (64, 64)
    assert aligned.quality["gsd_m"] == pytest.approx(40)
    # averaged in whole blocks: equal to the mean, not to some pixel in it
    assert np.abs(aligned.prior.values - aligned.current.values).max() < 1e-3


def test_a_mirrored_scene_is_shown_north_up(tmp_path: Path) -> None:
    values = ground()
    prior = write_scene(tmp_path / "a.tif", values)
    upwards = Affine(10, 0, WEST, 0, 10, NORTH - 2560)
    current = write_scene(tmp_path / "b.tif", values[::-1], transform=upwards, time=LATER)

    aligned = align_scenes(paired(prior, current))

    assert aligned.current.grid.affine == (10, 0, WEST, 0, -10, NORTH)
    assert np.array_equal(aligned.prior.values, aligned.current.values)


def test_a_turned_scene_is_shown_north_up(tmp_path: Path) -> None:
    prior = write_scene(tmp_path / "a.tif", ground())
    turned = Affine(0, 10, WEST, -10, 0, NORTH)
    current = write_scene(tmp_path / "b.tif", ground().T.copy(), transform=turned, time=LATER)

    aligned = align_scenes(paired(prior, current))

    x, across, _, down, y, _ = aligned.current.grid.affine
    assert (x, across, down, y) == pytest.approx((10, 0, 0, -10))
    assert np.abs(aligned.prior.values - aligned.current.values).mean() < 0.01


def test_the_grid_is_the_currents_cropped_to_the_overlap(tmp_path: Path) -> None:
    prior = write_scene(tmp_path / "a.tif", ground(128, 128))
    apart = Affine(10, 0, WEST + 303, 0, -10, NORTH - 207)
    current = write_scene(tmp_path / "b.tif", ground(128, 128), transform=apart, time=LATER)

    grid = align_scenes(paired(prior, current)).current.grid

    assert grid.affine[2] == WEST + 303
    assert grid.affine[5] == NORTH - 207
    # pixels whose nearest prior pixel lies inside the prior
    assert grid.shape in {(107, 97), (108, 98), (107, 98), (108, 97)}


def test_one_stretch_serves_both_dates(tmp_path: Path) -> None:
    values = ground() * 10
    prior = write_scene(tmp_path / "a.tif", values, dtype="uint16")
    current = write_scene(tmp_path / "b.tif", values + 300, dtype="uint16", time=LATER)

    aligned = align_scenes(paired(prior, current))

    # a brighter current stays brighter, and colours are shared by the three equal bands
    middle = np.median(aligned.current.values - aligned.prior.values)
    assert 0.1 < middle < 0.5
    assert aligned.prior.steps[-1] == aligned.current.steps[-1]
    assert aligned.prior.values.min() == 0
    assert aligned.current.values.max() == 1


def test_a_single_band_is_shown_in_three(tmp_path: Path) -> None:
    prior = write_scene(tmp_path / "x_B04_a.tif", ground(), count=1)
    current = write_scene(tmp_path / "x_B04_b.tif", ground(seed=3), count=1, time=LATER)

    values = align_scenes(paired(prior, current)).current.values

    assert values.shape[0] == 3
    assert np.array_equal(values[0], values[2])


def test_scenes_that_share_no_valid_pixel_are_refused(tmp_path: Path) -> None:
    left, right = ground(64, 64), ground(64, 64)
    left[:, 36:] = 0
    right[:, :36] = 0
    prior = write_scene(tmp_path / "a.tif", left, nodata=0)
    current = write_scene(tmp_path / "b.tif", right, nodata=0, time=LATER)
    first, second = (index_scene(path, tmp_path) for path in (prior, current))
    assert isinstance(first, Acquisition)
    assert isinstance(second, Acquisition)

    with pytest.raises(NoOverlap):
        align_scenes(Pair(id="x", prior=first, current=second, interval_days=1, reason=""))


def test_ground_valid_in_less_than_a_fifth_is_refused(tmp_path: Path) -> None:
    holes = ground(64, 64)
    keep = np.random.default_rng(0).random((64, 64)) < 0.15
    keep[0, 0] = keep[-1, -1] = True
    holes[~keep] = 0
    prior = write_scene(tmp_path / "a.tif", holes, nodata=0)
    current = write_scene(tmp_path / "b.tif", ground(64, 64), nodata=0, time=LATER)
    first, second = (index_scene(path, tmp_path) for path in (prior, current))
    assert isinstance(first, Acquisition)
    assert isinstance(second, Acquisition)

    with pytest.raises(NoOverlap):
        align_scenes(Pair(id="x", prior=first, current=second, interval_days=1, reason=""))


def test_other_bands_are_refused(tmp_path: Path) -> None:
    prior = write_scene(tmp_path / "a.tif", ground(64, 64))
    current = write_scene(tmp_path / "b.tif", ground(64, 64), dtype="uint16", time=LATER)

    with pytest.raises(AlignmentFailed):
        align_scenes(paired(prior, current))


def test_a_file_that_was_cut_after_indexing_is_refused_without_its_path(tmp_path: Path) -> None:
    prior = write_scene(tmp_path / "a.tif", ground(256, 256, seed=1))
    current = write_scene(tmp_path / "b.tif", ground(256, 256), time=LATER)
    pair = paired(prior, current)
    prior.write_bytes(prior.read_bytes()[:60_000])

    with pytest.raises(TruncatedRaster) as caught:
        align_scenes(pair)

    assert str(tmp_path) not in str(caught.value)


def test_too_large_an_overlap_is_reduced_by_a_whole_factor_and_said(tmp_path: Path) -> None:
    pair = paired(
        write_scene(tmp_path / "a.tif", ground(100, 130)), write_scene(tmp_path / "b.tif", ground(100, 130), time=LATER)
    )

    target = choose_target(pair.prior, pair.current, most_pixels=2_000)

    assert target.factor == 6
    assert target.grid.shape == (17, 22)
    assert target.grid.affine == (60, 0, WEST, 0, -60, NORTH)
    assert "reduced by 6" in target.steps[-1]
    assert choose_target(pair.prior, pair.current, most_pixels=13_000).factor == 1
