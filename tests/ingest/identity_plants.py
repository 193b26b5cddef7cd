"""Identifiers planted wherever a DICOM file has room for them, and a search that finds them again."""

import io
import zlib
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

#: Names as hospitals write them, with the character sets that they need.
NAMES = (
    ("ISO_IR 100", "Quetzal^Yöllów"),
    ("ISO_IR 192", "Кеткаль^Жёлтая"),
    (["", "ISO 2022 IR 87"], "Yamakawa^Tarou=山川^太郎=やまかわ^たろう"),
    ("GB18030", "Wangxiao^Dong=王小^东"),
    ("ISO_IR 6", "QUETZAL^YELLOW"),
)
PATIENT, RECORD = "QZ7713-4406", "440617352"
ACCESSION = "AX99812734"
BIRTH, STUDY, SERIES, CONTENT = "19610203", "20200131", "20200201", "20200202"
UID_ROOT = "1.2.826.0.1.3680043.8.498.20200131101500"
#: What may be found nowhere. Dates also in the forms in which people write them.
WORDS = (
    "quetzal", "yöllów", "кеткаль", "жёлтая", "yamakawa", "tarou", "山川", "太郎", "やまかわ", "王小", "wangxiao",
    PATIENT, ACCESSION, BIRTH, STUDY, SERIES, CONTENT, "31.01.2020", "2020-01-31", RECORD, UID_ROOT,
    "nosuchstreet", "st. nowhere",
)  # fmt: skip
_ENCODINGS = ("utf-8", "latin-1", "iso8859-5", "iso2022_jp", "gb18030", "utf-16-le", "utf-16-be", "shift_jis")


def plant(path: Path, target: Path, number: int) -> bool:
    """Writes the file with identifiers in every corner; False if it is none that can be written."""
    try:
        dataset = pydicom.dcmread(path)
    except (pydicom.errors.InvalidDicomError, OSError):
        return False
    if "SOPInstanceUID" not in dataset:
        return False
    charset, name = NAMES[number % len(NAMES)]
    dataset.SpecificCharacterSet = charset
    dataset.PatientName = name
    dataset.OtherPatientNames = name
    dataset.PatientID = PATIENT
    dataset.OtherPatientIDs = [PATIENT, f"MRN {RECORD}"]
    dataset.IssuerOfPatientID = "St. Nowhere"
    dataset.AccessionNumber = ACCESSION
    dataset.StudyID = RECORD
    dataset.PatientBirthDate = BIRTH
    dataset.StudyDate, dataset.SeriesDate, dataset.ContentDate = STUDY, SERIES, CONTENT
    dataset.AcquisitionDateTime = f"{STUDY}101500.000000"
    dataset.StudyTime = "101500"
    dataset.PatientAddress = "7 Nosuchstreet"
    dataset.InstitutionName = "St. Nowhere"
    dataset.InstitutionAddress = "7 Nosuchstreet"
    dataset.ReferringPhysicianName = name
    dataset.OperatorsName = [name, "QUETZAL^ANNA"]
    dataset.StationName = "QUETZAL1"
    dataset.StudyDescription = "CHEST PA of Quetzal, 31.01.2020"
    dataset.SeriesDescription = f"Quetzal {ACCESSION} LAT"
    dataset.ProtocolName = f"Thorax {PATIENT}"
    dataset.ImageComments = f"{PATIENT} seen 2020-01-31"
    dataset.PatientComments = "Quetzal"
    dataset.Manufacturer = "Quetzal St. Nowhere"
    dataset.SoftwareVersions = STUDY
    dataset.DeidentificationMethod = "by Quetzal"
    dataset.StudyInstanceUID = f"{UID_ROOT}.1.{str(dataset.get('StudyInstanceUID', '1'))[-20:].strip('.0')}"
    dataset.FrameOfReferenceUID = f"{UID_ROOT}.2"
    dataset.InstanceCreatorUID = f"{UID_ROOT}.3"
    dataset.RequestAttributesSequence = [
        _item(name, RequestedProcedureID=RECORD, RequestedProcedureDescription="Quetzal")
    ]
    dataset.ReferencedImageSequence = [
        _item(name, ReferencedSOPInstanceUID=dataset.SOPInstanceUID, ReferencedSOPClassUID=dataset.SOPClassUID)
    ]
    dataset.AnatomicRegionSequence = [
        _item(name, CodeValue="QUETZAL", CodingSchemeDesignator="99NW", CodeMeaning="Lung of Quetzal")
    ]
    dataset.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = Sequence(
        [_item(name, CodeValue="24028007", CodingSchemeDesignator="SCT", CodeMeaning=f"Right {ACCESSION}")]
    )
    block = dataset.private_block(0x0011, "QUETZAL CORP", create=True)
    block.add_new(1, "PN", name)
    block.add_new(2, "SQ", [_item(name, PatientID=PATIENT)])
    block.add_new(3, "DA", STUDY)
    block.add_new(4, "UN", f"{PATIENT} Quetzal ".encode())
    dataset.add_new(0x60000010, "US", 8)
    dataset.add_new(0x60000022, "LO", "Quetzal")
    dataset.add_new(0x60004000, "LT", "Quetzal")
    dataset.add_new(0xFFFCFFFC, "OB", b"Quetzal ")
    dataset.preamble = b"Quetzal^Yellow 19610203 ".ljust(128, b" ")
    dataset.file_meta.SourceApplicationEntityTitle = "QUETZAL"
    dataset.file_meta.PrivateInformationCreatorUID = f"{UID_ROOT}.4"
    dataset.file_meta.PrivateInformation = b"Quetzal "
    target.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(target)
    return True


def _item(name: str, **tags: object) -> Dataset:
    made = Dataset()
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    made.OperatorsName = name
    made.ContentDate = CONTENT
    made.add_new(0x00110010, "LO", "QUETZAL CORP")
    made.add_new(0x00111001, "LO", PATIENT)
    return made


@dataclass(frozen=True, kw_only=True)
class Written:
    """A file as it was written: the parsed dataset and every byte of it that is no pixel."""

    dataset: Dataset
    header: bytes
    pixels: bytes


def read_written(path: Path) -> Written:
    content = path.read_bytes()
    dataset = pydicom.dcmread(io.BytesIO(content))
    pixels = next((dataset[key].value for key in ("PixelData", "FloatPixelData") if key in dataset), b"")
    if dataset.file_meta.TransferSyntaxUID.is_deflated:
        start = 144 + dataset.file_meta.FileMetaInformationGroupLength
        content = content[:start] + zlib.decompress(content[start:].rstrip(b"\0") or b"", -zlib.MAX_WBITS)
    assert content.count(pixels) == 1
    return Written(dataset=dataset, header=content.replace(pixels, b""), pixels=pixels)


def found_in(content: bytes, words: tuple[str, ...] = WORDS) -> list[str]:
    """Those of the words that stand anywhere in the bytes, in any of the encodings and cases."""
    lowered = content.lower()
    return [
        word
        for word in words
        for form in {word, word.upper(), word.title()}
        if any(coded in content or coded.lower() in lowered for coded in _coded(form))
    ]


def _coded(word: str) -> list[bytes]:
    made = []
    for encoding in _ENCODINGS:
        try:
            # Japanese in ISO 2022 stands between escape sequences that may be shared with its neighbours.
            made.append(word.encode(encoding).removeprefix(b"\x1b$B").removesuffix(b"\x1b(B"))
        except UnicodeEncodeError:
            continue
    return made
