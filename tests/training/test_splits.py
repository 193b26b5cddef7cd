import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.published_sets import Study, write_levir, write_medical_diff_vqa
from training.phantoms.geotiff_archive import write_geotiff_archive
from training.readers.archive import read_archive
from training.readers.folder import read_folder
from training.readers.levir import UNCHANGED, read_levir
from training.readers.medical_diff_vqa import read_medical_diff_vqa
from training.readers.sample import DataSetUnusable, Split
from training.readers.splits import LeakingSplits, check_leaks, split_by_subject, split_of, training_samples

STUDIES = [
    Study(10000000 + patient, 50000000 + 10 * patient + n, f"218{n}0101") for patient in range(60) for n in (0, 1, 2)
]


def diff_vqa(folder, splits):
    """Two pairs a patient; `splits` gives the split of each."""
    questions = [
        {"main": STUDIES[3 * patient + n].study, "reference": STUDIES[3 * patient].study,
         "answer": "nothing has changed.", "split": splits(patient, n)}
        for patient in range(60) for n in (1, 2)
    ]  # fmt: skip
    return read_medical_diff_vqa(write_medical_diff_vqa(folder, STUDIES, questions))


def test_pairs_of_one_patient_in_two_splits_are_refused_without_naming_anybody(tmp_path):
    data_set = diff_vqa(tmp_path, lambda patient, n: "test" if patient < 3 and n == 2 else "train")

    with pytest.raises(LeakingSplits, match=r"Patients or areas .* \(3 in train and test\)") as caught:
        training_samples(data_set)
    assert "1000000" not in str(caught.value)


def test_splitting_by_patient_ends_the_leak(tmp_path):
    data_set = split_by_subject(diff_vqa(tmp_path, lambda patient, n: "test" if n == 2 else "train"))

    chosen = training_samples(data_set)

    assert {one.split for one in chosen} == {Split.TRAIN}
    assert 0.5 < len(chosen) / len(data_set.samples) < 1
    assert len(data_set.samples) == 120


def test_clean_splits_are_trained_on_as_published(tmp_path):
    data_set = diff_vqa(tmp_path, lambda patient, n: "test" if patient < 30 else "train")

    assert len(training_samples(data_set)) == 60


def test_one_image_under_two_names_is_found_by_its_bytes(tmp_path):
    folder = write_levir(tmp_path, [("train_000001", UNCHANGED), ("test_000001", UNCHANGED)])
    images = folder / "images"
    training_samples(read_levir(folder), compare_files=True)

    shutil.copy(images / "train" / "A" / "train_000001.png", images / "test" / "B" / "test_000001.png")

    check_leaks(read_levir(folder).samples)
    with pytest.raises(LeakingSplits, match=r"Images with equal bytes .* \(1 in train and test\)"):
        training_samples(read_levir(folder), compare_files=True)


@given(st.text())
def test_a_subject_is_always_dealt_to_the_same_split(subject):
    assert split_of(subject) is split_of(subject)


def test_subjects_are_dealt_about_80_10_10():
    dealt = [split_of(f"patient:{number}") for number in range(5000)]

    assert dealt.count(Split.TRAIN) == pytest.approx(4000, abs=120)
    assert dealt.count(Split.VALIDATION) == pytest.approx(500, abs=80)


def test_an_archive_of_our_own_with_labels_gives_its_pairs(tmp_path):
    write_geotiff_archive(tmp_path / "archive", places=3, seed=5)
    data_set = read_archive(tmp_path / "archive")

    assert data_set.samples
    assert not data_set.left_out
    check_leaks(data_set.samples)
    first = data_set.samples[0]
    assert first.answers[0].endswith(".")
    prior, current = first.images.load(64)
    assert prior.shape == current.shape == (64, 64, 3)
    assert {one.split for one in read_folder(tmp_path / "archive", split=Split.TEST).samples} == {Split.TEST}


def test_a_folder_of_nothing_known_is_refused_with_what_is_known(tmp_path):
    with pytest.raises(DataSetUnusable, match=r"LEVIR-CC.*Medical-Diff-VQA.*MS-CXR-T.*labels.csv"):
        read_folder(tmp_path)
