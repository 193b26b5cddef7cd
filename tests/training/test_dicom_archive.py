import csv
import os
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless, RLELossless

from reports.labels import read_labels
from training.phantoms.dicom_archive import NoSubjects, write_dicom_archive
from training.phantoms.dicom_object import ImageRecord, PatientRecord, UnknownModality, image_object
from training.phantoms.radiograph import draw_subject, render

CODES = {"TRUNCATED", "NOT_DICOM", "DATE_UNKNOWN", "NO_IDENTITY", "DUPLICATE", "NO_PIXELS"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    write_dicom_archive(root, subjects=14, seed=7)
    return root


@pytest.fixture(scope="module")
def awkward(archive):
    with (archive / "awkward.csv").open(encoding="utf-8", newline="") as file:
        return {row["name"]: row["expected_code"] for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def images(archive, awkward):
    """Header of every usable image by its name."""
    names = (path.relative_to(archive).as_posix() for path in sorted(archive.rglob("*")) if path.is_file())
    return {
        name: pydicom.dcmread(archive / name, stop_before_pixels=True)
        for name in names
        if name not in awkward and not name.endswith(".csv")
    }


def _record(**changes):
    values = {
        "study_uid": "2.25.123456789012", "study_number": 1, "number": 1, "time": datetime(2020, 1, 2, 3, 4),
        "study_time": datetime(2020, 1, 2, 3), "modality": "CR", "view": "PA", "inverted": False, "bits": 12,
        "syntax": ExplicitVRLittleEndian, "lookup": False, "margin": 0.06, "slope": 1.0, "intercept": 0.0,
        "spacing": 1.125, "body_part": "CHEST", "description": "Thorax",
    }  # fmt: skip
    return ImageRecord(**{**values, **changes})


PATIENT = PatientRecord(
    name="Test^Person", identifier="1", issuer="X", sex="F", birth_date="19500101", character_set="ISO_IR 192"
)


def _displayed(dataset):
    """The picture in [0, 1] by the standard's formulas, written out apart from the code under test."""
    stored = dataset.pixel_array.astype(np.float64)
    if "VOILUTSequence" in dataset:
        table = np.frombuffer(dataset.VOILUTSequence[0].LUTData, "<u2")
        shown = table[stored.astype(int)] / 65535
    else:
        value = stored * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        centre, width = float(dataset.WindowCenter), float(dataset.WindowWidth)
        shown = np.clip((value - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    return 1 - shown if dataset.PhotometricInterpretation == "MONOCHROME1" else shown


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, JPEGLSLossless])
@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize(
    "coding",
    [
        {"modality": "CR", "bits": 10, "slope": 0.25, "intercept": -100.0, "margin": 0.12},
        {"modality": "CR", "bits": 14, "slope": 2.0, "intercept": 10.0, "margin": 0.0},
        {"modality": "DX", "bits": 12, "lookup": True},
        {"modality": "DX", "bits": 12},
    ],
)
def test_a_file_displays_the_rendered_picture(tmp_path, syntax, inverted, coding):
    rng = np.random.default_rng(0)
    picture = render(draw_subject(rng), (), rng, size=(96, 80)).values
    path = tmp_path / "image"
    path.write_bytes(image_object(PATIENT, _record(syntax=syntax, inverted=inverted, **coding), picture))
    dataset = pydicom.dcmread(path)
    assert dataset.file_meta.TransferSyntaxUID == syntax
    # Steps of the stored range left between the window's ends; the LUT's steps are larger where it is steep.
    step = 1 / ((2 ** coding["bits"] - 1) * (1 - 2 * coding.get("margin", 0.06)))
    assert np.abs(_displayed(dataset) - picture).max() < (4 if coding.get("lookup") else 0.75) * step


def test_other_modalities_are_refused():
    with pytest.raises(UnknownModality, match="MR"):
        image_object(PATIENT, _record(modality="MR"), np.zeros((8, 8), np.float32))


def test_equal_arguments_give_equal_bytes_and_another_seed_other_ones(tmp_path):
    def content(name, seed):
        write_dicom_archive(tmp_path / name, subjects=3, seed=seed)
        return {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }

    first = content("first", 4)
    assert first == content("again", 4)
    assert not set(first.values()) & {
        value for key, value in content("other", 5).items() if key.name not in ("awkward.csv", "notes.dcm")
    }


def test_every_image_is_decoded_and_the_archive_has_the_variety_of_a_hospital(archive, images):
    for name in images:
        dataset = pydicom.dcmread(archive / name)
        shown = _displayed(dataset)
        assert shown.shape == (dataset.Rows, dataset.Columns)
        assert shown.std() > 0.1
    for keyword, wanted in {
        "Modality": {"CR", "DX"},
        "PhotometricInterpretation": {"MONOCHROME1", "MONOCHROME2"},
        "ViewPosition": {"PA", "AP", "LL"},
        "BitsStored": {10, 12, 14},
        "BodyPartExamined": {"CHEST", "THORAX", ""},
    }.items():
        assert {dataset[keyword].value or "" for dataset in images.values()} == wanted
    assert len({dataset.file_meta.TransferSyntaxUID for dataset in images.values()}) == 4
    assert any("VOILUTSequence" in dataset for dataset in images.values())
    assert {Path(name).suffix for name in images} == {"", ".dcm"}


def test_two_patients_may_share_a_number_but_not_its_issuer(images):
    studies = {(dataset.PatientID, dataset.IssuerOfPatientID): set() for dataset in images.values()}
    for dataset in images.values():
        studies[dataset.PatientID, dataset.IssuerOfPatientID].add(dataset.StudyInstanceUID)
    assert len(studies) == 14
    assert len({identifier for identifier, _ in studies}) == 7
    assert all(2 <= len(uids) <= 4 for uids in studies.values())


def test_labels_hold_the_pairs_that_dates_and_views_imply(archive, images):
    frontal: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for dataset in images.values():
        if dataset.ViewPosition != "LL":
            key = (dataset.PatientID, dataset.IssuerOfPatientID)
            frontal.setdefault(key, []).append(
                (dataset.StudyDate + dataset.StudyTime, dataset.ViewPosition, dataset.SOPInstanceUID)
            )
    wanted = set()
    for series in frontal.values():
        series.sort()
        for at, (_, view, uid) in enumerate(series):
            earlier = series[:at]
            chosen = [one for one in earlier if one[1] == view] or earlier
            if chosen:
                wanted.add((chosen[-1][2], uid))
    labels = read_labels(archive / "labels.csv")
    assert {(pair.prior_id, pair.current_id) for pair in labels.pairs} == wanted
    for pair in labels.pairs:
        assert images[pair.prior_name].SOPInstanceUID == pair.prior_id
        assert images[pair.current_name].SOPInstanceUID == pair.current_id
    assert any(pair.findings for pair in labels.pairs)


def test_awkward_files_are_what_they_are_said_to_be(archive, awkward, images):
    assert set(awkward.values()) == CODES
    name_of = {code: archive / name for name, code in awkward.items()}
    with pytest.raises(pydicom.errors.InvalidDicomError):
        pydicom.dcmread(name_of["NOT_DICOM"])
    with pytest.raises(ValueError, match="less than expected"):
        pydicom.dcmread(name_of["TRUNCATED"]).pixel_array  # noqa: B018
    assert pydicom.dcmread(name_of["NO_IDENTITY"]).PatientID == ""
    assert "PixelData" not in pydicom.dcmread(name_of["NO_PIXELS"])
    undated = pydicom.dcmread(name_of["DATE_UNKNOWN"])
    assert not any(element.value for element in undated if element.VR in ("DA", "DT") and "Birth" not in element.name)
    copies = [name for name in images if (archive / name).read_bytes() == name_of["DUPLICATE"].read_bytes()]
    assert len(copies) == 1
    assert all(copies[0].casefold() < name.casefold() for name, code in awkward.items() if code == "DUPLICATE")


def test_a_planted_name_is_every_patients(tmp_path):
    write_dicom_archive(tmp_path, subjects=2, seed=1, patient_name="Canary^Alpha")
    names = {str(pydicom.dcmread(path).PatientName) for path in tmp_path.rglob("IM000001") if path.is_file()}
    assert names == {"Canary^Alpha"}
    assert "Canary" not in (tmp_path / "labels.csv").read_text(encoding="utf-8")


def test_an_archive_without_subjects_is_refused(tmp_path):
    with pytest.raises(NoSubjects, match="at least one"):
        write_dicom_archive(tmp_path, subjects=0, seed=1)


def test_dciodvfy_finds_no_error_in_any_valid_file(archive, awkward, images):
    tool = shutil.which("dciodvfy")
    if tool is None:
        if os.environ.get("CI") == "true":
            pytest.fail("dciodvfy is missing; install Debian's dicom3tools.")
        pytest.skip("needs dciodvfy of Debian's dicom3tools")
    valid = [*images, *(name for name, code in awkward.items() if code in ("DATE_UNKNOWN", "NO_PIXELS", "DUPLICATE"))]
    for name in valid:
        result = subprocess.run([tool, str(archive / name)], capture_output=True, text=True, check=False)
        errors = [line for line in (result.stdout + result.stderr).splitlines() if "Error" in line]
        assert not errors, (name, errors)
