import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from ingest.geotiff.environment import gdal_environment
from ingest.geotiff.layout import open_scene
from ingest.geotiff.product_metadata import read_product
from ingest.geotiff.stac import local_name, read_items
from ingest.index import ArchiveIndex, index_archive
from ingest.pair import pair_acquisitions
from tests.ingest.scene_files import ground, write_scene
from tests.ingest.stac_files import BANDS, item_values, write_item


def index(root: Path, *, pixels: bool = False) -> ArchiveIndex:
    """The index of a folder, after a look whether every file ends exactly once."""
    found = index_archive(root, workers=0, pixels=pixels)
    refused = {one.item for one in found.refusals if one.level == "file"}
    assert found.files_seen == found.files_used + len(refused) + len(found.sidecars)
    return found


def codes(found: ArchiveIndex) -> dict[str, str]:
    return {one.item: one.code for one in found.refusals}


def test_the_bands_of_an_item_are_one_scene_with_what_the_item_says(tmp_path: Path) -> None:
    bands = write_item(
        tmp_path / "x",
        "S2A_20200501_0_L2A",
        time="2020-05-01T10:20:30.5Z",
        platform="sentinel-2a",
        **{"eo:cloud_cover": 12.5, "s2:processing_baseline": "05.00"},
    )

    (scene,) = index(tmp_path).acquisitions

    assert (scene.time, scene.time_source) == (datetime(2020, 5, 1, 10, 20, 30, 500000), "STAC datetime")
    assert scene.group == "rgb integer"
    assert len(scene.files) == 5
    assert scene.attributes["cloud_cover"] == "12.5"
    assert scene.attributes["platform"] == "Sentinel-2A"
    assert scene.attributes["baseline"] == "0500"
    assert scene.study == "pass:Sentinel-2A:2020-05-01"
    assert scene.attributes["common_bands"] == "red=1,green=2,blue=3,nir=4,swir16=5"
    with gdal_environment(), open_scene(scene) as src:
        stored = src.read()
    for number, (_, common, pixel) in enumerate(BANDS):
        expected = bands[common].repeat(pixel // 10, axis=0).repeat(pixel // 10, axis=1)
        assert (stored[number] == expected).all()


def test_items_of_two_dates_are_a_pair_whose_shift_is_found(tmp_path: Path) -> None:
    from ingest.geotiff.align import align_scenes

    write_item(tmp_path / "a", "S2A_20200501_0_L2A", size=512, platform="sentinel-2a", nodata=0)
    write_item(
        tmp_path / "b", "S2A_20210501_0_L2A", size=512, time="2021-05-01T10:00:00Z", platform="sentinel-2a", nodata=0,
        shift=(2.0, -1.5),
    )  # fmt: skip
    found = index(tmp_path, pixels=True)

    (pair,) = pair_acquisitions(found.acquisitions).pairs
    aligned = align_scenes(pair)

    assert all(one.sha256 and one.pixel_sha256 for one in found.acquisitions)
    assert aligned.current.values.shape[0] == 3
    shift = (aligned.quality["shift_row_px"], aligned.quality["shift_col_px"])
    assert shift == pytest.approx((2.0, -1.5), abs=0.2)


def test_a_stated_nodata_holds_where_the_file_says_none(tmp_path: Path) -> None:
    values = np.round(ground(40, 40)).astype(np.uint16)
    values[:, :10] = 0
    write_scene(tmp_path / "nir.tif", values, dtype="uint16", count=1, time=None)
    asset = {"href": "nir.tif", "roles": ["data"], "raster:bands": [{"nodata": 0}], "eo:bands": [{"name": "nir"}]}
    (tmp_path / "item.json").write_text(json.dumps(item_values("one", assets={"nir": asset})))

    (scene,) = index(tmp_path).acquisitions

    assert (scene.attributes["nodata"], scene.attributes["nodata_origin"]) == ("0.0", "STAC")
    with open_scene(scene) as src:
        assert src.nodata == 0
        assert (src.read(1) == values).all()


def test_an_item_whose_datetime_is_null_has_the_start_of_its_interval(shared_data: Path) -> None:
    folder = shared_data / "satellite" / "stac"
    (item,) = read_items((folder / "lidar_dem.json").read_bytes(), "stac") or []

    assert (item["time"], item["time_source"]) == ("2012-01-01T00:00:00", "STAC start_datetime")


@pytest.mark.parametrize(
    ("name", "count", "time", "platform", "product", "baseline", "cloud"),
    [
        ("site2-2020_jun_jul-35MNM.geojson", 13, "2020-07-31T08:06:11.024000", "Sentinel-2A", "S2 L2A", "0212", ""),
        (
            "S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531_raster_ext.json",
            1, "2019-06-29T21:25:29.024000", "Sentinel-2B", "S2 L2A", "0212", "0.314306",
        ),
        ("S2A_28QCH_20200714_0_L2A.json", 1, "2020-07-14T11:55:52", "Sentinel-2A", "S2 L2A", "0214", "2.36"),
        (
            "LC08_L2SP_028030_20200114_20200824_02_T1_SR.json",
            1, "2020-01-14T17:05:46.732651", "Landsat 8", "", "", "8.18",
        ),
        ("LE07_L2SP_044033_20210329_20210424_02_T1_SR.json", 1, "2021-03-29T17:57:33.490812", "Landsat 7", "", "", "0"),
        ("LC08_L2SR_081119_20200101_20200823_02_T2.json", 1, "2020-01-01T00:00:00", "Landsat 8", "", "", "0"),
    ],
)  # fmt: skip
def test_real_items_of_several_versions_are_understood(
    shared_data: Path, name: str, count: int, time: str, platform: str, product: str, baseline: str, cloud: str
) -> None:
    items = read_items((shared_data / "satellite" / "stac" / name).read_bytes(), "stac") or []

    assert len(items) == count
    first = items[0]
    assert [first[key] for key in ("time", "platform", "product", "baseline")] == [time, platform, product, baseline]
    assert cloud in ("", first["cloud_cover"])
    bands = {band for asset in first["assets"] if asset["is_data"] for band in asset["bands"]}
    assert bands >= {"red", "green", "blue"} or not bands


def test_real_items_without_their_pixels_are_refused_and_listed(shared_data: Path) -> None:
    found = index(shared_data / "satellite" / "stac")

    assert len(found.refusals) == 13 + 6
    assert {one.code for one in found.refusals if "28QCH" not in one.item} <= {"NOT_FETCHED", "NO_ASSETS"}
    assert all(one.level == "acquisition" for one in found.refusals)


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("./a.tif", ("items/a.tif", "")),
        ("../b%20c.tif", ("b c.tif", "")),
        ("../../etc/passwd", ("", "outside")),
        ("/etc/passwd", ("", "outside")),
        ("%2Fetc%2Fpasswd", ("", "outside")),
        ("..%2f..%2fsecret.tif", ("", "outside")),
        ("file:///etc/passwd", ("", "outside")),
        ("file:a.tif", ("", "outside")),
        ("https://example.org/a.tif", ("", "remote")),
        ("//example.org/a.tif", ("", "remote")),
        ("s3://bucket/a.tif", ("", "remote")),
        ("/vsicurl/http://example.org/a.tif", ("", "outside")),
        ("vsicurl:http://example.org", ("", "remote")),
        ("http://[broken", ("", "outside")),
        ("a\0.tif", ("", "outside")),
        ("", ("", "outside")),
    ],
)
def test_an_address_leads_into_the_archive_or_nowhere(href: str, expected: tuple[str, str]) -> None:
    folder = "items" if href else ""
    assert local_name(href, folder) == expected


