"""How does a picture become a CR, DX or SR object that a PACS would accept?"""

import hashlib
import io
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from training.errors import TrainingError

#: Root of UIDs that are derived from a UUID.  Source: DICOM PS3.5, B.2.
_UUID_ROOT: Final = "2.25."
_IMPLEMENTATION: Final = "INTERVAL_PHANTOM"

_SOP_CLASSES: Final = {"CR": ComputedRadiographyImageStorage, "DX": DigitalXRayImageStorageForPresentation}
#: Encapsulated syntaxes and the encoder of each; all others are written as pydicom writes them.
_ENCODERS: Final = {RLELossless: "gdcm", JPEGLSLossless: "pyjpegls"}
#: Exponent of the VOI LUT of the objects that have one: the stored values are the picture's to this power.
_LUT_POWER: Final = 1.25

_VIEW_CODES: Final = {
    "AP": ("R-10206", "antero-posterior"),
    "PA": ("R-10214", "postero-anterior"),
    "LATERAL": ("R-10236", "left lateral"),
}
#: Directions of rows and columns: to the patient's left and feet; in a left lateral, the rows run to the back.
_ORIENTATION: Final = {"AP": ["L", "F"], "PA": ["L", "F"], "LATERAL": ["P", "F"]}
_VIEW_POSITION: Final = {"AP": "AP", "PA": "PA", "LATERAL": "LL"}


class UnknownModality(TrainingError, ValueError):
    """Only CR and DX objects are written."""


@dataclass(frozen=True, kw_only=True)
class PatientRecord:
    """What a header says of the patient. All of it is fictitious.

    Attributes:
        name: Family and given name, separated by a caret.
        identifier: PatientID; may be empty in an archive's awkward files.
        issuer: Issuer of the PatientID.
        sex: "F" or "M".
        birth_date: YYYYMMDD.
        character_set: Specific Character Set that can write the name.
    """

    name: str
    identifier: str
    issuer: str
    sex: str
    birth_date: str
    character_set: str


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """How one picture is acquired, coded and named.

    Attributes:
        study_uid: Study Instance UID; series and instance UIDs derive from it.
        study_number: Number of the study of its subject.
        number: Number of the image in its study.
        time: Start of the acquisition; None writes no date and no time at all.
        study_time: Start of the study; None as for `time`.
        modality: "CR" or "DX".
        view: "PA", "AP" or "LATERAL".
        inverted: MONOCHROME1 instead of MONOCHROME2.
        bits: Bits stored, 10 to 14.
        syntax: Transfer syntax.
        lookup: A VOI LUT instead of a window.
        margin: Share of the stored range left free at each end, which the window cuts off.
        slope: Rescale slope, CR only.
        intercept: Rescale intercept, CR only.
        spacing: Millimetres from pixel to pixel in the detector's plane.
        body_part: Body Part Examined, or "".
        description: Study Description.
    """

    study_uid: str
    study_number: int
    number: int
    time: datetime | None
    study_time: datetime | None
    modality: str
    view: str
    inverted: bool
    bits: int
    syntax: UID
    lookup: bool
    margin: float
    slope: float
    intercept: float
    spacing: float
    body_part: str
    description: str

    @property
    def instance_uid(self) -> str:
        """SOP Instance UID."""
        return derive_uid(self.study_uid, "instance", self.number)


def derive_uid(*parts: object) -> str:
    """UID made of a hash, the same for the same parts."""
    digest = hashlib.sha256("\n".join(map(str, parts)).encode("utf-8")).digest()
    return _UUID_ROOT + str(uuid.UUID(bytes=digest[:16], version=4).int)


def image_object(patient: PatientRecord, record: ImageRecord, picture: NDArray[np.float32]) -> bytes:
    """A DICOM file that shows a picture.

    Args:
        patient: Whose.
        record: Acquisition and coding.
        picture: (rows, columns) in [0, 1], bright is dense. After rescale, window or LUT, and inversion, the file's
            values are this picture to within quantisation.

    Raises:
        UnknownModality: The record's modality is neither CR nor DX.
    """
    if record.modality not in _SOP_CLASSES:
        raise UnknownModality(f"No {record.modality!r} object is written; use CR or DX.")
    sop_class = _SOP_CLASSES[record.modality]
    dataset = _frame(patient, record, sop_class)
    dataset.BodyPartExamined = record.body_part
    dataset.ViewPosition = _VIEW_POSITION[record.view]
    dataset.PatientOrientation = _ORIENTATION[record.view]
    dataset.ImagerPixelSpacing = [_decimal(record.spacing)] * 2
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    if record.modality == "DX":
        _describe_digital(dataset, record)
    else:
        dataset.ImageType = ["ORIGINAL", "PRIMARY"]
        if record.body_part != "CHEST":
            # Asked for where the body part does not say by itself that it is unpaired.  Source: DICOM PS3.3, C.7.3.1.
            dataset.Laterality = ""
        dataset.PixelSpacing = [_decimal(record.spacing)] * 2
        dataset.RescaleIntercept = _decimal(record.intercept)
        dataset.RescaleSlope = _decimal(record.slope)
        dataset.RescaleType = "US"
    _store(dataset, record, picture)
    if record.syntax in _ENCODERS:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(record.syntax, encoding_plugin=_ENCODERS[record.syntax], generate_instance_uid=False)
    return _written(dataset, sop_class, record.syntax)


