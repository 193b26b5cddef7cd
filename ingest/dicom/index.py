"""What does the index learn from one DICOM file: from its header first, from its pixels later?"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

import pydicom.uid as uids
from pydicom.dataset import Dataset

from ingest.dicom.colour import is_coloured, is_understood
from ingest.dicom.complete import check_complete
from ingest.dicom.decode import digest_pixels, has_pixels
from ingest.dicom.errors import BadHeader, DerivedObject, NoIdentity, NoPixels, Truncated, UnsupportedImage
from ingest.dicom.exposure_time import exposure_time
from ingest.dicom.group import series_header
from ingest.dicom.header import counted_warnings, read_header, text, texts, transfer_syntax, value
from ingest.dicom.identity import consistency_keys, subject_key
from ingest.dicom.orientation import turn_upright
from ingest.dicom.projection import RADIOGRAPH_MODALITIES, read_projection
from ingest.dicom.scan import PixelElement, Scanned, Short, Unexpected, scan
from ingest.dicom.spacing import radiograph_grid
from ingest.errors import IngestError
from ingest.grid import grid_values

#: The directory of a file set: a hint at its files, not an image.
DICOMDIR = str(uids.MediaStorageDirectoryStorage)

#: Storage classes of objects that are made from images, or of images that no detector made.
_DERIVED_CLASSES = frozenset(
    {
        uids.SecondaryCaptureImageStorage,
        uids.MultiFrameSingleBitSecondaryCaptureImageStorage,
        uids.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        uids.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        uids.MultiFrameTrueColorSecondaryCaptureImageStorage,
        uids.SegmentationStorage,
        uids.ParametricMapStorage,
        uids.RTDoseStorage,
    }
)
_DERIVED_MODALITIES = frozenset({"SEG", "PR", "KO", "SR", "RTDOSE", "RTSTRUCT", "RTPLAN"})
#: Elements that a file with pixels has; with one of them and no pixels, the file lost its end.
_IMAGE_KEYWORDS = ("Rows", "Columns", "BitsAllocated")


#: Bytes read at first: more than the headers of nearly all files have.
_FIRST_BYTES = 32_768


@dataclass(frozen=True, kw_only=True)
class Indexed:
    """What the header of one DICOM file tells.

    Attributes:
        error: Why the file gives nothing; None if it does, as far as its header can tell.
        has_pixels: True if there are pixels to be verified.
        uid: SOP Instance UID, empty if unknown.
        subject: Key of the patient, empty if unknown.
        study: StudyInstanceUID, empty if unknown.
        series: SeriesInstanceUID, empty if unknown.
        header: JSON values under "single" for an image that is an acquisition of its own, or under "series" and
            "modality" for one that is part of a series; there is neither if the file gives nothing whatever its pixels
            are.
    """

    error: IngestError | None
    has_pixels: bool = False
    uid: str = ""
    subject: str = ""
    study: str = ""
    series: str = ""
    header: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What reading a file to its end found.

    Attributes:
        sha256: Hash of the file's bytes.
        pixel_sha256: Hash of the stored values; empty if they could not be decoded.
        decoder: Name and version of what decoded them; empty if nothing could.
        error: Why not; None if they were decoded.
    """

    sha256: str
    pixel_sha256: str = ""
    decoder: str = ""
    error: IngestError | None = None


def is_dicomdir(head: bytes) -> bool:
    """True if the first bytes of a file are those of a file set's directory."""
    return DICOMDIR.encode("ascii") in head


def index_instance(file: IO[bytes], size: int, *, follow: bool) -> Indexed:
    """Reads the header of one file.

    Args:
        file: At its start.
        size: Bytes of the file.
        follow: Step over the fragments of compressed pixels to see whether they are all there.

    Raises:
        OSError: The file cannot be read from disk.
    """
    uid = subject = study = series = ""
    pixels: PixelElement | None = None
    error: IngestError | None = None
    broken: IngestError | None = None
    header: dict[str, Any] = {}
    with counted_warnings() as warned:
        try:
            scanned = read_head(file, size)
            dataset, pixels = scanned.dataset, scanned.pixels
            uid, study, series = (text(dataset, f"{one}InstanceUID") for one in ("SOP", "Study", "Series"))
            if pixels is None:
                raise _why_no_pixels(dataset)
            try:
                check_complete(dataset, pixels, file if follow else None, size)
            except IngestError as found:
                broken = found
            if text(dataset, "PatientID"):
                subject = subject_key(dataset)
            header = _header(dataset, lambda: len(warned))
        except IngestError as found:
            error = found
    error = broken or error
    if error is not None:
        # Passed on to another process, an error would lose its cause; only its sentence is needed.
        error.__cause__ = None
    return Indexed(
        error=error,
        has_pixels=pixels is not None and broken is None,
        uid=uid,
        subject=subject,
        study=study,
        series=series,
        header=header,
    )


def read_head(file: IO[bytes], size: int) -> Scanned:
    """Every element before the pixel data, and where that is.

    Raises:
        NotDicom: The content is something else.
        Truncated: The header ends in the middle.
        BadHeader: The header is garbled.
        OSError: The file cannot be read from disk.
    """
    content = file.read(_FIRST_BYTES)
    while True:
        try:
            return scan(content, is_whole=len(content) >= size)
        except Short:
            # At the end of the file, pydicom says what is wrong with it.
            more = file.read(3 * len(content)) if len(content) < size else b""
        except Unexpected:
            more = b""
        if not more:
            break
        content += more
    dataset = read_header(content + file.read())
    keywords = [one for one in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if one in dataset]
    if not keywords:
        return Scanned(dataset=dataset, pixels=None)
    element = dataset[keywords[0]]
    del dataset[keywords[0]]
    # The value was read whole, so it starts where it leaves room for itself; fragments were stepped over in reading.
    length = None if element.is_undefined_length else len(element.value or b"")
    return Scanned(dataset=dataset, pixels=PixelElement(start=size - (length or 0), length=length))


