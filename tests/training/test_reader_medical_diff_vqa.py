from pathlib import Path

import pytest

from tests.training.published_sets import Study, write_medical_diff_vqa, write_mimic_cxr_jpg
from training.prompt import Wording
from training.readers.medical_diff_vqa import AREA_QUESTION, LEVEL, REVERSED, read_medical_diff_vqa
from training.readers.mimic_cxr_jpg import read_mimic_images, study_time
from training.readers.sample import DataSetUnusable, Split

#: Study ids run against time, as in MIMIC-CXR, where they are random.
FIRST = Study(10000032, 59414267, "21800506", "213014.531")
SECOND = Study(10000032, 53189527, "21800626", "165500.312")
THIRD = Study(10000032, 50084553, "21800723", "80556.875", "postero-anterior")
SAME_DAY = Study(10000032, 53911762, "21800723", "203000.0")
LATERAL = Study(10000032, 51111111, "21810101", view="lateral")
OTHER = Study(10000980, 56699142, "21890801")
STUDIES = (FIRST, SECOND, THIRD, SAME_DAY, LATERAL, OTHER)

ADDED = "the main image has an additional finding of edema than the reference image. "
MISSING = "the main image is missing the finding of edema than the reference image. "


def asked(main: Study, reference: Study, answer: str = ADDED, **cells: object) -> dict[str, object]:
    return {"main": main.study, "reference": reference.study, "answer": answer} | cells


@pytest.fixture
def read(tmp_path: Path):
    """Function that writes questions in the published format and reads them back."""

    def reader(*questions: dict[str, object], with_images: bool = True, as_nanoseconds: bool = False):
        folder = write_medical_diff_vqa(tmp_path / "vqa", STUDIES, questions, as_nanoseconds=as_nanoseconds)
        images = read_mimic_images(write_mimic_cxr_jpg(tmp_path / "jpg", STUDIES)) if with_images else None
        return read_medical_diff_vqa(folder, images=images)

    return reader


def test_a_row_becomes_a_sample_with_its_images_and_labels(read):
    (sample,) = read(asked(SECOND, FIRST)).samples

    assert sample.id == f"s{FIRST.study}-s{SECOND.study}"
    assert (sample.subject, sample.split) == ("p10000032", Split.TEST)
    assert (sample.wording, sample.question) == (Wording.MEDICAL_DIFF_VQA, None)
    assert sample.answers == (ADDED.strip(),)
    assert (sample.labels, sample.is_changed) == ({("edema", "new")}, True)
    prior, current = sample.images.files()
    assert prior.parts[-5:] == ("files", "p10", "p10000032", "s59414267", f"{FIRST.dicom}.jpg")
    assert current.parent.name == f"s{SECOND.study}"
    loaded = sample.images.load(16)
    assert [image.shape for image in loaded] == [(16, 16, 3)] * 2


def test_only_difference_questions_are_read(read):
    data_set = read(asked(SECOND, FIRST), asked(SECOND, FIRST, "yes", question_type="presence"))

    assert len(data_set.samples) == 1


@pytest.mark.parametrize("as_nanoseconds", [False, True])
@pytest.mark.parametrize("with_images", [False, True])
def test_a_reversed_pair_is_put_in_the_order_of_its_dates_and_its_answer_mirrored(read, with_images, as_nanoseconds):
    data_set = read(asked(FIRST, SECOND), with_images=with_images, as_nanoseconds=as_nanoseconds)

    (sample,) = data_set.samples
    assert sample.id == f"s{FIRST.study}-s{SECOND.study}"
    assert sample.answers == (MISSING.strip(),)
    assert sample.labels == {("edema", "resolved")}
    assert sample.notes == (REVERSED,)
    assert data_set.repaired == {"REVERSED": 1}


def test_a_reversed_pair_whose_answer_is_not_understood_is_left_out(read):
    data_set = read(asked(FIRST, SECOND, "the left lung is clearer."))

    assert not data_set.samples
    assert [(one.code, one.lines) for one in data_set.left_out] == [("REVERSED_UNREADABLE", (2,))]


def test_one_pair_in_both_orders_is_one_sample(read):
    shuffled = "the main image is missing the findings of hernia, and edema than the reference image. "
    data_set = read(
        asked(SECOND, FIRST, "the main image has additional findings of edema, and hernia than the reference image. "),
        asked(FIRST, SECOND, shuffled),
    )

    assert len(data_set.samples) == 1
    assert data_set.repaired == {"REPEATED": 1}


def test_one_pair_with_two_answers_is_left_out_wholly(read):
    data_set = read(asked(SECOND, FIRST, ADDED), asked(SECOND, FIRST, MISSING), asked(THIRD, FIRST))

    assert [one.id for one in data_set.samples] == [f"s{FIRST.study}-s{THIRD.study}"]
    assert [(one.code, one.count) for one in data_set.left_out] == [("CONTRADICTION", 2)]


