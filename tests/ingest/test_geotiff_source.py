"""What is read of a scene: which pixels mean something, and means over blocks of them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rasterio.transform import Affine
from rasterio.windows import Window

from ingest.geotiff.fill import Fill, valid_of
from ingest.geotiff.source import SceneReader, open_reader, read_source
from ingest.grid import Grid
from tests.ingest.scene_files import paired, write_scene

LATER = "2021:05:01 10:00:00"


@given(data=st.data())
def test_a_pixel_is_fill_by_the_definition(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(["uint8", "uint16", "int16", "float32"]))
    stored = data.draw(arrays(dtype, (3, 4, 5), elements=st.integers(0, 3), fill=st.nothing()))
    in_all_bands = data.draw(st.booleans())
    value = data.draw(st.sampled_from([0.0, 1.0, 3.0, 4.0, 0.5, -1.0, -9999.0, 255.0, 1e6]))
    fill = Fill(value=value, origin="tag", in_all_bands=in_all_bands)

    valid = valid_of(SimpleNamespace(), fill, Window(0, 0, 5, 4), stored)  # type: ignore[arg-type]

    # float64 holds all of these exactly
    is_fill = stored.astype(np.float64) == value
    expected = ~(is_fill.all(axis=0) if in_all_bands else is_fill.any(axis=0))
    np.testing.assert_array_equal(valid, expected)


@pytest.mark.parametrize("factor", [2, 3, 5])
@pytest.mark.parametrize("gaps", [False, True])
def test_means_over_blocks_are_those_of_the_shown_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: int, gaps: bool
) -> None:
    """In strips and in groups of rows that do not divide the height."""
    monkeypatch.setattr("ingest.geotiff.source._ROWS", 7 * factor)
    monkeypatch.setattr("ingest.geotiff.source._CACHED", 3)
    rng = np.random.default_rng(factor)
    height, width = 25 * factor, 12 * factor
    values = rng.integers(1, 4000, (3, height, width)).astype(np.uint16)
    if gaps:
        values[:, rng.random((height, width)) < 0.4] = 0
    path = write_scene(tmp_path / "a.tif", values, dtype="uint16", nodata=0)
    scene = paired(path, write_scene(tmp_path / "b.tif", values + 1, dtype="uint16", nodata=0, time=LATER)).prior
    own = Affine(*scene.grid.affine)
    target = Grid(affine=tuple(own @ Affine.scale(factor))[:6], height=25, width=12, frame=scene.grid.frame)

    source = read_source(scene, target, margin=0)

    blocks = values.reshape(3, 25, factor, 12, factor).astype(np.float64)
    n_shown = (blocks[0] > 0).sum(axis=(1, 3))
    shown = 2 * n_shown >= factor**2
    means = np.where(shown, blocks.sum(axis=(2, 4)) / np.maximum(n_shown, 1), 0)
    np.testing.assert_allclose(source.values, means, rtol=1e-6)
    np.testing.assert_array_equal(source.usable, shown)
    np.testing.assert_array_equal(source.valid, shown)


def test_an_open_scene_reads_what_one_that_is_opened_each_time_does(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4000, (3, 200, 200)).astype(np.uint16)
    options = {"dtype": "uint16", "nodata": 0, "tiled": True, "blockxsize": 32, "blockysize": 32}
    scene = paired(
        write_scene(tmp_path / "a.tif", values, **options),
        write_scene(tmp_path / "b.tif", values + 1, time=LATER, **options),
    ).prior

    with open_reader(scene) as reader:
        assert isinstance(reader, SceneReader)
        for top, left in ((0, 0), (60, 40), (10, 150), (60, 40)):
            part = scene.grid.part(slice(top, top + 50), slice(left, left + 50))
            kept, anew = reader.read(part, margin=0), read_source(scene, part, margin=0)
            np.testing.assert_array_equal(kept.values, anew.values)
            np.testing.assert_array_equal(kept.usable, anew.usable)
            usable = (values[:, top : top + 50, left : left + 50] > 0).all(axis=0)
            np.testing.assert_array_equal(kept.usable, usable)
