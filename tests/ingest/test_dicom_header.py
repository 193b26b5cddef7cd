from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from ingest.dicom.errors import BadHeader, NoIdentity
from ingest.dicom.exposure_time import exposure_time
from ingest.dicom.header import counted_warnings, read_header, value
from ingest.dicom.identity import consistency_keys, subject_key
from ingest.dicom.projection import read_projection
from ingest.dicom.spacing import radiograph_grid
from tests.ingest.radiograph_files import a_radiograph, write_radiograph


def only(**tags: object) -> Dataset:
    """A dataset with these elements alone; values against the standard are wanted here, so no warning is raised."""
    made = Dataset()
    with counted_warnings():
        for keyword, recorded in tags.items():
            setattr(made, keyword, recorded)
    return made


def test_the_exposure_goes_before_content_series_and_study() -> None:
    tags = {
        "StudyDate": "20200101",
        "StudyTime": "080000",
        "SeriesDate": "20200102",
        "SeriesTime": "090000",
        "ContentDate": "20200103",
        "ContentTime": "100000",
        "AcquisitionDate": "20200104",
        "AcquisitionTime": "110000",
        "AcquisitionDateTime": "20200105120000",
    }
    order = ["AcquisitionDateTime", "AcquisitionDate", "ContentDate", "SeriesDate", "StudyDate"]
    found = []

    while "StudyDate" in tags:
        when = exposure_time(only(**tags))
        found.append(when.source)
        del tags[when.source]

    assert found == order
    assert exposure_time(only(InstanceCreationDate="20200101")).time is None


def test_the_clock_may_come_from_another_element_of_the_same_day_only() -> None:
    same = exposure_time(only(AcquisitionDate="20200104", StudyDate="20200104", StudyTime="0815"))
    other = exposure_time(only(AcquisitionDate="20200104", StudyDate="20200103", StudyTime="0815"))

    assert (same.time, same.source) == (datetime(2020, 1, 4, 8, 15), "AcquisitionDate, StudyTime")
    assert same.has_clock
    assert (other.time, other.has_clock) == (datetime(2020, 1, 4), False)


@pytest.mark.parametrize(
    ("day", "clock", "time"),
    [
        ("19941105", "", datetime(1994, 11, 5)),
        ("1994.11.05", "10:20:30", datetime(1994, 11, 5, 10, 20, 30)),
        ("19941105", "10", datetime(1994, 11, 5, 10)),
        ("19941105", "102030.25", datetime(1994, 11, 5, 10, 20, 30, 250000)),
        ("19941105", "102060", datetime(1994, 11, 5, 10, 20, 59)),
        ("19941305", "", None),
        ("soon", "", None),
    ],
)
def test_forms_of_date_and_time(day: str, clock: str, time: datetime | None) -> None:
    assert exposure_time(only(StudyDate=day, StudyTime=clock) if clock else only(StudyDate=day)).time == time


def test_an_offset_is_kept_and_never_invented() -> None:
    plus_two = timezone(timedelta(hours=2))

    stated = exposure_time(only(StudyDate="20200101", StudyTime="1200", TimezoneOffsetFromUTC="+0200")).time
    inside = exposure_time(only(AcquisitionDateTime="20200101120000+0000", TimezoneOffsetFromUTC="+0200")).time
    absent = exposure_time(only(AcquisitionDateTime="20200101120000", TimezoneOffsetFromUTC="+0200")).time

    assert stated == datetime(2020, 1, 1, 12, tzinfo=plus_two)
    assert inside == datetime(2020, 1, 1, 12, tzinfo=UTC)
    assert absent is not None
    assert absent.tzinfo is None


def test_removed_dates_are_not_used() -> None:
    when = exposure_time(only(StudyDate="20200101", LongitudinalTemporalInformationModified="REMOVED"))

    assert (when.time, when.longitudinal) == (None, "REMOVED")


@given(st.dates(date(1900, 1, 1), date(2200, 1, 1)), st.times())
def test_a_written_time_is_read_back(day: date, clock: object) -> None:
    moment = datetime.combine(day, clock)  # type: ignore[arg-type]
    tags = {"StudyDate": moment.strftime("%Y%m%d"), "StudyTime": moment.strftime("%H%M%S.%f")}

    assert exposure_time(only(**tags)).time == moment


def test_the_subject_is_patient_id_and_issuer_with_leading_zeros() -> None:
    keys = [
        subject_key(only(PatientID=patient, IssuerOfPatientID=issuer))
        for patient, issuer in [("417", ""), ("00417", ""), ("417", "A"), ("417", "B"), ("417A", ""), ("41", "7A")]
    ]

    assert len(set(keys)) == len(keys)
    assert subject_key(only(PatientID=" 417 ")) == keys[0]
    assert all(key.startswith("patient:") and len(key) == len("patient:") + 16 for key in keys)
    with pytest.raises(NoIdentity):
        subject_key(only(PatientID=" "))


def test_consistency_keys_see_through_spelling_but_not_across_patients() -> None:
    one = consistency_keys(only(PatientID="1", PatientName="Müller^Ann", PatientBirthDate="19610203"))
    same = consistency_keys(only(PatientID="1", PatientName="MÜLLER ANN", PatientBirthDate="19610203"))
    other = consistency_keys(only(PatientID="2", PatientName="Müller^Ann", PatientBirthDate="19610203"))

    assert one == same
    assert set(one) == {"name_key", "birth_key"}
    assert not set(one.values()) & set(other.values())


