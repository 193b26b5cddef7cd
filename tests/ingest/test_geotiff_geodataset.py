from pathlib import Path

import numpy as np
import pytest

from ingest.geotiff.geodataset import make_geodataset
from ingest.index import index_archive
from tests.ingest.scene_files import ground, write_scene


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two dates of a place, an undated scene, and files that the index refuses."""
    for year in (2020, 2021):
        values = np.round(ground(128, 160, seed=year)).astype(np.uint8)
        values[:, :32] = 0
        write_scene(tmp_path / f"scene_{year}.tif", values, nodata=0, time=f"{year}:05:01 10:00:00")
    write_scene(tmp_path / "undated.tif", ground(128, 160), time=None)
    (tmp_path / "junk.tif").write_bytes(b"II*\0" + b"\1" * 400)
    write_scene(tmp_path / "nowhere.tif", ground(128, 160), crs=None)
    return tmp_path


def test_a_torchgeo_sampler_yields_chips_of_what_the_index_accepted(archive: Path) -> None:
    from torchgeo.samplers import GridGeoSampler

    found = index_archive(archive, workers=0)
    dated = [scene for scene in found.acquisitions if scene.time is not None]
    dataset = make_geodataset(dated)

    chips = [dataset[query] for query in GridGeoSampler(dataset, size=64)]

    assert len(dataset) == 2
    assert len(chips) == 2 * 2 * 2
    assert {len(chip["scenes"]) for chip in chips} == {1}
    assert {chip["scenes"][0] for chip in chips} == {scene.id for scene in dated}
    assert {tuple(chip["image"].shape) for chip in chips} == {(3, 64, 64)}
    # the footprint of valid data begins where nodata ends, and the lowest row of chips comes first
    first = np.round(ground(128, 160, seed=2020)).astype(np.uint8)[64:, 32:96]
    assert (chips[0]["image"][0].numpy() == first).all()
    assert bool(chips[0]["valid"].all())


def test_a_query_over_several_dates_is_refused_and_not_mixed(archive: Path) -> None:
    scenes = [scene for scene in index_archive(archive, workers=0).acquisitions if scene.time is not None]
    dataset = make_geodataset(scenes)

    with pytest.raises(IndexError, match="several passes"):
        dataset[dataset.bounds]
    with pytest.raises(ValueError, match="date"):
        make_geodataset(index_archive(archive, workers=0).acquisitions)
