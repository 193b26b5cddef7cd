"""What becomes of single elements, dates, words and keys."""

import struct
from datetime import date, datetime, timedelta
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

from ingest.deidentify.actions import Action, actions
from ingest.deidentify.dates import plain_time, shift_date, shift_datetime
from ingest.deidentify.elements import Cleaner
from ingest.deidentify.errors import IdentityLeft, KeyUnusable, NotAnImage, PixelText, UnknownClass
from ingest.deidentify.image import deidentify_image
from ingest.deidentify.options import Options
from ingest.deidentify.secret import KEY_VARIABLE, Secret, read_secret
from ingest.deidentify.traces import Traces
from ingest.deidentify.vocabulary import VOCABULARY, known_words
from ingest.dicom.errors import NotDicom
from ingest.dicom.projection import read_projection
from tests.ingest.radiograph_files import a_radiograph, write_radiograph

SECRET = Secret(b"a key for tests, of forty characters....")
PERSON = SECRET.person("00417", "")


def cleaned(*, characteristics: bool = False, **tags: object) -> Dataset:
    dataset = a_radiograph(**tags)
    Cleaner(person=PERSON, traces=Traces(dataset), characteristics=characteristics).clean(dataset)
    return dataset


def as_file(tmp_path: Path, dataset: Dataset | None = None) -> bytes:
    return write_radiograph(tmp_path / "file.dcm", dataset).read_bytes()


@given(st.dates(date(1950, 1, 1), date(2100, 1, 1)), st.dates(date(1950, 1, 1), date(2100, 1, 1)), st.text(max_size=64))
def test_intervals_between_dates_stay_exact(one: date, other: date, patient: str) -> None:
    shift = SECRET.person(patient, "").shift

    moved = [datetime.strptime(shift_date(f"{day:%Y%m%d}", shift), "%Y%m%d").date() for day in (one, other)]

    assert moved[1] - moved[0] == other - one
    assert moved[0] - one == shift
    assert timedelta(days=-365 - 3652) < shift <= timedelta(days=-365)


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ("20200301", "20200220"),
        ("2020.03.01", "20200220"),
        ("", ""),
        ("2020-03-01", ""),
        ("Canary", ""),
        ("20200230", ""),
        ("00010101", ""),
    ],
)
def test_only_a_date_comes_out_of_a_date(recorded: str, expected: str) -> None:
    assert shift_date(recorded, timedelta(days=-10)) == expected


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ("20200301101500.123456+0100", "20200220101500.123456+0100"),
        ("20200301", "20200220"),
        ("202003", "202002"),
        ("2020", "2019"),
        ("20200301 Canary", ""),
    ],
)
def test_the_clock_of_a_moved_datetime_stands_still(recorded: str, expected: str) -> None:
    assert shift_datetime(recorded, timedelta(days=-10)) == expected


def test_a_time_is_kept_and_a_date_in_its_place_is_not() -> None:
    assert [plain_time(one) for one in ("101500.25", "10:15", "20200131", "Canary")] == ["101500.25", "10:15", "", ""]


@given(st.text())
def test_no_other_word_comes_out_of_a_description(text: str) -> None:
    assert set(known_words(text)) <= VOCABULARY


@pytest.mark.parametrize(
    "description",
    [
        "CHEST PA",
        "Thorax^AP_LORDOTIC",
        "Chest2Views LATERAL",
        "KNEE lat",
        "Tspine ap",
        "CHEST (PA and LAT)",
        "oblique hand PA",
    ],
)
def test_body_part_and_view_are_read_alike_before_and_after(description: str) -> None:
    tags = {"BodyPartExamined": "", "ViewPosition": "", "SeriesDescription": f"{description} Mrs Canary 31.01.2020"}

    before, after = read_projection(a_radiograph(**tags)), read_projection(cleaned(**tags))

    assert after == before
    assert before.body_part