def test_studies_of_one_date_are_ordered_by_the_time_of_day(read):
    # 80556.875 is 08:05:56 with its zero lost; as text "80556" would come after "203000"
    (sample,) = read(asked(SAME_DAY, THIRD)).samples
    (mirrored,) = read(asked(THIRD, SAME_DAY)).samples

    assert sample.id == mirrored.id == f"s{THIRD.study}-s{SAME_DAY.study}"
    assert (sample.labels, mirrored.labels) == ({("edema", "new")}, {("edema", "resolved")})


def test_studies_of_one_date_without_times_have_no_order(read):
    data_set = read(asked(SAME_DAY, THIRD), with_images=False)

    assert not data_set.samples
    assert [one.code for one in data_set.left_out] == ["ORDER_UNKNOWN"]


def test_a_study_with_itself_has_no_order(read):
    assert [one.code for one in read(asked(FIRST, FIRST)).left_out] == ["ORDER_UNKNOWN"]


def test_an_answer_about_a_level_is_a_change_without_a_label(read):
    (sample,) = read(asked(SECOND, FIRST, "the level of edema has changed from mild to severe. ")).samples

    assert (sample.labels, sample.is_changed, sample.notes) == (frozenset(), True, (LEVEL,))


def test_a_question_about_an_area_stays_as_it_is_beside_the_general_one(read):
    area = "what has changed in the left lung area?"
    level = "the level of edema has changed from mild to severe. "
    general, local = read(asked(SECOND, FIRST), asked(SECOND, FIRST, level, question=area)).samples

    assert general.question is None
    assert local.question == "What has changed in the left lung area?"
    assert local.notes == (LEVEL, AREA_QUESTION)
    assert general.id != local.id


def test_pairs_that_are_no_pairs_are_left_out_with_a_reason(read):
    data_set = read(
        asked(LATERAL, FIRST),
        asked(OTHER, FIRST),
        asked(SECOND, FIRST, subject_id=OTHER.subject),
        {"main": FIRST.study, "reference": 58888888, "answer": ADDED},
    )

    assert {one.code: one.count for one in data_set.left_out} == {
        "UNKNOWN_STUDY": 1,
        "IDENTITY_CONFLICT": 2,
        "NOT_FRONTAL": 1,
    }
    assert "10000032" not in repr(data_set.left_out)


def test_without_the_images_folder_answers_can_be_scored_and_nothing_loaded(read):
    (sample,) = read(asked(SECOND, FIRST), with_images=False).samples

    with pytest.raises(DataSetUnusable, match="MIMIC-CXR-JPG"):
        sample.images.load(16)


def test_a_picture_that_is_missing_is_told_without_its_patient(read):
    (sample,) = read(asked(SECOND, FIRST)).samples
    sample.images.files()[0].unlink()

    with pytest.raises(DataSetUnusable, match="is not there") as caught:
        sample.images.load(16)
    assert "10000032" not in str(caught.value)


def test_splits_of_the_table_are_kept_and_an_unknown_one_is_refused(read):
    names = ("train", "val", "test")
    data_set = read(
        *(asked(main, FIRST, split=name) for main, name in zip((SECOND, THIRD, SAME_DAY), names, strict=True))
    )

    assert [one.split for one in data_set.samples] == [Split.TRAIN, Split.VALIDATION, Split.TEST]
    with pytest.raises(DataSetUnusable, match=r"mimic_pair_questions.csv, line 2"):
        read(asked(SECOND, FIRST, split="holdout"))


@pytest.mark.parametrize("name", ["mimic_all.csv", "mimic_pair_questions.csv"])
def test_a_missing_table_or_column_is_named(read, tmp_path, name):
    read(asked(SECOND, FIRST))
    path = tmp_path / "vqa" / name
    path.write_text(path.read_text().replace("study_id", "studyid", 1))
    with pytest.raises(DataSetUnusable, match=f"{name}, line 1: no column study_id"):
        read_medical_diff_vqa(tmp_path / "vqa")

    path.unlink()
    with pytest.raises(DataSetUnusable, match=name):
        read_medical_diff_vqa(tmp_path / "vqa")


def test_a_cut_table_is_refused(read, tmp_path):
    read(asked(SECOND, FIRST))
    path = tmp_path / "jpg" / "mimic-cxr-2.0.0-metadata.csv.gz"
    path.write_bytes(path.read_bytes()[:-30])

    with pytest.raises(DataSetUnusable, match="cut"):
        read_mimic_images(tmp_path / "jpg")


@pytest.mark.parametrize(
    ("text", "clock"),
    [("213014.531", "21:30:14.531000"), ("80556.875", "08:05:56.875000"), ("5.0", "00:00:05"), ("0", "00:00:00")],
)
def test_a_time_of_day_that_lost_its_zeros_is_read(text, clock):
    assert study_time("21800506", text).time().isoformat() == clock
