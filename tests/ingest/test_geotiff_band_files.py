"""Products with one file for each band are one scene, whose bands are known by name."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from ingest.geotiff.align import align_scenes
from ingest.geotiff.environment import gdal_environment
from ingest.geotiff.layout import open_scene
from ingest.geotiff.quality_layer import find_quality_layers
from ingest.geotiff.radiometry import radiometry_of
from ingest.index import ArchiveIndex, index_archive
from ingest.pair import pair_acquisitions
from tests.ingest.safe_files import L1C, L2A, write_safe
from tests.ingest.scene_files import ground, write_scene


def index(root: Path, *, pixels: bool = False) -> ArchiveIndex:
    """The index of a folder without refusals, after a look whether every file ends exactly once."""
    found = index_archive(root, workers=0, pixels=pixels)
    assert not found.refusals
    assert found.files_seen == found.files_used + len(found.sidecars)
    return found


@pytest.mark.parametrize(("level", "bands"), [("2A", L2A), ("1C", L1C)])
def test_a_sentinel_2_product_is_one_scene_with_its_bands_by_name(
    tmp_path: Path, level: str, bands: dict[int, tuple[str, ...]]
) -> None:
    written = write_safe(tmp_path, "20230501", level=level)

    (scene,) = index(tmp_path, pixels=True).acquisitions

    assert scene.group == "rgb integer"
    assert len(scene.files) == len({name for names in bands.values() for name in names})
    assert scene.attributes["common_bands"] == "red=1,green=2,blue=3,nir=4,swir16=5,swir22=6"
    assert (scene.attributes["platform"], scene.attributes["product"]) == ("Sentinel-2A", f"S2 L{level}")
    assert (scene.attributes["baseline"], scene.attributes["cloud_cover"]) == ("0509", "4.5")
    assert scene.time is not None
    assert scene.time.isoformat() == "2023-05-01T10:10:21.024000"
    assert radiometry_of(scene).offset == -1000
    with gdal_environment(), open_scene(scene) as src:
        stored = src.read()
        names = src.descriptions
    for number, name in enumerate(("B04", "B03", "B02", "B08", "B11", "B12")):
        expected = written[name]
        factor = stored.shape[1] // len(expected)
        assert (stored[number] == expected.repeat(factor, axis=0).repeat(factor, axis=1)).all()
    assert set(names) >= {"red", "nir", "B05", "B8A"}


def test_products_of_two_dates_are_one_pair_with_cloud_mask_and_areas(tmp_path: Path) -> None:
    write_safe(tmp_path, "20200501", baseline="02.14", seed=1)
    write_safe(tmp_path, "20230501", seed=2)

    (pair,) = pair_acquisitions(index(tmp_path).acquisitions).pairs
    aligned = align_scenes(pair)

    assert aligned.quality["clear_share_both"] == pytest.approx(1)
    assert "vegetation_gained_ha" in aligned.quality
    assert any("SCL" in step for step in aligned.current.steps)
    assert any("-1000" in step for step in aligned.current.steps)
    assert not any("-1000" in step for step in aligned.prior.steps)


def test_the_cloud_mask_of_a_level_1_product_is_that_of_its_granule(tmp_path: Path) -> None:
    write_safe(tmp_path, "20230501", level="1C")

    (scene,) = index(tmp_path).acquisitions
    layers = find_quality_layers(scene)

    assert layers is not None
    assert [layer.path.name for layer in layers.layers] == ["MSK_CLASSI_B00.jp2"]
    seen, _ = layers.read(slice(0, 120), slice(0, 120))
    assert not seen[:24, :24].any()
    assert seen[24:, :].all()


def test_what_lies_beside_at_other_resolutions_is_told_as_a_copy(tmp_path: Path) -> None:
    write_safe(tmp_path, "20230501")

    found = index(tmp_path)

    copies = {one.item.rsplit("/", 1)[1] for one in found.sidecars if "Another copy" in one.reason}
    assert copies == {
        *(f"T33UUU_20230501T101021_{name}_20m.jp2" for name in ("B02", "B03", "B04", "TCI")),
        *(f"T33UUU_20230501T101021_{name}_60m.jp2" for name in L2A[60] if name != "B09"),
        *(f"T33UUU_20230501T101021_TCI_{pixel}m.jp2" for pixel in (10, 60)),
    }


@pytest.mark.parametrize(
    ("prefix", "bands"),
    [
        ("LC08_L2SP_028030_20200114_20200824_02_T1_SR", {"B4": "red", "B3": "green", "B2": "blue", "B5": "nir"}),
        ("LE07_L2SP_028030_20100114_20200824_02_T1_SR", {"B3": "red", "B2": "green", "B1": "blue", "B4": "nir"}),
    ],
)
def test_bands_of_a_landsat_product_are_one_scene(tmp_path: Path, prefix: str, bands: dict[str, str]) -> None:
    values = {}
    for number, band in enumerate(bands):
        values[bands[band]] = np.round(ground(32, 32) + number).astype(np.uint16)
        write_scene(tmp_path / f"{prefix}_{band}.TIF", values[bands[band]], dtype="uint16", count=1, time=None)

    (scene,) = index(tmp_path).acquisitions

    assert scene.attributes["common_bands"] == "red=1,green=2,blue=3,nir=4"
    with gdal_environment(), open_scene(scene) as src:
        for number, name in enumerate(("red", "green", "blue", "nir"), start=1):
            assert (src.read(number) == values[name]).all()


def test_a_whole_landsat_folder_is_one_scene(tmp_path: Path) -> None:
    """The files of a Collection 2 Level-2 science product as they are delivered."""
    stem = "LC08_L2SP_028030_20200114_20200824_02_T1"
    bands = [*(f"SR_B{number}" for number in range(1, 8)), "ST_B10"]
    layers = ["ATRAN", "CDIST", "DRAD", "EMIS", "EMSD", "QA", "TRAD", "URAD"]
    beside = [*(f"ST_{layer}" for layer in layers), "QA_PIXEL", "QA_RADSAT", "SR_QA_AEROSOL"]
    for number, name in enumerate((*bands, *beside)):
        dtype = "uint16" if name in bands or name == "QA_PIXEL" else "int16"
        write_scene(tmp_path / f"{stem}_{name}.TIF", ground(32, 32, seed=number), dtype=dtype, count=1, time=None)
    for name in ("ANG.txt", "MTL.txt", "MTL.xml", "SR_stac.json", "ST_stac.json"):
        (tmp_path / f"{stem}_{name}").write_text("{}")
    for name in ("small", "large"):
        with rasterio.open(
            tmp_path / f"{stem}_thumb_{name}.jpeg", "w", driver="JPEG", width=8, height=8, count=3, dtype="uint8"
        ) as out:
            out.write(np.full((3, 8, 8), 99, np.uint8))

    found = index(tmp_path)

    (scene,) = found.acquisitions
    assert {Path(file.name).stem.removeprefix(f"{stem}_") for file in scene.files} == set(bands)
    assert scene.attributes["common_bands"] == "red=1,green=2,blue=3,nir=4,swir16=5,swir22=6"
    assert {one.item for one in found.sidecars} >= {f"{stem}_{name}.TIF" for name in beside}


def test_files_stay_scenes_of_their_own_where_a_colour_is_missing_or_the_product_is_unknown(tmp_path: Path) -> None:
    names = ("T33UUU_20200501T101021_B04", "T33UUU_20200501T101021_B03", *(f"plain_20200501_B0{i}" for i in (2, 3, 4)))
    for seed, name in enumerate(names):
        write_scene(tmp_path / f"{name}.tif", ground(32, 32, seed=seed), dtype="uint16", count=1, time=None)

    assert len(index(tmp_path).acquisitions) == 5