def test_the_table_is_that_of_the_standard() -> None:
    table = actions(characteristics=False)

    # Read off PS3.15 by hand: AccessionNumber Z, InstitutionAddress X, DeviceSerialNumber X/Z/D, StudyInstanceUID U.
    assert table[0x00080050] is Action.EMPTY
    assert table[0x00080081] is Action.REMOVE
    assert table[0x00181000] is Action.DUMMY
    assert table[0x0020000D] is Action.BY_TYPE
    assert len(table) > 650


def test_characteristics_stay_only_when_asked_for() -> None:
    tags = {
        "PatientAge": "093Y",
        "PatientSex": "F",
        "PatientWeight": "61",
        "SmokingStatus": "NO",
        "PatientState": "Canary",
    }

    plain, kept = cleaned(**tags), cleaned(characteristics=True, **tags)

    assert "PatientAge" not in plain and "PatientWeight" not in plain and not plain.PatientSex
    assert (kept.PatientAge, kept.PatientSex, kept.PatientWeight, kept.SmokingStatus) == ("090Y", "F", 61, "NO")
    assert "PatientState" not in kept


def test_terms_stay_and_what_is_none_does_not() -> None:
    dataset = cleaned(
        Manufacturer="GE MEDICAL SYSTEMS",
        ManufacturerModelName="Canary 3",
        BodyPartExamined="CHEST",
        ImageType=["ORIGINAL", "PRIMARY", "YELLOW", "20200131"],
        DetectorDescription="by Smith, chest",
        AcquisitionProtocolName="Smith",
    )

    assert dataset.Manufacturer == "GE MEDICAL SYSTEMS"
    assert dataset.ManufacturerModelName == "REMOVED"
    assert dataset.BodyPartExamined == "CHEST"
    assert list(dataset.ImageType) == ["ORIGINAL", "PRIMARY", "", ""]
    assert dataset.DetectorDescription == "CHEST"
    assert dataset.AcquisitionProtocolName == "REMOVED"


def test_a_part_of_the_body_stays_even_where_it_is_somebodys_name() -> None:
    dataset = cleaned(PatientName="Chest^Hand", BodyPartExamined="CHEST", StudyDescription="CHEST")

    assert (dataset.BodyPartExamined, dataset.StudyDescription) == ("CHEST", "CHEST")


@pytest.mark.parametrize(("recorded", "expected"), [("OMNIPAQUE", "REMOVED"), ("iodine 300", "IODINE"), ("", "")])
def test_that_contrast_was_given_stays_known(recorded: str, expected: str) -> None:
    assert cleaned(ContrastBolusAgent=recorded).ContrastBolusAgent == expected


def test_public_dates_do_not_give_the_shift_away() -> None:
    dataset = cleaned(DateOfLastCalibration="20190101", DateOfManufacture="20150101")
    dataset.ViewCodeSequence = [Dataset()]
    dataset.ViewCodeSequence[0].ContextGroupVersion = "20021112"
    dataset.ViewCodeSequence[0].ContextIdentifier = "4010"
    Cleaner(person=PERSON, traces=Traces(dataset), characteristics=False).clean(dataset)

    assert "DateOfLastCalibration" not in dataset and "DateOfManufacture" not in dataset
    assert len(dataset.ViewCodeSequence[0]) == 0


def test_two_people_under_one_id_stay_two() -> None:
    one, other = cleaned(), cleaned(PatientName="Blue^Jay", PatientBirthDate="19700101")

    assert one.PatientID == other.PatientID != "00417"
    assert one.PatientName != other.PatientName
    assert one.PatientBirthDate != other.PatientBirthDate
    assert one.PatientBirthDate < "1700" and "Canary" not in str(one.PatientName)


@given(st.text(), st.text(), st.text(), st.text())
def test_two_people_never_share_a_pseudonym(one: str, first: str, other: str, second: str) -> None:
    same = SECRET.person(one, first).id == SECRET.person(other, second).id

    assert same == ((one, first) == (other, second))


