import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from rasterio.transform import Affine

from ingest.geotiff.environment import gdal_environment
from ingest.geotiff.layout import open_scene
from ingest.index import index_archive
from tests.ingest.scene_files import NORTH, WEST, ground, write_scene

VRT = """<VRTDataset rasterXSize="32" rasterYSize="32"><SRS>EPSG:32633</SRS>
<GeoTransform>400000, 10, 0, 5800000, 0, -10</GeoTransform>
<VRTRasterBand dataType="Byte" band="1">{source}</VRTRasterBand></VRTDataset>"""
SOURCE = """<SimpleSource><SourceFilename relativeToVRT="{relative}">{name}</SourceFilename><SourceBand>1</SourceBand>
<SrcRect xOff="0" yOff="0" xSize="32" ySize="32"/><DstRect xOff="0" yOff="0" xSize="32" ySize="32"/></SimpleSource>"""


def codes(root: Path) -> dict[str, str]:
    return {one.item: one.code for one in index_archive(root, workers=0, pixels=False).refusals}


@pytest.fixture
def build(require_program: Callable[[str], Path]) -> Callable[..., None]:
    program = require_program("gdalbuildvrt")

    def run(*arguments: object) -> None:
        subprocess.run([program, "-q", *map(str, arguments)], check=True)

    return run


def test_bands_that_gdalbuildvrt_stacks_are_one_scene(tmp_path: Path, build: Callable[..., None]) -> None:
    import rasterio

    paths = [
        write_scene(tmp_path / f"T33UUU_20200501T101021_B0{number}.tif", ground(40, 50, seed=number), count=1, nodata=0)
        for number in (4, 3, 2)
    ]
    vrt = tmp_path / "T33UUU_20200501.vrt"
    build("-separate", vrt, *paths)

    found = index_archive(tmp_path, workers=0)

    (scene,) = found.acquisitions
    assert [one.name for one in scene.files] == [path.name for path in paths]
    assert scene.group == "rgb 8-bit"
    assert scene.time == datetime(2020, 5, 1)
    assert [one.item for one in found.sidecars] == [vrt.name]
    assert found.files_seen == found.files_used + len(found.sidecars) == 4
    with gdal_environment(), open_scene(scene) as ours, rasterio.open(vrt) as gdals:
        assert (ours.read() == gdals.read()).all()
        assert ours.transform == gdals.transform


def test_tiles_that_gdalbuildvrt_joins_are_one_scene_with_a_footprint_of_both(
    tmp_path: Path, build: Callable[..., None]
) -> None:
    import rasterio
    import shapely

    values = np.round(ground(40, 100)).astype(np.uint8)
    one = write_scene(tmp_path / "tile_a.tif", values[:, :50], nodata=0)
    other = write_scene(
        tmp_path / "tile_b.tif", values[:, 60:], nodata=0, transform=Affine(10, 0, WEST + 600, 0, -10, NORTH)
    )
    build(tmp_path / "both.vrt", one, other)

    (scene,) = index_archive(tmp_path, workers=0).acquisitions

    assert scene.time == datetime(2020, 5, 1, 10)
    assert shapely.from_wkt(scene.attributes["footprint"]).area == 90 * 40 * 100
    with gdal_environment(), open_scene(scene) as ours, rasterio.open(tmp_path / "both.vrt") as gdals:
        assert (ours.read() == gdals.read()).all()
        assert (ours.read(1)[:, 60:] == values[:, 60:]).all()


def test_a_mosaic_of_several_days_is_refused_and_its_rasters_are_used(
    tmp_path: Path, build: Callable[..., None]
) -> None:
    one = write_scene(tmp_path / "a.tif", ground(32, 32), time="2020:05:01 10:00:00")
    other = write_scene(
        tmp_path / "b.tif", ground(32, 32, seed=1), time="2020:06:01 10:00:00",
        transform=Affine(10, 0, WEST + 320, 0, -10, NORTH),
    )  # fmt: skip
    build(tmp_path / "both.vrt", one, other)

    found = index_archive(tmp_path, workers=0)

    assert {one.item: one.code for one in found.refusals} == {"both.vrt": "MIXED_DATES"}
    assert [one.name for one in found.acquisitions] == ["a.tif", "b.tif"]


