import json
import shutil
from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import Affine
from shapely.geometry import shape

from ingest.acquisition import Acquisition
from ingest.errors import IngestError
from ingest.geotiff.acquired import find_time, parse_time, time_of_name
from ingest.geotiff.bands import choose_bands, mask_reason, product_of_name
from ingest.geotiff.common_bands import common_bands
from ingest.geotiff.errors import NoCrs, NotARaster, NoValidPixels, TooLargeBlocks, TruncatedRaster, UnsupportedBands
from ingest.geotiff.formats import is_raster
from ingest.geotiff.scene import index_scene, read_header
from tests.ingest.scene_files import ground, scene, write_scene


def _fate(path: Path, root: Path) -> str:
    try:
        found = index_scene(path, root)
    except IngestError as error:
        return error.code
    return "scene" if isinstance(found, Acquisition) else "sidecar"


@pytest.fixture(scope="module")
def fates(shared_data: Path) -> dict[str, str]:
    root = shared_data / "satellite"
    files = sorted(path for path in root.rglob("*") if path.is_file() and is_raster(path))
    return {path.relative_to(root).as_posix(): _fate(path, root) for path in files}


def test_every_real_raster_becomes_a_scene_a_sidecar_or_a_refusal(fates: dict[str, str]) -> None:
    masks = {name for name in fates if "CMASK" in name or "SCL" in name or "/label/" in name}
    pictures = {name for name in fates if name.endswith(".png")} - masks

    assert {fates[name] for name in masks} == {"sidecar"}
    couples = {name for name in pictures if "/A/" in name or "/B/" in name}
    assert {fates[name] for name in couples} == {"scene"}
    assert {fates[name] for name in pictures - couples} == {"NO_CRS"}
    assert {fate for name, fate in fates.items() if name not in masks | pictures} == {"scene"}
    assert Counter(fates.values()) == {"scene": 50, "sidecar": 17, "NO_CRS": 2}


@pytest.mark.parametrize(
    ("name", "date", "source", "bands", "valid"),
    [
        ("s2_t33uuu/tgt_S2A_20160529T153631_T33UUU_sub.jp2", "2016-05-29", "filename", "1", 0.8969),
        ("s2_t33uuu/T33UUU_20160608_crop_utm33n.tif", "2016-06-08", "TIFFTAG_DATETIME", "1", 1.0),
        ("s2_t33uuu/T33UUU_20160529_crop_wgs84.tif", "2016-05-29", "filename", "1", 0.9393),
        ("landsat_montreal/mosaic_cog1.tif", None, "", "1,2,3", 0.6754),
        ("landsat_montreal/mosaic_cog2.tif", None, "", "1,2,3", 0.6915),
        ("s2_barbellino/S2A2A_20170703_022_Barbellino_BOA_10.tif", "2017-07-03", "filename", "4,3,2", 1.0),
        ("cbers4_awfi/CBERS-4_AWFI_B16_2017-12-03.tif", "2017-12-03", "filename", "1", 1.0),
        ("duplicate_control/rgbn_20160101.tif", "2016-01-01", "filename", "1,2,3", 1.0),
    ],
)
def test_a_real_scene_has_its_date_bands_and_valid_share(
    shared_data: Path, name: str, date: str | None, source: str, bands: str, valid: float
) -> None:
    root = shared_data / "satellite"

    found = index_scene(root / name, root)

    assert isinstance(found, Acquisition)
    assert (found.time and found.time.date().isoformat()) == date
    assert found.time_source == source
    assert found.attributes["band_indexes"] == bands
    assert float(found.attributes["valid_share"]) == pytest.approx(valid, abs=2e-4)
    # the outline of the footprint is as large as the valid pixels, but for the steps of its reduced mask
    a, b, _, d, e, _ = found.grid.affine
    whole = abs(a * e - b * d) * found.grid.height * found.grid.width
    assert shapely.from_wkt(found.attributes["footprint"]).area / whole == pytest.approx(valid, abs=0.02)


