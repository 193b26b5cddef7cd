"""Folders A and B of a change data set are pairs without dates and without a place."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ingest.align import align_pair
from ingest.chips import iter_chips
from ingest.explain import explain
from ingest.geotiff.picture_align import align_pictures
from ingest.index import ArchiveIndex, index_archive
from ingest.pair import chains, pair_acquisitions
from ingest.pairing import make_ordered_pair
from tests.ingest.scene_files import ground, scene, write_scene


def index(root: Path) -> ArchiveIndex:
    """The index of a folder, after a look whether every file ends exactly once."""
    found = index_archive(root, workers=0)
    refused = {one.item for one in found.refusals if one.level == "file"}
    assert found.files_seen == found.files_used + len(refused) + len(found.sidecars)
    return found


def write_picture(path: Path, *, seed: int = 0, size: tuple[int, int] = (64, 80), mode: str = "RGB") -> NDArray[Any]:
    values = np.round(ground(*size, seed=seed)).astype(np.uint8)
    planes = {"L": values, "RGB": np.stack([values, values // 2, 255 - values], axis=-1)}
    planes["RGBA"] = np.concatenate([planes["RGB"], np.full((*size, 1), 255, np.uint8)], axis=-1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(planes[mode]).save(path)
    return planes[mode]


def test_a_real_change_data_set_is_pairs_as_it_lies(shared_data: Path) -> None:
    root = shared_data / "satellite/levir_cd"
    found = index(root)

    pairs = pair_acquisitions(found.acquisitions).pairs

    assert len(pairs) == 11
    for pair in pairs:
        assert pair.prior.name.replace("A/", "B/") == pair.current.name
        assert (pair.interval_days, pair.prior.time, pair.current.time) == (None, None, None)
        assert pair.current.time_source == "folder A before B"
        aligned = align_pair(pair)
        for pixels, one in ((aligned.prior, pair.prior), (aligned.current, pair.current)):
            stored = np.moveaxis(np.asarray(Image.open(one.path)), -1, 0)
            np.testing.assert_allclose(pixels.values, stored / np.float32(255), atol=1e-6)
        assert not [key for key in aligned.quality if key.endswith(("_ha", "_m")) or "_ha_" in key]
    assert len(chains(pairs)) == 11


def test_one_couple_says_what_is_not_known_and_explains_itself(tmp_path: Path) -> None:
    write_picture(tmp_path / "set/A/x_2020-01-01.png")
    write_picture(tmp_path / "set/B/x_2020-01-01.png", seed=1)
    found = index(tmp_path).acquisitions

    (pair,) = pair_acquisitions(found).pairs
    lines = explain(found, pair.subject)

    assert any("no areas" in warning for warning in pair.warnings)
    assert pair.current.time is None
    assert [line.split(" ")[:2] for line in lines] == [
        ["set/A/x_2020-01-01.png:", "NO_PRIOR."],
        ["set/B/x_2020-01-01.png:", "paired."],
    ]


@pytest.mark.parametrize(
    ("files", "codes"),
    [
        (
            {"A/x.png": {}, "B/x.png": {"seed": 1, "size": (64, 79)}},
            {"A/x.png": "NO_PRIOR", "B/x.png": "ALIGNMENT_FAILED"},
        ),
        (
            {"A/x.png": {}, "B/x.png": {"seed": 1, "mode": "L"}},
            {"A/x.png": "NO_PRIOR", "B/x.png": "NO_COMPARABLE_VIEW"},
        ),
        ({"A/x.png": {}, "B/y.png": {"seed": 1}}, {"A/x.png": "NO_CRS", "B/y.png": "NO_CRS"}),
        ({"A/x.png": {}, "B/x.png": {}}, {"A/x.png": "NO_CRS", "B/x.png": "DUPLICATE"}),
        ({"x.png": {}, "a/y.png": {"seed": 1}}, {"x.png": "NO_CRS", "a/y.png": "NO_CRS"}),
        ({"one/A/x.png": {}, "two/B/x.png": {"seed": 1}}, {"one/A/x.png": "NO_CRS", "two/B/x.png": "NO_CRS"}),
    ],
)  # fmt: skip
def test_what_is_no_couple_is_refused(tmp_path: Path, files: dict[str, dict[str, Any]], codes: dict[str, str]) -> None:
    for name, options in files.items():
        write_picture(tmp_path / name, **options)

    found = index(tmp_path)
    pairing = pair_acquisitions(found.acquisitions)

    assert not pairing.pairs
    assert {one.item: one.code for one in (*found.refusals, *pairing.unpaired)} == codes


def test_an_opaque_picture_goes_with_one_without_transparency_and_labels_stay_aside(tmp_path: Path) -> None:
    write_picture(tmp_path / "A/x.png", mode="RGBA")
    write_picture(tmp_path / "B/x.png", seed=1)
    write_picture(tmp_path / "label/x.png", seed=2, mode="L")

    found = index(tmp_path)
    (pair,) = pair_acquisitions(found.acquisitions).pairs

    assert align_pair(pair).current.values.shape == (3, 64, 80)
    assert any("ransparent" in warning for warning in pair.warnings)
    assert [one.item for one in found.sidecars] == ["label/x.png"]


def test_scenes_with_a_place_are_paired_by_place_and_time_in_folders_of_any_name(tmp_path: Path) -> None:
    write_scene(tmp_path / "A/x.tif", ground(), time="2021:05:01 10:00:00")
    write_scene(tmp_path / "B/x.tif", ground(seed=1), time="2020:05:01 10:00:00")

    (pair,) = pair_acquisitions(index(tmp_path).acquisitions).pairs

    assert pair.prior.name == "B/x.tif"


def test_a_large_couple_is_cut_into_chips_at_native_resolution(tmp_path: Path) -> None:
    stored = {role: write_picture(tmp_path / role / "x.png", seed=ord(role), size=(150, 210)) for role in "AB"}
    (pair,) = pair_acquisitions(index(tmp_path).acquisitions).pairs

    aligned = align_pictures(pair, most_pixels=100 * 100)

    assert aligned.native is not None
    assert aligned.native.grid.shape == (150, 210)
    covered = np.zeros((150, 210), dtype=bool)
    for chip in iter_chips(aligned, size=64):
        for role, pixels in (("A", chip.pair.prior), ("B", chip.pair.current)):
            expected = np.moveaxis(stored[role][chip.rows, chip.columns], -1, 0) / np.float32(255)
            np.testing.assert_allclose(pixels.values, expected, atol=1e-6)
        covered[chip.rows, chip.columns] = True
    assert covered.all()


def test_dated_acquisitions_have_no_order_but_that_of_their_times(tmp_path: Path) -> None:
    one = scene(write_scene(tmp_path / "a.tif", ground(32, 32)))

    with pytest.raises(ValueError, match="times"):
        make_ordered_pair(one, one, reason="x")


def test_two_pictures_given_one_by_one_keep_the_order_in_which_they_are_given(tmp_path: Path) -> None:
    from services.single import pair_files

    write_picture(tmp_path / "A/x.png")
    write_picture(tmp_path / "B/x.png", seed=1)
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "B/x.png", tmp_path / "elsewhere/x.png")

    pair = pair_files(tmp_path / "A/x.png", tmp_path / "elsewhere/x.png")

    assert pair.reason.endswith("order by folder prior before current.")
    assert pair.current.path == tmp_path / "elsewhere/x.png"