def test_a_uid_is_replaced_by_one_that_is_valid_and_no_other() -> None:
    made = pydicom.uid.UID(SECRET.uid("1.2.3"))

    assert made.is_valid and made.startswith("2.25.")
    assert made == SECRET.uid("1.2.3") != SECRET.uid("1.2.30")


def test_the_key_is_not_shown() -> None:
    assert "forty" not in repr(SECRET) + repr(PERSON) + SECRET.check


def test_a_key_that_others_may_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    path = tmp_path / "key"
    path.write_text("0" * 64 + "\n")
    path.chmod(0o640)
    with pytest.raises(KeyUnusable, match="chmod 600"):
        read_secret(path)

    path.chmod(0o600)
    assert read_secret(path).uid("1.2") == Secret(b"0" * 64).uid("1.2")
    monkeypatch.setenv(KEY_VARIABLE, "0" * 64)
    assert read_secret(None) == read_secret(path)


@pytest.mark.parametrize("key", ["", "short", " " * 40])
def test_a_missing_or_short_key_is_refused(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(KeyUnusable):
        read_secret(None)


def test_reports_and_private_classes_are_refused(tmp_path: Path) -> None:
    report = a_radiograph(SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1", EncapsulatedDocument=b"%PDF Canary ")
    del report.PixelData, report.Rows, report.Columns
    private = a_radiograph(SOPClassUID="1.3.12.2.1107.5.9.1")

    with pytest.raises(NotAnImage, match="Encapsulated PDF"):
        deidentify_image(as_file(tmp_path, report), secret=SECRET, options=Options())
    with pytest.raises(UnknownClass):
        deidentify_image(as_file(tmp_path, private), secret=SECRET, options=Options())
    with pytest.raises(NotDicom):
        deidentify_image(b"PK\x03\x04" + bytes(400), secret=SECRET, options=Options())


@pytest.mark.parametrize(
    "tags",
    [
        {"BurnedInAnnotation": "YES"},
        {"Modality": "US"},
        {"ConversionType": "DF"},
        {"ImageType": ["DERIVED", "", "SCREEN SAVE"]},
    ],
)
def test_pictures_that_may_show_text_are_refused_without_the_step(tmp_path: Path, tags: dict[str, object]) -> None:
    with pytest.raises(PixelText, match="--pixels risky"):
        deidentify_image(as_file(tmp_path, a_radiograph(**tags)), secret=SECRET, options=Options())


def test_a_name_in_a_comment_of_the_coded_pixels_is_noticed(tmp_path: Path) -> None:
    dataset = a_radiograph()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    comment = b"Canary^Yellow"
    frame = b"\xff\xd8\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + b"\xff\xd9"
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.save_as(tmp_path / "file.dcm", enforce_file_format=True)

    with pytest.raises(IdentityLeft, match="--pixels all"):
        deidentify_image((tmp_path / "file.dcm").read_bytes(), secret=SECRET, options=Options())


def test_dates_that_were_removed_before_are_not_said_to_be_moved(tmp_path: Path) -> None:
    before = a_radiograph(LongitudinalTemporalInformationModified="REMOVED")

    done = deidentify_image(as_file(tmp_path, before), secret=SECRET, options=Options())

    after = pydicom.dcmread(pydicom.filebase.DicomBytesIO(done.content))
    assert after.LongitudinalTemporalInformationModified == "REMOVED"
    assert after.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_images_without_patient_are_linked_to_nobody(tmp_path: Path) -> None:
    images = [a_radiograph(PatientID="", StudyInstanceUID=f"1.2.{number}") for number in range(2)]

    done = [deidentify_image(as_file(tmp_path, one), secret=SECRET, options=Options()) for one in images]

    dates = {pydicom.dcmread(pydicom.filebase.DicomBytesIO(one.content)).StudyDate for one in done}
    assert {one.subject for one in done} == {""}
    assert len(dates) == 2
