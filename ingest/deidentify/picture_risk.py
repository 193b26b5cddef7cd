"""May the picture show text, such as the patient's name?"""

import pydicom.uid as uids
from pydicom.dataset import Dataset

from ingest.dicom.header import text, texts

#: Objects that are copies of a screen or film, or that a machine with a screen of its own writes upon.
_CLASSES = frozenset(
    {
        uids.SecondaryCaptureImageStorage,
        uids.MultiFrameSingleBitSecondaryCaptureImageStorage,
        uids.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        uids.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        uids.MultiFrameTrueColorSecondaryCaptureImageStorage,
        uids.UltrasoundImageStorage,
        uids.UltrasoundMultiFrameImageStorage,
        uids.VLEndoscopicImageStorage,
        uids.VideoEndoscopicImageStorage,
        uids.VLPhotographicImageStorage,
        uids.VideoPhotographicImageStorage,
    }
    # Retired ultrasound classes.  Source: DICOM PS3.6, Annex A.
    | {"1.2.840.10008.5.1.4.1.1.6", "1.2.840.10008.5.1.4.1.1.3"}
)
_MODALITIES = frozenset({"US", "IVUS", "BDUS", "ES", "XC", "OT", "SC", "DOC", "HC", "FID"})
_COLOURS = ("RGB", "YBR", "PALETTE", "HSV", "ARGB", "CMYK")
#: Machines of these modalities measure in grey: colour has been painted, and text with it.
_GREY_MODALITIES = frozenset({"CR", "DX", "CT", "MR", "MG", "NM", "PT", "RF", "XA"})


def why_text(dataset: Dataset) -> str:
    """Why the picture may show text, as the first half of a sentence; empty if nothing says so.

    BurnedInAnnotation = NO is not believed: it stands in real ultrasound images that are full of text. That nothing
    says so is no proof either: a radiograph can show a name, too.

    Raises:
        BadHeader: One of the elements cannot be read.

    Source: DICOM PS3.3 C.7.6.1.1 (BurnedInAnnotation), C.8.6.1 (ConversionType).
    """
    if "PixelData" not in dataset:
        # Measured values in floating point are no picture.
        return ""
    modality = text(dataset, "Modality").upper()
    if text(dataset, "BurnedInAnnotation").upper() == "YES":
        return "The header says that text is burned into the picture"
    if text(dataset, "SOPClassUID") in _CLASSES:
        return f"Objects of this class ({uids.UID(text(dataset, 'SOPClassUID')).name}) often show text"
    if modality in _MODALITIES:
        return f"Images of the modality {modality} often show text"
    if text(dataset, "ConversionType"):
        return "The picture is a copy of a film or a screen"
    if any("SCREEN" in one.upper() for one in texts(dataset, "ImageType")):
        return "The picture is a copy of a screen"
    if modality in _GREY_MODALITIES and text(dataset, "PhotometricInterpretation").upper().startswith(_COLOURS):
        return f"A {modality} image in colour was drawn by a program"
    return ""


def has_hidden_overlay(dataset: Dataset) -> bool:
    """True if unused bits of the pixels carry a drawing, as was allowed until 2004.

    Source: DICOM PS3.3 2004, C.9.2 (Overlay Bit Position).
    """
    return any(
        (group, 0x0102) in dataset and dataset[group, 0x0102].value and (group, 0x3000) not in dataset
        for group in range(0x6000, 0x6020, 2)
    )
