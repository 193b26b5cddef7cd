"""Areas from spectral bands: right where they can be counted, absent where bands have no name."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.geotiff.align import align_scenes
from ingest.geotiff.common_bands import common_bands
from ingest.geotiff.measure import INDICES, NEEDED, band_numbers, measure_changes, normalized_difference
from ingest.geotiff.radiometry import radiometry_of
from tests.ingest.scene_files import ground, paired, scene, write_scene

LATER = "2021:05:01 10:00:00"
GREY = ("gray",) * 12


@pytest.mark.parametrize(
    ("name", "descriptions", "expected"),
    [
        ("a.tif", ("blue", "green", "red", "nir"), {"blue": 1, "green": 2, "red": 3, "nir": 4}),
        ("a.tif", ("B02", "B03", "B04", "B8A"), {"blue": 1, "green": 2, "red": 3}),
        ("a.tif", ("B04", "B08", "B11"), {}),  # Landsat's or Sentinel-2's: unknown
        ("a.tif", ("B02", "B03", "B04", "B08"), {"blue": 1, "green": 2, "red": 3, "nir": 4}),
        ("a.tif", ("B2", "B3", "B4", "B8"), {}),  # Sentinel-2's near infrared, or Landsat's panchromatic
        ("S2A_20200101T000000_T33UUU_x.tif", ("B04", "B08", "B11"), {"red": 1, "nir": 2, "swir16": 3}),
        ("LC08_L2SP_x.tif", ("SR_B4", "SR_B5", "SR_B6"), {"red": 1, "nir": 2, "swir16": 3}),
        ("LE07_L2SP_x.tif", ("SR_B3", "SR_B4", "SR_B5"), {"red": 1, "nir": 2, "swir16": 3}),
        ("a.tif", ("nir", "NIR", "red"), {"red": 3}),
        ("a.tif", (None, None, None, None), {}),
        (
            "a_S2A2A_20170703_022_Barbellino_BOA_10.tif",
            (None,) * 11,
            {"blue": 2, "green": 3, "red": 4, "nir": 8, "swir16": 10, "swir22": 11},
        ),
        ("a_S2A2A_20170703_022_Barbellino_BOA_10.tif", (None,) * 10, {}),
    ],
)
def test_bands_have_a_common_name_only_where_something_names_them(
    name: str, descriptions: tuple[str | None, ...], expected: dict[str, int]
) -> None:
    assert common_bands(name, descriptions, GREY[: len(descriptions)]) == expected


def test_the_index_is_that_of_torchgeo() -> None:
    import torch
    from torchgeo.transforms import AppendNDVI

    bands = np.random.default_rng(0).uniform(100, 5000, (2, 16, 16)).astype(np.float32)

    theirs = AppendNDVI(index_nir=0, index_red=1)(torch.from_numpy(bands)[None])[0, -1].numpy()

    np.testing.assert_allclose(normalized_difference(bands[0], bands[1]), theirs, atol=1e-5)


@given(seed=st.integers(0, 1000))
def test_what_one_order_gains_the_other_loses_and_bounds_hold_the_count(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dates = [{name: rng.uniform(0, 5000, (12, 12)).astype(np.float32) for name in NEEDED} for _ in range(2)]

    forward, backward = measure_changes(*dates), measure_changes(*dates[::-1])

    assert len(forward) == 2 * len(INDICES)
    for index in INDICES:
        assert forward[f"{index.surface}_gained"] == backward[f"{index.surface}_lost"]
    for count, least, most in forward.values():
        assert least <= count <= most
    assert all(count == (0, 0, 0) for count in measure_changes(dates[0], dates[0]).values())


def test_how_many_rows_are_measured_at_a_time_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds are those of the whole: of parts that differ in which threshold counts least they would be wider."""
    rng = np.random.default_rng(5)
    prior, current = ({name: rng.uniform(0, 3000, (40, 30)).astype(np.float32) for name in NEEDED} for _ in range(2))
    at_once = measure_changes(prior, current)
    assert all(least < most for _, least, most in at_once.values())

    for rows in (1, 7, 1000):
        monkeypatch.setattr("ingest.geotiff.measure._ROWS", rows)
        assert measure_changes(prior, current) == at_once