def verify_instance(content: bytes) -> Verified:
    """Decodes every frame of one file, whatever its modality, and keeps the hashes only."""
    sha256 = hashlib.sha256(content).hexdigest()
    with counted_warnings():
        try:
            dataset = read_header(content)
            if not has_pixels(dataset):
                raise _why_no_pixels(dataset)
            digest = digest_pixels(dataset)
        except IngestError as error:
            error.__cause__ = None
            return Verified(sha256=sha256, error=error)
    return Verified(sha256=sha256, pixel_sha256=digest.sha256, decoder=digest.decoder)


def _why_no_pixels(dataset: Dataset) -> IngestError:
    if any(keyword in dataset for keyword in _IMAGE_KEYWORDS):
        return Truncated("The header describes an image, but the file ends before its pixels; send it again.")
    sop_class = text(dataset, "SOPClassUID")
    kind = uids.UID(sop_class).name if sop_class else "an object of unknown class"
    modality = text(dataset, "Modality").upper()
    if modality in _DERIVED_MODALITIES - {"SR", "RTPLAN"}:
        return DerivedObject(f"{kind} refers to images and is none; the images it refers to are used.")
    return NoPixels(f"The file holds no pixels ({kind}); it is known and indexed, and nothing in it is compared.")


def _header(dataset: Dataset, count_warnings: Callable[[], int]) -> dict[str, Any]:
    """What makes the file an acquisition, or part of one.

    Raises:
        IngestError: It is neither.
    """
    modality = _modality(dataset)
    sop_class = text(dataset, "SOPClassUID")
    if sop_class in _DERIVED_CLASSES or modality in _DERIVED_MODALITIES:
        raise DerivedObject(
            f"{uids.UID(sop_class).name} is made from other images; the originals are used where they are present."
        )
    header: dict[str, Any] = {"modality": modality}
    if modality not in RADIOGRAPH_MODALITIES:
        header["series"] = series_header(dataset)
    elif text(dataset, "NumberOfFrames") not in ("", "1") or not is_understood(dataset):
        raise UnsupportedImage()
    else:
        header["single"] = _single(dataset, modality, count_warnings)
    if not text(dataset, "SOPInstanceUID"):
        raise BadHeader("The image has no SOP Instance UID, so nothing can refer to it; complete it at the source.")
    if not text(dataset, "PatientID"):
        raise NoIdentity()
    return header


def _single(dataset: Dataset, modality: str, count_warnings: Callable[[], int]) -> dict[str, Any]:
    """A radiograph as an acquisition of its own, without what its record holds in other places."""
    height, width = (int(text(dataset, keyword)) for keyword in ("Rows", "Columns"))
    when = exposure_time(dataset)
    projection = read_projection(dataset)
    grid, spacing = radiograph_grid(dataset, height=height, width=width)
    found = {
        "transfer_syntax": transfer_syntax(dataset),
        "modality": modality,
        "photometric": text(dataset, "PhotometricInterpretation"),
        "spacing": spacing,
        "time_precision": "" if when.time is None else "second" if when.has_clock else "day",
        "longitudinal": when.longitudinal,
        "body_part": projection.body_part,
        "body_part_source": projection.body_part_source,
        "view_source": projection.view_source,
        "view_stated": projection.view_stated,
        "laterality": projection.laterality,
        "image_type": "\\".join(texts(dataset, "ImageType")[:2]),
        "presentation_intent": text(dataset, "PresentationIntentType"),
        "lossy": text(dataset, "LossyImageCompression"),
        "burned_in": text(dataset, "BurnedInAnnotation"),
        "warnings": " ".join((*projection.warnings, *_doubts(dataset))),
        **consistency_keys(dataset),
    }
    n_warnings = count_warnings()
    found["header_warnings"] = str(n_warnings) if n_warnings else ""
    return {
        "time": when.time.isoformat() if when.time else None,
        "time_source": when.source,
        "grid": grid_values(grid),
        "group": projection.group,
        "view": projection.view,
        "attributes": {key: recorded for key, recorded in found.items() if recorded},
    }


def _modality(dataset: Dataset) -> str:
    modality = text(dataset, "Modality").upper()
    if modality:
        return modality
    by_class = {
        uids.ComputedRadiographyImageStorage: "CR",
        uids.DigitalXRayImageStorageForPresentation: "DX",
        uids.DigitalXRayImageStorageForProcessing: "DX",
    }
    return by_class.get(uids.UID(text(dataset, "SOPClassUID")), "")


def _doubts(dataset: Dataset) -> list[str]:
    """Sentences about the picture that a reader must see."""
    doubts = []
    if text(dataset, "PresentationIntentType") == "FOR PROCESSING":
        doubts.append("The image is meant for processing, not for display: its contrast differs from a presented one.")
    if text(dataset, "PhotometricInterpretation") and is_coloured(dataset):
        doubts.append("The image is stored in colour: only its brightness is compared.")
    flip = text(dataset, "FieldOfViewHorizontalFlip") == "YES"
    rotation = value(dataset, "FieldOfViewRotation")
    if flip or (rotation is not None and text(dataset, "FieldOfViewRotation") not in ("0", "0.0")):
        doubts.append("The detector's field of view was turned or flipped: left and right may be exchanged.")
    if turn_upright(dataset):
        doubts.append("By the header the image is mirrored or lies on its side; it is shown turned upright.")
    return doubts