@pytest.mark.parametrize("href", ["../secret/r.tif", "{secret}/r.tif", "file://{secret}/r.tif", "..%2Fsecret%2Fr.tif"])
def test_an_item_cannot_make_the_reader_open_a_file_outside_the_archive(
    tmp_path: Path, href: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rasterio

    opened: list[str] = []
    original = rasterio.open
    monkeypatch.setattr(
        rasterio, "open", lambda path, *rest, **more: opened.append(str(path)) or original(path, *rest, **more)
    )
    secret, root = tmp_path / "secret", tmp_path / "archive"
    root.mkdir()
    for name in ("r", "g", "b"):
        write_scene(secret / f"{name}.tif", ground(32, 32), count=1)
    opened.clear()
    assets = {
        colour: {"href": href.format(secret=secret), "eo:bands": [{"name": colour, "common_name": colour}]}
        for colour in ("red", "green", "blue")
    }
    (root / "item.json").write_text(json.dumps(item_values("one", assets=assets)))

    found = index(root, pixels=True)

    assert (found.acquisitions, codes(found)) == ((), {"item.json#one": "OUTSIDE_ARCHIVE"})
    assert opened == []


def test_a_bad_item_is_refused(tmp_path: Path) -> None:
    values = item_values("one", assets={})
    values["assets"] = 3
    (tmp_path / "item.json").write_text(json.dumps(values))
    (tmp_path / "list.json").write_text("[1, 2]")

    found = index(tmp_path)

    assert codes(found) == {"item.json": "BAD_STAC_ITEM"}
    assert [one.item for one in found.sidecars] == ["list.json"]


def test_product_metadata_tells_time_baseline_and_clouds_of_the_rasters_below_it(tmp_path: Path) -> None:
    safe = tmp_path / "S2A.SAFE"
    band = write_scene(safe / "GRANULE" / "IMG_DATA" / "B04.tif", ground(32, 32), count=1, time=None)
    write_scene(tmp_path / "other.tif", ground(32, 32, seed=1), count=1, time=None)
    (safe / "MTD_MSIL2A.xml").write_text(
        "<n1:Level-2A_User_Product><n1:General_Info><Product_Info>"
        "<PRODUCT_START_TIME>2022-07-31T08:06:11.024Z</PRODUCT_START_TIME>"
        "<PROCESSING_BASELINE>04.00</PROCESSING_BASELINE>"
        '<Datatake datatakeIdentifier="x"><SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME>'
        "<DATATAKE_SENSING_START>2022-07-31T08:06:11.024Z</DATATAKE_SENSING_START></Datatake>"
        "</Product_Info></n1:General_Info><Cloud_Coverage_Assessment>7.25</Cloud_Coverage_Assessment>"
        "</n1:Level-2A_User_Product>"
    )

    found = {one.name: one for one in index(tmp_path).acquisitions}

    scene = found[band.relative_to(tmp_path).as_posix()]
    assert scene.time == datetime(2022, 7, 31, 8, 6, 11, 24000)
    assert scene.time_source == "MTD_MSIL2A.xml"
    assert [scene.attributes[key] for key in ("platform", "baseline", "cloud_cover")] == ["Sentinel-2A", "0400", "7.25"]
    assert found["other.tif"].time is None


@pytest.mark.parametrize(
    "text",
    [
        '{"LANDSAT_METADATA_FILE": {"IMAGE_ATTRIBUTES": {"SPACECRAFT_ID": "LANDSAT_8", "CLOUD_COVER": "8.18",'
        ' "DATE_ACQUIRED": "2020-01-14", "SCENE_CENTER_TIME": "17:05:46.7326510Z"}}}',
        '  SPACECRAFT_ID = "LANDSAT_8"\n  CLOUD_COVER = 8.18\n  CLOUD_COVER_LAND = 9\n  DATE_ACQUIRED = 2020-01-14\n'
        '  SCENE_CENTER_TIME = "17:05:46.7326510Z"\n',
        "<SPACECRAFT_ID>LANDSAT_8</SPACECRAFT_ID><CLOUD_COVER>8.18</CLOUD_COVER>"
        "<DATE_ACQUIRED>2020-01-14</DATE_ACQUIRED><SCENE_CENTER_TIME>17:05:46.7326510Z</SCENE_CENTER_TIME>",
    ],
)
def test_landsat_metadata_is_read_in_its_three_forms(text: str) -> None:
    stem = "LC08_L2SP_028030_20200114_20200824_02_T1"
    found = read_product(text.encode(), "x", f"{stem}_MTL.txt")

    assert found is not None
    assert (found["prefix"], found["time"]) == (f"x/{stem}", "2020-01-14T17:05:46")
    assert (found["platform"], found["cloud_cover"]) == ("Landsat 8", "8.18")


def test_the_order_of_trust_is_user_item_product_raster_name(tmp_path: Path) -> None:
    write_scene(tmp_path / "a_20190101.tif", ground(32, 32), time="2018:01:01 00:00:00")
    origin: Callable[[], str] = lambda: index(tmp_path).acquisitions[0].time_source  # noqa: E731

    assert origin() == "TIFFTAG_DATETIME"
    (tmp_path / "MTD_MSIL2A.xml").write_text("<PRODUCT_START_TIME>2020-01-01T00:00:00Z</PRODUCT_START_TIME>")
    assert origin() == "MTD_MSIL2A.xml"
    item = item_values("one", time="2021-01-01T00:00:00Z", assets={"data": {"href": "a_20190101.tif"}})
    (tmp_path / "one.json").write_text(json.dumps(item))
    assert origin() == "STAC datetime"
    (tmp_path / "dates.csv").write_text("name,datetime\na_20190101.tif,2022-01-01\n")
    assert origin() == "sidecar"
    (scene,) = index(tmp_path).acquisitions
    assert scene.time == datetime(2022, 1, 1)
    assert "STAC" not in scene.attributes["warnings"] or "2021" in scene.attributes["warnings"]


@pytest.mark.parametrize("text", ["name,datetime\na.tif,yesterday\n", "file,when\na.tif,2020-01-01\n", "\xff\xfe"])
def test_a_table_of_dates_that_cannot_be_used_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "dates.csv").write_bytes(text.encode("latin-1"))

    assert codes(index(tmp_path)) == {"dates.csv": "BAD_DATES"}
