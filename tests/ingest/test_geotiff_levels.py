"""Offsets of products come off once, and brightness can be normalised without hiding what changed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ingest.chips import iter_chips
from ingest.geotiff.align import align_scenes
from ingest.geotiff.normalise import fit_normalisation
from ingest.geotiff.radiometry import radiometry_of
from ingest.index import index_archive
from tests.ingest.scene_files import ground, paired, scene, write_scene
from tests.ingest.stac_files import write_item

OLD = "S2A_MSIL2A_20200501T101021_N0214_R022_T33UUU_20200501T140000.tif"
NEW = "S2A_MSIL2A_20230501T101021_N0509_R022_T33UUU_20230501T140000.tif"
NAMES = ("blue", "green", "red", "nir")


def reflectances(seed: int = 0) -> NDArray[Any]:
    """(4, H, W) values between 400 and 4700, of which no band is another's copy."""
    return np.round(np.stack([ground(seed=seed + band) * 20 * (1 + band / 10) for band in range(4)]) - 400)


def write(path: Path, values: NDArray[Any]) -> Path:
    return write_scene(path, values, dtype="uint16", descriptions=NAMES, time=None)


def test_an_offset_that_one_product_carries_is_removed_once_and_recorded(tmp_path: Path) -> None:
    values = reflectances()
    pair = paired(write(tmp_path / OLD, values), write(tmp_path / NEW, values + 1000))

    aligned = align_scenes(pair)

    np.testing.assert_allclose(aligned.prior.values, aligned.current.values, atol=1e-5)
    assert aligned.quality["vegetation_gained_ha"] == aligned.quality["vegetation_lost_ha"] == 0
    assert [step for step in aligned.current.steps if "radiometry" in step] == [
        "radiometry: -1000 (Sentinel-2 baseline 0509); reflectance is 0.0001 of that"
    ]
    assert not any("radiometry" in step for step in aligned.prior.steps)
    assert not any("1000" in warning for warning in aligned.warnings)


def test_parts_of_a_large_pair_are_shown_with_the_same_offset(tmp_path: Path) -> None:
    values = reflectances()
    pair = paired(write(tmp_path / OLD, values), write(tmp_path / NEW, values + 1000))

    for chip in iter_chips(align_scenes(pair, most_pixels=128 * 128), size=128):
        np.testing.assert_allclose(chip.pair.prior.values, chip.pair.current.values, atol=1e-5)


def test_the_baseline_comes_from_where_the_name_does_not_tell_it(tmp_path: Path) -> None:
    path = write(tmp_path / "T33UUU_20230501T101021.tif", reflectances())
    unknown = scene(path)
    told = replace(unknown, attributes={**unknown.attributes, "baseline": "0509"})

    assert "baseline" in radiometry_of(unknown).warning
    assert (radiometry_of(told).offset, radiometry_of(told).warning) == (-1000, "")


@pytest.mark.parametrize(("said", "offset"), [({}, -1000), ({"earthsearch:boa_offset_applied": True}, 0)])
def test_an_offset_that_the_archive_took_off_is_not_taken_off_again(
    tmp_path: Path, said: dict[str, bool], offset: float
) -> None:
    write_item(
        tmp_path, "S2A_33UUU_20230501_0_L2A", platform="sentinel-2a",
        **{"s2:processing_baseline": "05.09", **said}, collection="sentinel-2-l2a",
    )  # fmt: skip

    (found,) = index_archive(tmp_path, workers=0).acquisitions

    assert radiometry_of(found).offset == offset


@pytest.mark.parametrize(("step", "is_told"), [(1000, True), (-1000, True), (300, False)])
def test_a_step_like_the_offset_between_products_that_do_not_tell_is_said(
    tmp_path: Path, step: float, is_told: bool
) -> None:
    values = reflectances() + 2000
    prior = write_scene(tmp_path / "a.tif", values, dtype="uint16", descriptions=NAMES)
    current = write_scene(
        tmp_path / "b.tif", values + step, dtype="uint16", descriptions=NAMES, time="2023:05:01 10:00:00"
    )

    warnings = align_scenes(paired(prior, current)).warnings

    assert any("offset of 1000" in one for one in warnings) is is_told


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), gain=st.floats(0.6, 1.6), bias=st.floats(-200, 400), n_bands=st.integers(1, 4))
def test_the_line_is_as_good_as_one_fitted_on_pixels_known_to_be_unchanged(
    seed: int, gain: float, bias: float, n_bands: int
) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(2000, 500, (n_bands, 20_000))
    prior = truth + rng.normal(0, 20, truth.shape)
    current = gain * truth + bias + rng.normal(0, 20, truth.shape)
    is_changed = rng.random(truth.shape[1]) < 0.2
    current[:, is_changed] = rng.normal(2500, 900, (n_bands, int(is_changed.sum())))

    found = fit_normalisation(prior.astype(np.float32), current.astype(np.float32))

    assert found.n_pixels > 500
    for band in range(n_bands):
        slope, offset = np.polyfit(prior[band, ~is_changed], current[band, ~is_changed], 1)
        for value in (1000, 2000, 3000):
            given_line, known = found.gain[band] * value + found.bias[band], slope * value + offset
            assert given_line == pytest.approx(known, abs=25)


@pytest.mark.parametrize("n_pixels", [0, 10, 400])
def test_too_few_pixels_are_left_as_they_are_and_the_reader_is_told(n_pixels: int) -> None:
    values = np.random.default_rng(0).normal(size=(3, n_pixels)).astype(np.float32)

    found = fit_normalisation(values, values * 2)

    assert found.warnings
    assert not found.steps
    np.testing.assert_array_equal(found.gain, 1)


def test_brightness_is_normalised_on_request_and_a_change_stays(tmp_path: Path) -> None:
    prior = reflectances() + 1000
    rng = np.random.default_rng(5)
    current = 1.3 * prior + 250 + rng.normal(0, 15, prior.shape)
    current[:, 60:120, 60:120] = np.array([600.0, 700.0, 500.0, 300.0])[:, None, None]
    pair = paired(
        write_scene(tmp_path / "a.tif", prior, dtype="uint16", descriptions=NAMES),
        write_scene(tmp_path / "b.tif", current, dtype="uint16", descriptions=NAMES, time="2021:05:01 10:00:00"),
    )
    is_changed = np.zeros((256, 256), dtype=bool)
    is_changed[60:120, 60:120] = True

    plain, normal = align_scenes(pair), align_scenes(pair, normalise=True)

    gap = {
        name: np.abs(one.prior.values - one.current.values).mean(axis=0)
        for name, one in (("plain", plain), ("normal", normal))
    }
    assert gap["plain"][~is_changed].mean() > 0.1
    assert gap["normal"][~is_changed].mean() < 0.01
    assert gap["normal"][is_changed].mean() > 0.3
    assert any("invariant pixels" in step for step in normal.prior.steps)
    assert not any("invariant pixels" in step for step in (*plain.prior.steps, *normal.current.steps))
    for chip in iter_chips(align_scenes(pair, normalise=True, most_pixels=128 * 128), size=256):
        np.testing.assert_allclose(chip.pair.prior.values[:, 128:], chip.pair.current.values[:, 128:], atol=0.06)
