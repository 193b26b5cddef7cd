"""What does the index learn from one DICOM file?"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pydicom.uid as uids
from pydicom.dataset import Dataset

from ingest.acquisition import Acquisition
from ingest.dicom.decode import Digest, digest_pixels, has_pixels, transfer_syntax
from ingest.dicom.errors import (
    BadHeader,
    DerivedObject,
    NoPixels,
    Truncated,
    UnsupportedImage,
    UnsupportedModality,
)
from ingest.dicom.exposure_time import exposure_time
from ingest.dicom.header import counted_warnings, read_header, text, texts, value
from ingest.dicom.identity import consistency_keys, subject_key
from ingest.dicom.orientation import turn_upright
from ingest.dicom.projection import RADIOGRAPH_MODALITIES, read_projection
from ingest.dicom.spacing import radiograph_grid
from ingest.errors import IngestError

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


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One DICOM file: an acquisition or the error that refuses it, and what is needed to notice doubles.

    Attributes:
        acquisition: None if refused.
        error: None if accepted.
        uid: SOP Instance UID, empty if unknown.
        sha256: Hash of the file's bytes.
        pixel_sha256: Hash of the stored values; empty if they were not decoded.
        subject: Key of the patient; empty if unknown.
    """

    acquisition: Acquisition | None
    error: IngestError | None
    uid: str = ""
    sha256: str = ""
    pixel_sha256: str = ""
    subject: str = ""


def is_dicomdir(head: bytes) -> bool:
    """True if the first bytes of a file are those of a file set's directory."""
    return DICOMDIR.encode("ascii") in head


def read_instance(path: Path, name: str) -> Instance:
    """Reads one file to the end of its pixels.

    Every image is decoded, whatever its modality, so that what cannot be decoded is known before anything is paired.
    Nothing is kept in memory but the result.

    Args:
        path: The file.
        name: Its path relative to the archive root, for the record.

    Raises:
        OSError: The file cannot be read from disk.
    """
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    uid = subject = pixel_sha256 = ""
    with counted_warnings() as warned:
        try:
            dataset = read_header(content)
            del content
            uid = text(dataset, "SOPInstanceUID")
            if not has_pixels(dataset):
                raise _why_no_pixels(dataset)
            digest = digest_pixels(dataset)
            pixel_sha256 = digest.sha256
            _refuse_other_images(dataset, digest)
            subject = subject_key(dataset)
            acquisition = _acquisition(dataset, digest, path=path, name=name, sha256=sha256, n_warnings=len(warned))
        except IngestError as error:
            # Raised again in another process, an error would lose its cause; only its sentence is needed.
            error.__cause__ = None
            return Instance(
                acquisition=None,
                error=error,
                uid=uid,
                sha256=sha256,
                pixel_sha256=pixel_sha256,
                subject=subject,
            )
    return Instance(
        acquisition=acquisition, error=None, uid=uid, sha256=sha256, pixel_sha256=pixel_sha256, subject=subject
    )


def _why_no_pixels(dataset: Dataset) -> IngestError:
    if any(keyword in dataset for keyword in _IMAGE_KEYWORDS):
        return Truncated("The header describes an image, but the file ends before its pixels; send it again.")
    sop_class = text(dataset, "SOPClassUID")
    kind = uids.UID(sop_class).name if sop_class else "an object of unknown class"
    modality = text(dataset, "Modality").upper()
    if modality in _DERIVED_MODALITIES - {"SR", "RTPLAN"}:
        return DerivedObject(f"{kind} refers to images and is none; the images it refers to are used.")
    return NoPixels(f"The file holds no pixels ({kind}); it is known and indexed, and nothing in it is compared.")


def _refuse_other_images(dataset: Dataset, digest: Digest) -> None:
    """Refuses decodable images that are no single grey radiograph."""
    modality = _modality(dataset)
    sop_class = text(dataset, "SOPClassUID")
    if sop_class in _DERIVED_CLASSES or modality in _DERIVED_MODALITIES:
        raise DerivedObject(
            f"{uids.UID(sop_class).name} is made from other images; the originals are used where they are present."
        )
    if modality not in RADIOGRAPH_MODALITIES:
        raise UnsupportedModality(
            f"The pixels of this {modality or 'unnamed'} image are readable, but only radiographs (CR, DX, RF, XR) "
            "are compared yet; leave it in place for a later version."
        )
    if len(digest.shape) != 2 or digest.n_frames != 1:
        raise UnsupportedImage()


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


def _acquisition(
    dataset: Dataset, digest: Digest, *, path: Path, name: str, sha256: str, n_warnings: int
) -> Acquisition:
    uid = text(dataset, "SOPInstanceUID")
    if not uid:
        raise BadHeader("The image has no SOP Instance UID, so nothing can refer to it; complete it at the source.")
    height, width = digest.shape
    when = exposure_time(dataset)
    projection = read_projection(dataset)
    grid, spacing = radiograph_grid(dataset, height=height, width=width)
    found = {
        "decoder": digest.decoder,
        "transfer_syntax": transfer_syntax(dataset),
        "modality": _modality(dataset),
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
        "header_warnings": str(n_warnings) if n_warnings else "",
        "warnings": " ".join((*projection.warnings, *_doubts(dataset))),
        **consistency_keys(dataset),
    }
    return Acquisition(
        id=uid,
        domain="radiology",
        subject=subject_key(dataset),
        time=when.time,
        time_source=when.source,
        path=path,
        name=name,
        sha256=sha256,
        pixel_sha256=digest.sha256,
        grid=grid,
        group=projection.group,
        view=projection.view,
        study=text(dataset, "StudyInstanceUID"),
        attributes={key: recorded for key, recorded in found.items() if recorded},
    )


def _doubts(dataset: Dataset) -> list[str]:
    """Sentences about the picture that a reader must see."""
    doubts = []
    if text(dataset, "PresentationIntentType") == "FOR PROCESSING":
        doubts.append("The image is meant for processing, not for display: its contrast differs from a presented one.")
    flip = text(dataset, "FieldOfViewHorizontalFlip") == "YES"
    rotation = value(dataset, "FieldOfViewRotation")
    if flip or (rotation is not None and text(dataset, "FieldOfViewRotation") not in ("0", "0.0")):
        doubts.append("The detector's field of view was turned or flipped: left and right may be exchanged.")
    if turn_upright(dataset):
        doubts.append("By the header the image is mirrored or lies on its side; it is shown turned upright.")
    return doubts