def test_a_footprint_over_the_antimeridian_is_cut_there(shared_data: Path) -> None:
    root = shared_data / "satellite"
    expected = json.loads((root / "expected.json").read_text())["antimeridian"]

    found = index_scene(root / expected["file"], root)

    assert isinstance(found, Acquisition)
    parts = sorted(
        shapely.get_parts(shape(json.loads(found.attributes["footprint_wgs84"]))), key=lambda one: one.bounds
    )
    assert len(parts) == 2
    assert parts[0].bounds[0] == -180
    assert parts[0].bounds[2] == pytest.approx(expected["lon_east"], abs=1e-3)
    assert parts[1].bounds[0] == pytest.approx(expected["lon_west"], abs=1e-3)
    assert parts[1].bounds[2] == 180


@pytest.mark.parametrize(
    "name",
    ["s2_t33uuu/T33UUU_20170216T102101_B8A.jp2", "duplicate_control/rgbn_20160101.tif", "levir_cd/A/test_113_0256.png"],
)
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_cut_file_is_truncated_in_every_format(shared_data: Path, tmp_path: Path, name: str, share: float) -> None:
    whole = (shared_data / "satellite" / name).read_bytes()
    path = tmp_path / Path(name).name
    path.write_bytes(whole[: int(len(whole) * share)])

    with pytest.raises(TruncatedRaster) as caught:
        index_scene(path, tmp_path)

    assert str(tmp_path) not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_text_named_tif_is_no_raster(tmp_path: Path) -> None:
    path = tmp_path / "notes.tif"
    path.write_text("hello")

    with pytest.raises(NotARaster):
        index_scene(path, tmp_path)


def test_an_empty_file_named_tif_is_no_raster(tmp_path: Path) -> None:
    path = tmp_path / "nothing.tif"
    path.touch()

    with pytest.raises(NotARaster):
        index_scene(path, tmp_path)


def test_a_virtual_mosaic_under_a_raster_name_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "mosaic.tif"
    path.write_text("<VRTDataset rasterXSize='1' rasterYSize='1'></VRTDataset>")

    with pytest.raises(NotARaster):
        index_scene(path, tmp_path)