@pytest.mark.parametrize(
    ("stated", "view"),
    [
        ("PA", "PA"),
        ("AP", "AP"),
        ("ap supine", "AP"),
        ("LL", "LATERAL"),
        ("RL", "LATERAL"),
        ("LATERAL", "LATERAL"),
        ("", ""),
        ("LLD", ""),
        ("AP AXIAL", ""),
        ("LORDOTIC", ""),
        ("RAO", ""),
    ],
)
def test_view_positions(stated: str, view: str) -> None:
    assert read_projection(only(ViewPosition=stated)).view == view


def test_a_view_comes_from_the_code_then_from_a_clear_description() -> None:
    coded = only(ViewCodeSequence=Sequence([only(CodeValue="R-10214")]), SeriesDescription="AP")

    assert read_projection(coded).view == "PA"
    assert read_projection(only(SeriesDescription="Thorax pa stehend")).view == "PA"
    assert read_projection(only(SeriesDescription="CHEST (PA and LAT)")).view == ""
    assert read_projection(only(SeriesDescription="papaya")).view == ""


def test_labels_that_contradict_each_other_are_said() -> None:
    conflicting = read_projection(only(ViewPosition="PA", SeriesDescription="CHEST AP MOBILE"))

    assert conflicting.view == "PA"
    assert len(conflicting.warnings) == 1
    assert not read_projection(only(ViewPosition="PA", SeriesDescription="CHEST PA")).warnings


@pytest.mark.parametrize(
    ("tags", "part", "source"),
    [
        ({"BodyPartExamined": "CHEST"}, "CHEST", "BodyPartExamined"),
        ({"BodyPartExamined": "THORAX"}, "CHEST", "BodyPartExamined"),
        ({"BodyPartExamined": "Lung"}, "CHEST", "BodyPartExamined"),
        ({"BodyPartExamined": "CSPINE"}, "CSPINE", "BodyPartExamined"),
        ({"BodyPartExamined": "HAND", "StudyDescription": "CHEST"}, "HAND", "BodyPartExamined"),
        ({"StudyDescription": "XR CHEST 2 VIEWS"}, "CHEST", "StudyDescription"),
        ({"SeriesDescription": "Knie / KNEE left"}, "KNEE", "SeriesDescription"),
        ({"StudyDescription": "CHEST AND ABDOMEN"}, "", ""),
        ({"StudyDescription": "TRAUMA"}, "", ""),
        ({}, "", ""),
    ],
)
def test_body_parts(tags: dict[str, str], part: str, source: str) -> None:
    projection = read_projection(only(**tags))

    assert (projection.body_part, projection.body_part_source) == (part, source)


def test_a_coded_region_is_understood() -> None:
    region = only(AnatomicRegionSequence=Sequence([only(CodeValue="51185008")]))

    assert read_projection(region).body_part == "CHEST"


def test_the_side_belongs_to_the_group_of_paired_parts_only() -> None:
    left_hand = read_projection(only(BodyPartExamined="HAND", ImageLaterality="L"))
    right_hand = read_projection(only(BodyPartExamined="HAND", Laterality="R"))
    chest = read_projection(only(BodyPartExamined="CHEST", Laterality="R"))

    assert left_hand.group != right_hand.group
    assert chest.group == "radiograph:CHEST"


def test_spacing_is_rows_then_columns_and_the_origin_is_the_centre() -> None:
    grid, kind = radiograph_grid(only(ImagerPixelSpacing=[0.2, 0.1], SOPInstanceUID="1.2"), height=100, width=50)

    assert grid.affine == pytest.approx((0.1, 0.0, -2.5, 0.0, 0.2, -10.0))
    assert (grid.frame, kind) == ("detector:1.2", "detector")


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"PixelSpacing": [0.1, 0.1]}, "stated"),
        ({"PixelSpacing": [0.1, 0.1], "PixelSpacingCalibrationType": "FIDUCIAL"}, "calibrated"),
        ({"PixelSpacing": [0.1, 0.1], "ImagerPixelSpacing": [0.1, 0.1]}, "detector"),
        ({"PixelSpacing": [0.09, 0.09], "ImagerPixelSpacing": [0.1, 0.1]}, "calibrated"),
        ({"PixelSpacing": [0.0, 0.0]}, "none"),
        ({"PixelSpacing": [100, 100]}, "none"),
        ({}, "none"),
    ],
)
def test_kinds_of_spacing(tags: dict[str, object], kind: str) -> None:
    assert radiograph_grid(only(**tags), height=10, width=10)[1] == kind


def test_without_spacing_the_unit_is_the_height_and_pixels_keep_their_aspect() -> None:
    square, _ = radiograph_grid(only(), height=100, width=50)
    tall, _ = radiograph_grid(only(PixelAspectRatio=[2, 1]), height=100, width=50)

    assert square.affine == pytest.approx((0.01, 0.0, -0.25, 0.0, 0.01, -0.5))
    assert tall.affine[4] / tall.affine[0] == pytest.approx(2.0)


def test_a_generated_file_has_all_of_it() -> None:
    dataset = a_radiograph()

    assert exposure_time(dataset).time == datetime(2020, 1, 1, 10, 15)
    assert read_projection(dataset).group == "radiograph:CHEST"


def test_an_element_of_an_unknown_kind_is_a_bad_header_and_no_foreign_error(tmp_path: Path) -> None:
    whole = write_radiograph(tmp_path / "a.dcm").read_bytes()
    at = whole.index(bytes.fromhex("e07f1000"))
    damaged = whole[: at + 4] + b"O\0" + whole[at + 6 :]

    with pytest.raises(BadHeader, match="PixelData"), counted_warnings():
        value(read_header(damaged), "PixelData")
