import json
import shutil

import pytest
from PIL import Image

from tests.training.published_sets import write_levir
from training.prompt import Wording
from training.readers.levir import (
    FLAG_CONTRADICTS,
    MASK_CONTRADICTS,
    UNCHANGED,
    mask_classes,
    read_levir,
    says_unchanged,
)
from training.readers.sample import DataSetUnusable, Split

CHANGED = (
    "several houses appear on the bareland at the bottom",
    "bareland along the road are replaced by a row of houses",
    "some houses and vegetation appear around the road",
    "a row of houses is built by the road",
    "many buildings with paths leading to the road appear beside the road",
)
#: Numbers have gaps; 16 and 17 are of two scenes.
PAIRS = [("train_000016", CHANGED), ("train_000017", UNCHANGED), ("val_000002", UNCHANGED), ("test_000002", CHANGED)]


def test_a_pair_has_its_five_sentences_and_images_by_name(tmp_path):
    data_set = read_levir(write_levir(tmp_path, PAIRS))
    first = data_set.samples[0]

    assert data_set.name == "LEVIR-CC"
    assert (first.id, first.split, first.wording) == ("train_000016", Split.TRAIN, Wording.LEVIR_CC)
    assert first.answers == tuple(f"{text} ." for text in CHANGED)
    assert (first.is_changed, first.labels) == (True, None)
    assert [path.parts[-3:] for path in first.images.files()] == [
        ("train", "A", "train_000016.png"),
        ("train", "B", "train_000016.png"),
    ]
    assert [one.split for one in data_set.samples] == [Split.TRAIN, Split.TRAIN, Split.VALIDATION, Split.TEST]


def test_sixteen_consecutive_numbers_of_a_split_are_one_area(tmp_path):
    areas = [one.subject for one in read_levir(write_levir(tmp_path, PAIRS)).samples]

    assert areas == ["train_scene_0000", "train_scene_0001", "val_scene_0000", "test_scene_0000"]


def test_the_real_entry_and_the_real_images_are_read(tmp_path, shared_data):
    source = shared_data / "satellite" / "levir_cc"
    shutil.copy(source / "LevirCCcaptions.example.json", tmp_path / "LevirCCcaptions.json")
    for side in "AB":
        (tmp_path / "images" / "train" / side).mkdir(parents=True)
        shutil.copy(source / f"train_000016_{side}.png", tmp_path / "images" / "train" / side / "train_000016.png")
    (sample,) = read_levir(tmp_path).samples

    assert sample.answers == CHANGED
    prior, current = sample.images.load(256)
    assert prior.shape == current.shape == (256, 256, 3)
    assert (prior != current).mean() > 0.5


def test_half_of_the_real_sentences_say_that_nothing_changed(shared_data):
    entries = json.loads((shared_data / "satellite" / "levir_cc" / "levir_cc_sentences.json").read_text())["images"]
    unchanged = dict.fromkeys(("train", "val", "test"), 0)
    for one in entries:
        unchanged[one["split"]] += all(says_unchanged(text) for text in one["sentences"])

    assert unchanged == {"train": 3408, "val": 666, "test": 965}


def test_a_flag_that_contradicts_the_sentences_is_noted(tmp_path):
    samples = read_levir(write_levir(tmp_path, PAIRS, flags={"train_000016": 0})).samples

    assert [one.notes for one in samples] == [(FLAG_CONTRADICTS,), (), (), ()]


def test_masks_make_it_levir_mci(tmp_path):
    data_set = read_levir(write_levir(tmp_path, PAIRS, masks=True))
    changed, unchanged, validation, _ = data_set.samples

    assert data_set.name == "LEVIR-MCI"
    assert changed.labels == {("road", "changed"), ("building", "changed")}
    assert unchanged.labels == frozenset()
    assert unchanged.answers == ("the scene is the same as before",)
    assert len(validation.answers) == 5


def test_a_mask_that_contradicts_the_sentences_is_noted(tmp_path):
    write_levir(tmp_path, PAIRS, masks=True)
    masks = tmp_path / "images" / "train" / "label"
    shutil.copy(masks / "train_000017.png", masks / "train_000016.png")

    assert read_levir(tmp_path).samples[0].notes == (MASK_CONTRADICTS,)


def test_coloured_masks_are_read_and_other_values_refused(tmp_path):
    mask = Image.new("RGB", (8, 8))
    mask.putpixel((1, 1), (255, 255, 0))
    mask.save(tmp_path / "a.png")
    assert mask_classes(tmp_path / "a.png") == {"road"}

    mask.putpixel((2, 2), (7, 7, 7))
    mask.save(tmp_path / "b.png")
    with pytest.raises(DataSetUnusable, match="values other than"):
        mask_classes(tmp_path / "b.png")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"changeflag": None}, "changeflag is not 0 or 1"),
        ({"split": "holdout"}, r"images\[0\]"),
        ({"sentences": []}, "sentence is empty"),
        ({"filename": "../secret.png"}, "another folder"),
    ],
)
def test_an_entry_that_is_not_in_the_format_is_refused_with_its_place(tmp_path, change, message):
    path = write_levir(tmp_path, PAIRS) / "LevirCCcaptions.json"
    content = json.loads(path.read_text())
    content["images"][0] |= change
    path.write_text(json.dumps(content))

    with pytest.raises(DataSetUnusable, match=message):
        read_levir(tmp_path)


def test_two_entries_of_one_name_are_refused(tmp_path):
    with pytest.raises(DataSetUnusable, match="1 ids occur twice"):
        read_levir(write_levir(tmp_path, [PAIRS[0], PAIRS[0]]))