def test_a_field_that_became_a_lake_is_measured_in_hectares(tmp_path: Path) -> None:
    field = np.stack([np.full((100, 100), value) for value in (400.0, 800.0, 600.0, 4000.0)])
    field += ground(100, 100)[None]
    lake = field.copy()
    lake[:, 20:50, 30:70] = np.array([500.0, 600.0, 400.0, 200.0])[:, None, None]
    names = ("blue", "green", "red", "nir")
    prior = write_scene(tmp_path / "a.tif", field, dtype="uint16", descriptions=names)
    current = write_scene(tmp_path / "b.tif", lake, dtype="uint16", descriptions=names, time=LATER)

    aligned = align_scenes(paired(prior, current))

    # 30 x 40 pixels of 10 m
    assert aligned.quality["water_gained_ha"] == pytest.approx(12.0)
    assert aligned.quality["vegetation_lost_ha"] == pytest.approx(12.0)
    assert aligned.quality["water_lost_ha"] == aligned.quality["vegetation_gained_ha"] == 0
    assert "built_up_or_bare_gained_ha" not in aligned.quality
    assert any("NDWI" in step and "NDVI" in step and "NDBI" not in step for step in aligned.current.steps)


def test_the_areas_of_a_real_pair_are_those_counted_from_its_files(shared_data: Path) -> None:
    import rasterio

    root = shared_data / "satellite/s2_barbellino"
    prior, current = (root / f"S2A2A_{day}_022_Barbellino_BOA_10.tif" for day in ("20170703", "20190723"))

    aligned = align_scenes(paired(prior, current))

    water = []
    for path in (prior, current):
        with rasterio.open(path) as src:
            green, nir = src.read(3).astype(float), src.read(8).astype(float)
        water.append((green - nir) / (green + nir))
    both = aligned.prior.valid & aligned.current.valid
    gained = both & (water[0] < 0) & (water[1] >= 0) & (water[1] - water[0] >= 0.1)
    assert gained.any()
    assert aligned.quality["water_gained_ha"] == pytest.approx(gained.sum() * 0.01)
    # what the scene classification calls water (class 6) is water by the index too
    with rasterio.open(root / "S2A2A_20190723_022_Barbellino_SCL_10.tif") as src:
        classes = np.kron(src.read(1), np.ones((2, 2)))
    assert (water[1][classes == 6] >= 0).mean() > 0.95


def test_bands_without_names_are_not_measured(tmp_path: Path) -> None:
    values = np.round(np.repeat(ground(64, 64)[None], 4, axis=0))
    prior = write_scene(tmp_path / "a.tif", values)
    current = write_scene(tmp_path / "b.tif", values, time=LATER)

    assert not any(name.endswith("_ha") and name != "area_ha" for name in align_scenes(paired(prior, current)).quality)
    assert band_numbers(scene(prior)) == {} or "nir" not in band_numbers(scene(prior))


@pytest.mark.parametrize(
    ("name", "offset"),
    [
        ("S2A_MSIL2A_20200731T080611_N0212_R078_T35MNM_20200818T062751.tif", 0.0),
        ("S2A_MSIL2A_20200731T080611_N0500_R078_T35MNM_20230818T062751.tif", -1000.0),
        ("LC08_L2SP_028030_20200114_20200824_02_T1_SR.tif", -0.2 / 0.0000275),
        ("plain_20200101.tif", 0.0),
    ],
)
def test_the_offset_follows_the_product_and_not_the_date(tmp_path: Path, name: str, offset: float) -> None:
    found = radiometry_of(scene(write_scene(tmp_path / name, ground(16, 16), dtype="uint16")))

    assert found.offset == pytest.approx(offset)
    assert found.warning == ""


def test_an_offset_that_nothing_tells_is_said(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "T35MNM_20230731T080611_B04.tif", ground(16, 16), dtype="uint16", time=None, count=1)

    assert "baseline" in radiometry_of(scene(path)).warning