def test_a_raster_without_crs_is_refused(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", ground(32, 32), crs=None)

    with pytest.raises(NoCrs):
        index_scene(path, tmp_path)


def test_a_raster_with_crs_and_without_geotransform_is_refused(tmp_path: Path) -> None:
    from rasterio.errors import NotGeoreferencedWarning

    with pytest.warns(NotGeoreferencedWarning):
        path = write_scene(tmp_path / "a.tif", ground(32, 32), transform=Affine.identity())

    with pytest.raises(NoCrs):
        index_scene(path, tmp_path)


def test_a_raster_of_nodata_only_is_refused(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", np.zeros((16, 16)), nodata=0)

    with pytest.raises(NoValidPixels):
        index_scene(path, tmp_path)


def test_pixels_hash_equal_in_another_coding_and_block_size(tmp_path: Path) -> None:
    values = ground(200, 150)
    strips = scene(write_scene(tmp_path / "a.tif", values, compress="deflate", blockysize=7))
    tiles = scene(write_scene(tmp_path / "b.tif", values, tiled=True, blockxsize=64, blockysize=64, interleave="band"))
    other = scene(write_scene(tmp_path / "c.tif", values.T.copy()))

    assert strips.pixel_sha256 == tiles.pixel_sha256
    assert strips.sha256 != tiles.sha256
    assert strips.pixel_sha256 != other.pixel_sha256


def test_files_beside_a_raster_are_sidecars_and_without_it_they_are_not(tmp_path: Path) -> None:
    write_scene(tmp_path / "a.tif", ground(32, 32))
    for name in ("a.tif.ovr", "a.tfw", "a.prj"):
        (tmp_path / name).write_text("x")
        assert is_raster(tmp_path / name)
        assert _fate(tmp_path / name, tmp_path) == "sidecar"
    (tmp_path / "lonely.tfw").write_text("x")

    assert not is_raster(tmp_path / "lonely.tfw")


def test_a_cut_mask_is_refused_and_not_set_aside(shared_data: Path, tmp_path: Path) -> None:
    whole = (shared_data / "satellite/cbers4_awfi/CBERS-4_AWFI_CMASK_2017-11-17.tif").read_bytes()
    path = tmp_path / "X_CMASK_2017-11-17.tif"
    path.write_bytes(whole[: len(whole) * 2 // 3])

    assert _fate(path, tmp_path) == "TRUNCATED"


def test_an_internal_mask_says_what_is_valid(tmp_path: Path) -> None:
    import rasterio

    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write_scene(tmp_path / "a.tif", ground(40, 40))
        mask = np.zeros((40, 40), dtype=np.uint8)
        mask[:30] = 255
        with rasterio.open(path, "r+") as out:
            out.write_mask(mask)

    found = scene(path)

    assert found.attributes["nodata_origin"] == "mask"
    assert float(found.attributes["valid_share"]) == 0.75


def test_the_index_never_takes_the_time_of_the_file(tmp_path: Path) -> None:
    assert scene(write_scene(tmp_path / "a.tif", ground(32, 32), time=None)).time is None


def test_the_imagery_domain_goes_before_the_tiff_tag() -> None:
    tags = {"TIFFTAG_DATETIME": "2021:01:01 00:00:00", "date": "2022-01-01"}

    found = find_time("x_20230101.tif", tags, {"ACQUISITIONDATETIME": "2020-02-03T04:05:06Z"})

    assert (found.time, found.source) == (datetime(2020, 2, 3, 4, 5, 6), "IMAGERY.ACQUISITIONDATETIME")
    assert "2023-01-01" in found.warnings[0]
    assert find_time("x_20230101.tif", tags, {}).source == "TIFFTAG_DATETIME"
    assert find_time("x_20230101.tif", {"date": "2022-01-01"}, {}).source == "tag:date"
    assert find_time("x_20230101.tif", {"TIFFTAG_DATETIME": "0000:00:00 00:00:00"}, {}).source == "filename"


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("S2A_MSIL2A_20200731T080611_N0212_R078_T35MNM_20200818T062751.tif", "2020-07-31T08:06:11"),
        ("T35MNM_20200731T080611_B04_10m.jp2", "2020-07-31T08:06:11"),
        ("S2A_OPER_MSI_L1C_TL_EPA__20160608T153121_A005_T33UUU_B04.jp2", "2016-06-08T00:00:00"),
        ("LC08_L2SP_028030_20200114_20200824_02_T1_SR_B4.TIF", "2020-01-14T00:00:00"),
        ("LE70350322008118EDC00.tif", "2008-04-27T00:00:00"),
        ("HLS.L30.T13REN.2018013T172747.v2.0.B04.tif", "2018-01-13T17:27:47"),
        ("SENTINEL-2_MSI_20LLQ_B02_2021-07-04.tif", "2021-07-04T00:00:00"),
        ("S2A2A_20170703_022_Barbellino_BOA_10.tif", "2017-07-03T00:00:00"),
        ("20160831_180302_0e26_3B_AnalyticMS.tif", "2016-08-31T18:03:02"),
        ("rgbn_20160101.tif", "2016-01-01T00:00:00"),
        ("a_20200101_b_20210101.tif", None),
        ("test_102_0512_0000.png", None),
        ("survey_2016.tif", None),
        ("serial_99999999.tif", None),
        ("id_20201399.tif", None),
    ],
)
def test_a_file_name_states_the_sensing_time_of_its_family(name: str, time: str | None) -> None:
    assert time_of_name(name).time == (None if time is None else datetime.fromisoformat(time))


def test_a_partial_date_in_a_tag_is_no_date() -> None:
    assert parse_time("2016") is None
    assert parse_time("2016-05") is None
    assert parse_time("2016-05-01T12:00:00+02:00") == (datetime(2016, 5, 1, 10), False)


GREY = ("gray", *["undefined"] * 6)


@pytest.mark.parametrize(
    ("name", "descriptions", "expected"),
    [
        ("a.tif", ("blue", "green", "red", "nir"), (3, 2, 1)),
        ("a.tif", ("B", "G", "R", "NIR"), (3, 2, 1)),
        ("a.tif", ("B08", "B04", "B03", "B02"), (2, 3, 4)),
        ("LE07_L2SP_x.tif", ("SR_B1", "SR_B2", "SR_B3", "SR_B4"), (3, 2, 1)),
        ("LC08_L2SP_x.tif", ("SR_B1", "SR_B2", "SR_B3", "SR_B4"), (4, 3, 2)),
        ("a.tif", ("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7"), (4, 3, 2)),
        ("a.tif", (None, None, None), (1, 2, 3)),
        ("a.tif", ("B2", "B3", "B4"), (3, 2, 1)),
        ("a.tif", ("B1", "B2", "B3"), (1, 2, 3)),
    ],
)
def test_bands_are_found_by_name_and_three_are_a_picture(
    name: str, descriptions: tuple[str | None, ...], expected: tuple[int, ...]
) -> None:
    assert choose_bands(name, descriptions, GREY[: len(descriptions)], "uint16").indexes == expected


@pytest.mark.parametrize(
    ("descriptions", "expected"),
    [
        (("Band 1", "Band 2", "Band 3", "Band 4"), {"red": 1, "green": 2, "blue": 3}),
        # Shown as red is what another band measured: a picture, and nothing to measure in.
        (("B12", "B8", "B4", "B2"), {}),
        (("rededge", "nir", "swir2", "x"), {"nir": 2, "swir22": 3}),
    ],
)
def test_bands_are_shown_as_the_file_says_and_measured_by_their_own_names(
    descriptions: tuple[str, ...], expected: dict[str, int]
) -> None:
    colours = ("red", "green", "blue", "undefined")

    assert choose_bands("a.tif", descriptions, colours, "uint8").indexes == (1, 2, 3)
    assert common_bands("a.tif", descriptions, colours) == expected


@pytest.mark.parametrize(
    ("descriptions", "colours", "dtype"),
    [
        ((None,) * 4, GREY[:4], "uint16"),
        ((None,) * 7, GREY, "uint16"),
        # Red of Landsat 8 is near infrared of Landsat 5.
        (("SR_B1", "SR_B2", "SR_B3", "SR_B4"), GREY[:4], "uint16"),
        ((None,), ("palette",), "uint8"),
        ((None,), ("gray",), "complex64"),
    ],
)
def test_bands_that_cannot_be_shown_or_would_be_guessed_are_refused(
    descriptions: tuple[str | None, ...], colours: tuple[str, ...], dtype: str
) -> None:
    with pytest.raises(UnsupportedBands):
        choose_bands("a.tif", descriptions, colours, dtype)


def test_masks_are_told_by_name_and_folder() -> None:
    assert mask_reason("x/S2A2A_20170703_022_Barbellino_SCL_10.tif")
    assert mask_reason("set/label/train_1.png")
    assert mask_reason("x/labelled_area_2020.tif") is None
    assert mask_reason("x/B04.tif") is None


@pytest.mark.parametrize(
    ("name", "is_preview"),
    [
        ("LC08_L2SP_028030_20200114_20200824_02_T1_thumb_small.jpeg", True),
        ("S2A_MSIL2A_20230501T101021_N0509_R022_T33UUU_20230501T163012-ql.jpg", True),
        ("HLS.L30.T33UUU.2020123T101010.v2.0.jpg", True),
        ("HLS.L30.T33UUU.2020123T101010.v2.0.B04.jpg", False),
        ("thumbprint_20200101.jpg", False),
        ("LC08_L1TP_028030_20200114_20200824_02_T1.jpg", False),
    ],
)
def test_a_preview_without_a_place_is_told_by_its_name(tmp_path: Path, name: str, is_preview: bool) -> None:
    with rasterio.open(tmp_path / name, "w", driver="JPEG", width=8, height=8, count=3, dtype="uint8") as out:
        out.write(np.full((3, 8, 8), 99, np.uint8))

    if is_preview:
        assert str(index_scene(tmp_path / name, tmp_path)).startswith("Preview")
    else:
        with pytest.raises(NoCrs):
            index_scene(tmp_path / name, tmp_path)


def test_a_scene_with_a_place_is_a_scene_whatever_its_name(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "preview_20200501.tif", ground(32, 32))

    assert not isinstance(index_scene(path, tmp_path), str)


def test_the_baseline_is_in_the_product_name_only() -> None:
    product = product_of_name("S2A_MSIL2A_20200731T080611_N0500_R078_T35MNM_20200818T062751.tif")

    assert (product.platform, product.level, product.baseline) == ("Sentinel-2A", "L2A", "0500")
    assert product_of_name("T35MNM_20200731T080611_B04_10m.jp2").baseline == ""


def test_moving_an_archive_changes_no_id(tmp_path: Path) -> None:
    first = write_scene(tmp_path / "one" / "a.tif", ground(32, 32))
    (tmp_path / "two").mkdir()
    second = Path(shutil.copy(first, tmp_path / "two" / "b.tif"))

    assert scene(first).id == scene(second).id


def test_a_header_tells_all_but_the_hashes(shared_data: Path) -> None:
    root = shared_data / "satellite"
    for name in ("s2_t33uuu/T33UUU_20160529_crop_wgs84.tif", "landsat_montreal/mosaic_cog1.tif"):
        header, whole = read_header(root / name, root), index_scene(root / name, root)

        assert isinstance(header, Acquisition)
        assert isinstance(whole, Acquisition)
        assert (header.sha256, header.pixel_sha256) == ("", "")
        measured = {"footprint", "footprint_wgs84", "footprint_origin", "valid_share"}
        plain = {key: text for key, text in whole.attributes.items() if key not in measured}
        assert plain == {key: text for key, text in header.attributes.items() if key not in measured}
        assert replace(whole, sha256="", pixel_sha256="", attributes={}) == replace(header, attributes={})
        shares = [float(one.attributes["valid_share"]) for one in (header, whole)]
        assert shares[0] == pytest.approx(shares[1], abs=5e-3)


def test_the_footprint_of_a_large_raster_comes_from_an_overview_until_its_pixels_are_read(tmp_path: Path) -> None:
    import rasterio

    values = ground(2000, 2000)
    values[:, :700] = 0
    path = write_scene(tmp_path / "a.tif", values, nodata=0, tiled=True, compress="deflate")
    outline = read_header(path, tmp_path)
    with rasterio.open(path, "r+") as out:
        out.build_overviews([2, 4], rasterio.enums.Resampling.average)

    reduced, whole = read_header(path, tmp_path), index_scene(path, tmp_path)

    found = [one for one in (outline, reduced, whole) if isinstance(one, Acquisition)]
    assert [one.attributes["footprint_origin"] for one in found] == ["outline", "overview", "pixels"]
    assert [float(one.attributes["valid_share"]) for one in found] == pytest.approx([1.0, 0.65, 0.65], abs=2e-3)
    areas = [shapely.from_wkt(one.attributes["footprint"]).area for one in found]
    assert areas[1] == pytest.approx(areas[2], rel=5e-3)


@pytest.mark.parametrize("big", ["YES", "NO"])
@pytest.mark.parametrize("cut", [1, 5000])
def test_a_cut_tiff_is_told_by_its_header(tmp_path: Path, big: str, cut: int) -> None:
    path = write_scene(tmp_path / "a.tif", ground(300, 300), BIGTIFF=big, tiled=True, blockxsize=64, blockysize=64)
    assert isinstance(read_header(path, tmp_path), Acquisition)
    path.write_bytes(path.read_bytes()[:-cut])

    with pytest.raises(TruncatedRaster):
        read_header(path, tmp_path)


def test_a_raster_whose_blocks_do_not_fit_into_memory_is_refused(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", ground(8, 8), sparse_ok=True)
    content = bytearray(path.read_bytes())
    # ImageWidth of the directory, the entry with tag 256
    at = content.index(b"\x00\x01\x03\x00\x01\x00\x00\x00")
    content[at + 2 : at + 12] = b"\x04\x00\x01\x00\x00\x00" + (2**30).to_bytes(4, "little")
    path.write_bytes(content)

    with pytest.raises((TooLargeBlocks, TruncatedRaster)):
        read_header(path, tmp_path)


@pytest.mark.parametrize("x", [4e7, 1e12, 1e30])
def test_a_scene_outside_of_its_projection_is_refused_at_once(tmp_path: Path, x: float) -> None:
    path = write_scene(tmp_path / "far_2020-05-01.tif", ground(16, 16), transform=Affine(10, 0, x, 0, -10, 5_000_000))

    with pytest.raises(NoCrs, match="nowhere in its CRS"):
        index_scene(path, tmp_path)
