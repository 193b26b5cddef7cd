import pytest

from reports.progression import read_progression
from tests.training.published_sets import Study, write_mimic_cxr_jpg, write_ms_cxr_t
from training.readers.mimic_cxr_jpg import read_mimic_images
from training.readers.ms_cxr_t import read_ms_cxr_t
from training.readers.sample import DataSetUnusable, Split

EARLY = Study(10000032, 59414267, "21800506")
LATE = Study(10000032, 53189527, "21800626")
OTHER = Study(10000980, 56699142, "21890801")
STUDIES = (EARLY, LATE, OTHER)


@pytest.fixture
def images(tmp_path):
    return read_mimic_images(write_mimic_cxr_jpg(tmp_path / "jpg", STUDIES))


def test_each_annotated_finding_is_a_sample(tmp_path, images):
    labels = {"edema": "worsening", "pleural_effusion": "stable", "pneumonia": "improving"}
    data_set = read_ms_cxr_t(write_ms_cxr_t(tmp_path / "ms", [(LATE, EARLY, labels)]), images=images)

    assert {name: change for one in data_set.samples for name, change in one.labels} == {
        "edema": "worse",
        "pleural effusion": "stable",
        "pneumonia": "improved",
    }
    edema, effusion, _ = data_set.samples
    assert edema.question == "How has edema changed: improved, stable or worse?"
    assert (edema.answers, edema.is_changed, effusion.is_changed) == (("Edema is worse.",), True, False)
    assert {one.split for one in data_set.samples} == {Split.TEST}
    assert [path.parent.name for path in edema.images.files()] == [f"s{EARLY.study}", f"s{LATE.study}"]


def test_a_reversed_pair_is_put_right_with_its_label(tmp_path, images):
    folder = write_ms_cxr_t(tmp_path / "ms", [(EARLY, LATE, {"edema": "worsening", "pneumonia": "stable"})])
    edema, pneumonia = read_ms_cxr_t(folder, images=images).samples

    assert [path.parent.name for path in edema.images.files()] == [f"s{EARLY.study}", f"s{LATE.study}"]
    assert (edema.labels, pneumonia.labels) == ({("edema", "improved")}, {("pneumonia", "stable")})


def test_two_patients_are_no_pair_and_contradicting_rows_count_for_nothing(tmp_path, images):
    folder = write_ms_cxr_t(
        tmp_path / "ms",
        [
            (OTHER, EARLY, {"edema": "stable"}),
            (LATE, EARLY, {"edema": "stable", "pneumonia": "stable"}),
            (LATE, EARLY, {"edema": "improving", "pneumonia": "stable"}),
        ],
    )
    data_set = read_ms_cxr_t(folder, images=images)

    assert [one.labels for one in data_set.samples] == [{("pneumonia", "stable")}]
    assert {one.code: one.count for one in data_set.left_out} == {"IDENTITY_CONFLICT": 1, "CONTRADICTION": 2}
    assert data_set.repaired == {"REPEATED": 1}


def test_an_unknown_label_is_refused_with_its_line(tmp_path):
    folder = write_ms_cxr_t(tmp_path / "ms", [(LATE, EARLY, {"edema": "better"})])

    with pytest.raises(DataSetUnusable, match="line 2: edema_progression is 'better'"):
        read_ms_cxr_t(folder)


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("Edema is worse.", "worse"),
        ("The edema has improved", "improved"),
        ("unchanged", "stable"),
        ("improved, stable or worse", None),
        ("no idea", None),
    ],
)
def test_one_class_is_read_from_a_text_and_several_are_none(text, change):
    assert read_progression(text) == change