def text_object(patient: PatientRecord, record: ImageRecord, sentence: str) -> bytes:
    """A Basic Text SR file of the same study: an object without pixels."""
    dataset = _frame(patient, record, BasicTextSRStorage)
    dataset.Modality = "SR"
    dataset.ReferencedPerformedProcedureStepSequence = Sequence()
    dataset.PerformedProcedureCodeSequence = Sequence()
    dataset.CompletionFlag = "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.ValueType = "CONTAINER"
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.ConceptNameCodeSequence = _code("18748-4", "LN", "Diagnostic imaging report")
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "TEXT"
    item.ConceptNameCodeSequence = _code("121071", "DCM", "Finding")
    item.TextValue = sentence
    dataset.ContentSequence = Sequence([item])
    return _written(dataset, BasicTextSRStorage, ExplicitVRLittleEndian)


def _frame(patient: PatientRecord, record: ImageRecord, sop_class: UID) -> FileDataset:
    """Patient, study, series and equipment, which every object has."""
    dataset = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
    dataset.SpecificCharacterSet = patient.character_set
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = record.instance_uid
    dataset.PatientName = patient.name
    dataset.PatientID = patient.identifier
    dataset.IssuerOfPatientID = patient.issuer
    dataset.PatientBirthDate = patient.birth_date
    dataset.PatientSex = patient.sex
    dataset.StudyInstanceUID = record.study_uid
    dataset.StudyID = str(record.study_number)
    dataset.AccessionNumber = f"A{int(record.study_uid[-9:]):09d}"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = record.description
    dataset.StudyDate = record.study_time.strftime("%Y%m%d") if record.study_time else ""
    dataset.StudyTime = record.study_time.strftime("%H%M%S") if record.study_time else ""
    dataset.SeriesInstanceUID = derive_uid(record.study_uid, "series", record.number)
    dataset.SeriesNumber = record.number
    dataset.InstanceNumber = record.number
    dataset.Modality = record.modality
    dataset.Manufacturer = "Interval phantoms"
    dataset.ManufacturerModelName = "Generated chest"
    dataset.DeviceSerialNumber = "1"
    dataset.SoftwareVersions = "1"
    if record.time is not None:
        kinds = ("Series", "Content") if sop_class == BasicTextSRStorage else ("Series", "Acquisition", "Content")
        for kind in kinds:
            setattr(dataset, f"{kind}Date", record.time.strftime("%Y%m%d"))
            setattr(dataset, f"{kind}Time", record.time.strftime("%H%M%S"))
    return dataset


def _describe_digital(dataset: Dataset, record: ImageRecord) -> None:
    """What the DX modules ask for beyond CR."""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.PositionerType = "COLUMN"
    dataset.ImageLaterality = "U"
    dataset.AnatomicRegionSequence = _code("T-D3000", "SRT", "Chest")
    dataset.ViewCodeSequence = _code(*_view_code(record.view))
    dataset.ViewCodeSequence[0].ViewModifierCodeSequence = Sequence()
    dataset.PatientOrientationCodeSequence = _code("F-10440", "SRT", "erect")
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = 1 if record.inverted else -1
    dataset.RescaleIntercept = "0"
    dataset.RescaleSlope = "1"
    dataset.RescaleType = "US"
    dataset.PresentationLUTShape = "INVERSE" if record.inverted else "IDENTITY"
    dataset.DetectorType = "SCINTILLATOR"
    dataset.AcquisitionContextSequence = Sequence()


def _view_code(view: str) -> tuple[str, str, str]:
    value, meaning = _VIEW_CODES[view]
    return value, "SRT", meaning


def _code(value: str, scheme: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


def _store(dataset: Dataset, record: ImageRecord, picture: NDArray[np.float32]) -> None:
    """Pixels, and the window or LUT that brings them back to the picture."""
    top = 2**record.bits - 1
    low, high = round(top * record.margin), round(top * (1 - record.margin))
    shown = 1 - picture if record.inverted else picture
    if record.lookup:
        stored = np.rint(shown.astype(np.float64) ** _LUT_POWER * top)
        entries = np.rint((np.arange(top + 1) / top) ** (1 / _LUT_POWER) * 65535).astype("<u2")
        table = Dataset()
        table.add_new("LUTDescriptor", "US", [top + 1, 0, 16])
        table.add_new("LUTData", "OW", entries.tobytes())
        table.LUTExplanation = "Chest"
        dataset.VOILUTSequence = Sequence([table])
    else:
        stored = np.rint(low + shown.astype(np.float64) * (high - low))
        slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
        first, last = low * slope + intercept, high * slope + intercept
        # The linear window function: its ends are at centre - 0.5 -+ (width - 1) / 2.  Source: DICOM PS3.3, C.11.2.1.2.
        dataset.WindowCenter = _decimal((first + last) / 2 + 0.5)
        dataset.WindowWidth = _decimal(last - first + 1)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if record.inverted else "MONOCHROME2"
    dataset.Rows, dataset.Columns = picture.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, record.bits, record.bits - 1
    dataset.PixelRepresentation = 0
    dataset.add_new("PixelData", "OW", stored.astype("<u2").tobytes())


def _decimal(number: float) -> str:
    """A decimal string of at most 16 characters."""
    return f"{number:.8g}"


def _written(dataset: FileDataset, sop_class: UID, syntax: UID) -> bytes:
    meta = dataset.file_meta
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = UID(derive_uid(_IMPLEMENTATION))
    meta.ImplementationVersionName = _IMPLEMENTATION
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=True, enforce_file_format=True)
    return file.getvalue()
