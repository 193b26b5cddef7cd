from pathlib import Path

import numpy as np
import pytest
from rasterio.transform import Affine

from ingest.geotiff.environment import gdal_environment
from ingest.geotiff.layout import open_scene
from ingest.index import ArchiveIndex, index_archive
from ingest.pair import pair_acquisitions
from tests.ingest.scene_files import NORTH, WEST, ground, write_scene
from tests.ingest.stac_files import write_item

PRODUCT = "S2A_MSIL2A_20200501T101021_N{baseline}_R022_T33U{tile}_{made}"


def write_tile(
    root: Path, *, tile: str = "UU", baseline: str = "0214", made: str = "20200501T140000",
    east: float = 0, seed: int = 0, valid: slice = slice(0, 64), nodata: float | None = 0,
) -> Path:  # fmt: skip
    values = np.round(ground(64, 64, seed=seed)).astype(np.uint8)
    hidden = np.ones(64, dtype=bool)
    hidden[valid] = False
    values[:, hidden] = 0
    name = PRODUCT.format(baseline=baseline, tile=tile, made=made)
    transform = Affine(10, 0, WEST + 10 * east, 0, -10, NORTH)
    return write_scene(root / f"{name}.tif", values, nodata=nodata, transform=transform, time=None)


def codes(found: ArchiveIndex) -> dict[str, str]:
    return {one.item: one.code for one in found.refusals}


def test_two_halves_of_a_tile_from_one_pass_are_one_scene(tmp_path: Path) -> None:
    write_tile(tmp_path / "a", made="20200501T140000", valid=slice(0, 40))
    write_tile(tmp_path / "b", made="20200501T150000", valid=slice(30, 64), seed=1)

    found = index_archive(tmp_path, workers=0)

    (scene,) = found.acquisitions
    assert not found.refusals
    assert found.files_used == 2
    assert scene.attributes["valid_share"] == "1.0000"
    assert scene.study == "pass:Sentinel-2A:2020-05-01"
    with gdal_environment(), open_scene(scene) as src:
        merged = src.read(1)
    first, second = (np.round(ground(64, 64, seed=seed)).astype(np.uint8) for seed in (0, 1))
    assert (merged[:, :40] == first[:, :40]).all()
    assert (merged[:, 40:] == second[:, 40:]).all()


def test_tiles_of_one_pass_that_touch_are_one_scene_and_far_ones_are_not(tmp_path: Path) -> None:
    write_tile(tmp_path, tile="UU")
    write_tile(tmp_path, tile="UV", east=60, seed=1)
    write_tile(tmp_path, tile="UW", east=200, seed=2)

    found = index_archive(tmp_path, workers=0).acquisitions

    assert sorted((one.grid.width, len(one.names)) for one in found) == [(64, 1), (124, 2)]


@pytest.mark.parametrize("east", [60.5, 0])
def test_scenes_off_the_lattice_or_without_nodata_stay_apart_and_are_no_pair(tmp_path: Path, east: float) -> None:
    nodata = 0 if east else None
    write_tile(tmp_path, tile="UU", nodata=nodata)
    write_tile(tmp_path, tile="UV", seed=1, nodata=nodata, east=east)

    found = index_archive(tmp_path, workers=0).acquisitions

    assert len(found) == 2
    assert not pair_acquisitions(found).pairs


def test_a_reprocessed_scene_is_refused_and_the_newest_is_used(tmp_path: Path) -> None:
    old = write_tile(tmp_path, baseline="0214")
    new = write_tile(tmp_path, baseline="0500", made="20230601T000000", seed=1)
    newest = write_tile(tmp_path, baseline="0500", made="20240601T000000", seed=2)

    found = index_archive(tmp_path, workers=0)

    assert codes(found) == {old.name: "REPROCESSED", new.name: "REPROCESSED"}
    assert [one.name for one in found.acquisitions] == [newest.name]
    assert found.files_seen == found.files_used + len(found.refusals)


def test_an_older_processing_that_covers_more_ground_is_kept(tmp_path: Path) -> None:
    write_tile(tmp_path, baseline="0214")
    write_tile(tmp_path, baseline="0500", valid=slice(0, 32), seed=1)

    found = index_archive(tmp_path, workers=0)

    assert not found.refusals
    assert len(found.acquisitions) == 2


def test_items_of_neighbouring_tiles_are_merged_band_by_band(tmp_path: Path) -> None:
    first = write_item(tmp_path / "a", "S2A_33UUU_20200501_0_L2A", platform="sentinel-2a", nodata=0)
    second = write_item(tmp_path / "b", "S2A_33UUV_20200501_0_L2A", platform="sentinel-2a", nodata=0, east=50, seed=3)

    (scene,) = index_archive(tmp_path, workers=0).acquisitions

    assert len(scene.files) == 10
    assert scene.attributes["common_bands"] == "red=1,green=2,blue=3,nir=4,swir16=5"
    with gdal_environment(), open_scene(scene) as src:
        merged = src.read()
    for number, name in enumerate(("red", "green", "blue", "nir")):
        assert (merged[number][:, :64] == first[name]).all()
        assert (merged[number][:, 64:] == second[name][:, 14:]).all()
