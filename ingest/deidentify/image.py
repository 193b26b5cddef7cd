"""How does one DICOM file become a file without identity?"""

import io
from dataclasses import dataclass
from importlib.metadata import version

import pydicom.uid as uids
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import UID

from ingest.deidentify.actions import EDITION, is_registered
from ingest.deidentify.elements import Cleaner
from ingest.deidentify.errors import (
    PARSER_FAULTS,
    IdentityLeft,
    NotAnImage,
    PixelsKept,
    PixelText,
    UnknownClass,
)
from ingest.deidentify.mask import Masks, can_mask, mask_text
from ingest.deidentify.options import Options, PixelStep
from ingest.deidentify.picture_risk import has_hidden_overlay, why_text
from ingest.deidentify.secret import Person, Secret
from ingest.deidentify.traces import Traces
from ingest.dicom.decode import has_pixels, is_native
from ingest.dicom.errors import BadHeader, Truncated
from ingest.dicom.header import counted_warnings, read_header, text, transfer_syntax

#: Names of this program in the file meta information; the UID was made from a UUID once.
_IMPLEMENTATION_UID = UID("2.25.94618758151865984978974193634927072274")
_IMPLEMENTATION_NAME = "INTERVAL"
#: What was done, by the standard's codes.  Source: DICOM PS3.16, context group 7050.
_CODES = {
    "113100": "Basic Application Confidentiality Profile",
    "113101": "Clean Pixel Data Option",
    "113105": "Clean Descriptors Option",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
    "113108": "Retain Patient Characteristics Option",
}


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """One de-identified file.

    Attributes:
        content: Its bytes.
        subject: Pseudonymous PatientID; empty if the patient is unknown.
        study: New StudyInstanceUID, empty if there was none.
        series: New SeriesInstanceUID, empty if there was none.
        uid: New SOP Instance UID.
        masks: What was painted over; None if the pixels were left as they are.
    """

    content: bytes
    subject: str
    study: str
    series: str
    uid: str
    masks: Masks | None


def deidentify_image(content: bytes, *, secret: Secret, options: Options) -> Cleaned:
    """The file with everything replaced or removed that could tell whose image it is.

    Pixels keep their bytes and their coding unless text in them is masked. The same bytes, key and options always give
    the same bytes.

    Raises:
        NotDicom, Truncated, BadHeader: The file cannot be read.
        NotAnImage, UnknownClass: Objects of its kind are not de-identified.
        PixelText, PixelsKept, IdentityLeft: The picture may show, or its code may hold, an identity.

    Source: DICOM PS3.15 2026c, Annex E.
    """
    with counted_warnings():
        dataset = read_header(content)
        _refuse_other_objects(dataset)
        person = _person(dataset, secret)
        syntax = _syntax(dataset)
        traces = Traces(dataset)
        masks = _mask(dataset, options, traces)
        if masks is not None:
            syntax = UID(transfer_syntax(dataset)) or syntax
        longitudinal = text(dataset, "LongitudinalTemporalInformationModified").upper()
        Cleaner(person=person, traces=traces, characteristics=options.characteristics).clean(dataset)
        _record(dataset, options, masks=masks, longitudinal=longitudinal)
        written = _write(dataset, syntax)
    return Cleaned(
        content=written,
        subject=text(dataset, "PatientID"),
        study=text(dataset, "StudyInstanceUID"),
        series=text(dataset, "SeriesInstanceUID"),
        uid=text(dataset, "SOPInstanceUID"),
        masks=masks,
    )