@pytest.mark.parametrize(
    ("name", "relative"),
    [
        ("../outside.tif", 1),
        ("x/../../outside.tif", 1),
        ("{outside}", 0),
        ("{outside}", 1),
        ("/vsicurl/http://127.0.0.1:1/a.tif", 0),
        ("/vsizip//etc/a.zip/b.tif", 1),
        ("http://127.0.0.1:1/a.tif", 1),
        ("NETCDF:a.tif", 1),
        ("&lt;VRTDataset/&gt;", 1),
    ],
)
def test_a_virtual_mosaic_cannot_name_a_file_outside_the_archive(tmp_path: Path, name: str, relative: int) -> None:
    outside = write_scene(tmp_path / "outside.tif", ground(32, 32))
    root = tmp_path / "archive"
    root.mkdir()
    source = SOURCE.format(name=name.format(outside=outside), relative=relative)
    (root / "a.vrt").write_text(VRT.format(source=source))

    assert codes(root) == {"a.vrt": "UNSUPPORTED_VRT"}


@pytest.mark.parametrize(
    "content",
    [
        VRT.format(source="").replace('band="1"', 'band="1" subClass="VRTDerivedRasterBand"'),
        VRT.format(source="<PixelFunctionType>f</PixelFunctionType>"),
        VRT.format(source=SOURCE.format(name="a.tif", relative=1)).replace("<SrcRect", "<LUT>0:0</LUT><SrcRect"),
        VRT.format(source="").replace("<VRTDataset ", '<VRTDataset subClass="VRTWarpedDataset" '),
        VRT.format(source="").replace("EPSG:32633", "EPSG:0"),
        '<!DOCTYPE a [<!ENTITY b "c">]>' + VRT.format(source=""),
        VRT.format(source=SOURCE.format(name="a.tif", relative=1))[:-60],
        "",
    ],
)
def test_a_virtual_mosaic_that_makes_pixels_of_its_own_is_refused(tmp_path: Path, content: str) -> None:
    write_scene(tmp_path / "a.tif", ground(32, 32))
    (tmp_path / "a.vrt").write_text(content)

    assert codes(tmp_path) == {"a.vrt": "UNSUPPORTED_VRT" if content else "EMPTY_FILE"}


def test_a_virtual_mosaic_of_a_missing_raster_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.vrt").write_text(VRT.format(source=SOURCE.format(name="a.tif", relative=1)))

    assert codes(tmp_path) == {"a.vrt": "VRT_SOURCES"}


@pytest.mark.parametrize("way", ["ovr", "tag", "aux"])
def test_overviews_cannot_lead_a_reader_to_a_server_or_another_file(tmp_path: Path, way: str) -> None:
    import rasterio

    root = tmp_path / "archive"
    trap = tmp_path / "trap.vrt"
    seen = tmp_path / "requests.txt"
    script = "import http.server, sys; http.server.test(http.server.SimpleHTTPRequestHandler, port=0, bind='127.0.0.1')"
    with seen.open("w") as log:
        server = subprocess.Popen([sys.executable, "-u", "-c", script], stdout=log, stderr=log, cwd=tmp_path)
    try:
        until = time.monotonic() + 20
        while (port := re.search(r"port (\d+)", seen.read_text())) is None and time.monotonic() < until:
            time.sleep(0.05)
        assert port is not None
        name = f"/vsicurl/http://127.0.0.1:{port[1]}/{way}.tif"
        content = VRT.format(source=SOURCE.format(name=name, relative=0))
        trap.write_text(content)
        values = np.round(ground(64, 64)).astype(np.uint8)
        path = write_scene(root / "a.tif", values, nodata=0)
        if way == "ovr":
            (root / "a.tif.ovr").write_text(content)
        elif way == "aux":
            item = f'<MDI key="OVERVIEW_FILE">{trap}</MDI>'
            (root / "a.tif.aux.xml").write_text(
                f'<PAMDataset><Metadata domain="OVERVIEWS">{item}</Metadata></PAMDataset>'
            )
        else:
            with rasterio.open(path, "r+") as out:
                out.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(trap))

        found = index_archive(root, workers=0)

        assert [one.code for one in found.refusals] == ["LEADS_ELSEWHERE"]
        assert f"{way}.tif" not in seen.read_text()
    finally:
        server.terminate()
        server.wait()
