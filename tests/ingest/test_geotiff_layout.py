from dataclasses import replace
from pathlib import Path

import numpy as np
from rasterio.transform import Affine

from ingest.acquisition import SourceFile
from ingest.geotiff.environment import gdal_environment
from ingest.geotiff.layout import Layout, Part, layout_of_text, open_scene
from tests.ingest.scene_files import NORTH, WEST, ground, scene, write_scene


def test_tiles_that_overlap_are_one_scene_whose_first_valid_pixel_counts(tmp_path: Path) -> None:
    whole = np.round(ground(60, 90)).astype(np.uint8)
    left, right = whole[:, :60].copy(), whole[:, 40:].copy()
    left[:, 50:] = 0
    right[:, :20] = np.where(right[:, :20] > 100, 7, right[:, :20])
    one = scene(write_scene(tmp_path / "a&b.tif", left, nodata=0, count=1))
    other = scene(
        write_scene(tmp_path / "b.tif", right, nodata=0, count=1, transform=Affine(10, 0, WEST + 400, 0, -10, NORTH))
    )
    layout = Layout(
        grid=replace(one.grid, width=90),
        dtype="uint8",
        nodata=0.0,
        names=("red",),
        bands=(
            (
                Part(file=0, band=1, source=(0, 0, 60, 60), target=(0, 0, 60, 60)),
                Part(file=1, band=1, source=(0, 0, 50, 60), target=(40, 0, 50, 60)),
            ),
        ),
    )
    assert layout_of_text(layout.as_text()) == layout
    merged = replace(
        one,
        files=tuple(SourceFile(name=part.name, path=part.path) for part in (one, other)),
        attributes={**one.attributes, "layout": layout.as_text()},
    )

    with gdal_environment(), open_scene(merged) as src:
        found = src.read(1)
        assert (src.nodata, src.descriptions, src.crs) == (0, ("red",), "EPSG:32633")
        assert src.transform == Affine(10, 0, WEST, 0, -10, NORTH)

    assert (found[:, :50] == whole[:, :50]).all()
    assert (found[:, 50:60] == right[:, 10:20]).all()
    assert (found[:, 60:] == whole[:, 60:]).all()


def test_a_scene_of_one_file_is_opened_as_it_is(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", ground(16, 16))

    with open_scene(scene(path)) as src:
        assert src.name == str(path)