def _refuse_other_objects(dataset: Dataset) -> None:
    sop_class = text(dataset, "SOPClassUID")
    if not sop_class or not text(dataset, "SOPInstanceUID"):
        raise BadHeader(
            "The file does not say which object it is (no SOP class or instance); complete it at the source."
        )
    if not is_registered(sop_class):
        raise UnknownClass()
    if not has_pixels(dataset):
        if "Rows" in dataset or "Image Storage" in UID(sop_class).name:
            raise Truncated("The header describes an image, but the file ends before its pixels; send it again.")
        raise NotAnImage(f"{UID(sop_class).name}: {NotAnImage.__doc__}")
    if has_hidden_overlay(dataset):
        raise PixelsKept("Unused bits of the pixels carry a drawing, which may be text; export the image without it.")
    if "PixelData" in dataset and is_native(dataset):
        try:
            is_short = len(dataset.PixelData) < get_expected_length(dataset)
        except PARSER_FAULTS as error:
            raise BadHeader("The header does not say how long the pixel data is; complete it at the source.") from error
        if is_short:
            raise Truncated()


def _person(dataset: Dataset, secret: Secret) -> Person:
    """Whose image it is; images without PatientID are kept together by study and linked to nobody else's."""
    patient = text(dataset, "PatientID")
    if patient:
        return secret.person(patient, text(dataset, "IssuerOfPatientID"))
    return secret.person("", text(dataset, "StudyInstanceUID") or text(dataset, "SOPInstanceUID"))


def _syntax(dataset: Dataset) -> UID:
    """How the result is coded: like the file, which need not say so."""
    syntax = UID(transfer_syntax(dataset))
    if not syntax:
        is_implicit, is_little = dataset.original_encoding
        if is_implicit:
            return uids.ImplicitVRLittleEndian
        return uids.ExplicitVRLittleEndian if is_little else uids.ExplicitVRBigEndian
    if not is_registered(syntax):
        raise UnknownClass("The pixels are coded in a way that is private or unknown; export the image uncompressed.")
    return syntax


def _mask(dataset: Dataset, options: Options, traces: Traces) -> Masks | None:
    """Masks text where the options ask for it; None if the pixels were not looked at."""
    reason = why_text(dataset)
    if reason and options.pixels is PixelStep.REFUSE:
        raise PixelText(
            f"{reason}; run again with `--pixels risky`, which finds and masks it, and look at the results."
        )
    in_code = "PixelData" in dataset and traces.are_in_pixels(dataset.PixelData)
    if reason or (options.pixels is PixelStep.ALL and can_mask(dataset)):
        return mask_text(dataset, recode=in_code)
    if in_code:
        raise IdentityLeft()
    return None


def _record(dataset: Dataset, options: Options, *, masks: Masks | None, longitudinal: str) -> None:
    """Says in the elements that the standard names what was done, and claims nothing else."""
    codes = ["113100", "113105", "113107"]
    methods = [
        f"Interval {version('interval-change')}: PS3.15 {EDITION} Basic Profile",
        "Dates moved by whole days, one shift for each patient",
        "Free text reduced to words of a vocabulary",
    ]
    if options.characteristics:
        codes.append("113108")
    if masks is not None:
        codes.insert(1, "113101")
        methods.append(f"Text in pixels: {len(masks.areas)} areas found and masked")
        if masks.outside_regions:
            methods.append("Pixels outside of the ultrasound regions masked")
        dataset.BurnedInAnnotation = "NO"
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = methods
    dataset.DeidentificationMethodCodeSequence = [_code(value) for value in codes]
    # What an earlier de-identification removed does not come back.
    dataset.LongitudinalTemporalInformationModified = "REMOVED" if longitudinal == "REMOVED" else "MODIFIED"


def _code(value: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = "DCM"
    item.CodeMeaning = _CODES[value]
    return item


def _write(dataset: Dataset, syntax: UID) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = _IMPLEMENTATION_UID
    meta.ImplementationVersionName = _IMPLEMENTATION_NAME
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128
    target = io.BytesIO()
    try:
        dcmwrite(target, dataset, enforce_file_format=True)
    except PARSER_FAULTS as error:
        raise BadHeader("An element of the header cannot be written again; correct it at the source.") from error
    return target.getvalue()
