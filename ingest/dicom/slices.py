"""What does the header say about each plane of a CT or MR file: where it lies, and what sets it apart from others?"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset

from ingest.dicom.errors import BadHeader, DerivedObject, Localizer, NoGeometry
from ingest.dicom.header import items, numbers, text, texts

#: Modalities whose images are slices of a volume.
VOLUME_MODALITIES = frozenset({"CT", "MR"})

#: Words of a series' description that mean a scan for planning others.
_LOCALIZER_WORDS = frozenset(
    {"LOCALIZER", "LOCALISER", "LOC", "SCOUT", "PILOT", "SURVEY", "SURVIEW", "TOPOGRAM", "TOPO", "SCANOGRAM"}
)
#: Values of ImageType of pictures that project or render a volume.
_RENDERED = frozenset({"PROJECTION IMAGE", "MIP", "MINIP", "MAX_IP", "MIN_IP", "MNIP", "VRT", "SSD", "VOLUME_RENDER"})
#: How far two direction cosines of a plane may be from unit length and right angle.
_COSINE_TOLERANCE = 1e-2
#: What makes values of one series mean different things; each value is a stack of its own.
#: Source: DICOM PS3.3 C.8.3.1 (MR), C.8.2.1 (CT), C.8.13.5 and C.8.15.3 (their multi-frame forms).
_CONTRAST = (
    ("ComplexImageComponent",),
    ("EffectiveEchoTime", "EchoTime", "EchoNumbers"),
    ("InversionTimes", "InversionTime"),
    ("DiffusionBValue",),
    ("DiffusionDirectionality",),
    ("TemporalPositionIndex", "TemporalPositionIdentifier"),
    ("ConvolutionKernel",),
    ("RescaleType",),
)
#: What tells apart slices of one place that mean the same: tried in this order, and only where places repeat.
_RUNS = (
    ("DiffusionGradientOrientation",),
    ("NominalCardiacTriggerDelayTime", "TriggerTime"),
    ("FrameAcquisitionNumber", "AcquisitionNumber"),
)


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One plane of a volume, without its pixels.

    Attributes:
        uid: SOP Instance UID of its file.
        frame: Index of the frame in the file, from 0; 0 in a file of one frame.
        number: InstanceNumber, or the index of the frame; 0 if unknown.
        rows: Pixels down.
        columns: Pixels across.
        position: Centre of the first pixel in mm, patient coordinates (x to the left, y to the back, z to the head).
        orientation: Direction cosines of a row (from left to right in the picture), then of a column (downwards).
        spacing: Distance of rows, then of columns, in mm.
        frame_of_reference: FrameOfReferenceUID, or "" if the file has none.
        stated_step: SpacingBetweenSlices in mm; 0 if absent.
        tilt: GantryDetectorTilt in degrees; 0 if absent.
        contrast: What makes its values mean what they mean (echo, b-value, kernel, ...), one text for each kind.
        runs: What tells repeats of one place apart (gradient, trigger, acquisition), one text for each kind.
    """

    uid: str
    frame: int
    number: int
    rows: int
    columns: int
    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float, float, float]
    spacing: tuple[float, float]
    frame_of_reference: str = ""
    stated_step: float = 0.0
    tilt: float = 0.0
    contrast: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()


def read_slices(dataset: Dataset) -> tuple[Slice, ...]:
    """Slices of one file: one for each frame, in the order of the frames.

    Raises:
        Localizer: The image was taken to plan others.
        DerivedObject: The image projects or renders a volume, or is a map in colour.
        NoGeometry: A frame has no position, orientation or spacing, or one that cannot be.
        BadHeader: An element cannot be read.

    Source: DICOM PS3.3 C.7.6.2 (one frame), C.7.6.16.2 (functional groups of several).
    """
    _refuse_other_pictures(dataset)
    described = len(items(dataset, "PerFrameFunctionalGroupsSequence"))
    if described and numbers(dataset, "NumberOfFrames") != (described,):
        raise BadHeader(f"The file describes {described} frames and says that it has another number; export it again.")
    return tuple(_slice(dataset, header, frame) for frame, header in enumerate(frame_headers(dataset)))


def frame_headers(dataset: Dataset) -> Iterator[Dataset]:
    """For each frame the elements that hold for it, as if it were alone in its file; pixels are left out.

    What a frame says of itself goes before what all frames share, and that before the file's own elements.
    """
    per_frame = items(dataset, "PerFrameFunctionalGroupsSequence")
    if not per_frame:
        # Several frames without functional groups have no place each; the first stands for the lack.
        yield dataset
        return
    shared = Dataset()
    for group in items(dataset, "SharedFunctionalGroupsSequence")[:1]:
        shared.update(_flat(group))
    left_out = {"PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence", "PixelData"}
    own = Dataset()
    own.update({element.tag: element for element in dataset if element.keyword not in left_out})
    for frame in per_frame:
        header = Dataset()
        if hasattr(dataset, "file_meta"):
            header.file_meta = dataset.file_meta
        header.update(own)
        header.update(shared)
        header.update(_flat(frame))
        yield header


def _flat(groups: Dataset) -> Dataset:
    """Elements of the first item of each functional group, and of what is nested one level deeper in it."""
    flat = Dataset()
    for group in groups:
        if group.VR != "SQ" or not group.value:
            continue
        for element in group.value[0]:
            if element.VR == "SQ" and element.value:
                flat.update(element.value[0])
            flat[element.tag] = element
    return flat


def _refuse_other_pictures(dataset: Dataset) -> None:
    kinds = {one.upper() for one in texts(dataset, "ImageType")[2:]}
    described = set(
        re.findall("[A-Z]+", f"{text(dataset, 'SeriesDescription')} {text(dataset, 'ProtocolName')}".upper())
    )
    if "LOCALIZER" in kinds or described & _LOCALIZER_WORDS:
        raise Localizer()
    if kinds & _RENDERED:
        raise DerivedObject("A projection or rendering of a volume; the slices it was made from are used.")
    if text(dataset, "SamplesPerPixel") not in ("", "1") or text(dataset, "PixelPresentation") == "COLOR":
        raise DerivedObject("A map in colour made from other images; the images it was made from are used.")


def _slice(dataset: Dataset, header: Dataset, frame: int) -> Slice:
    position = numbers(header, "ImagePositionPatient")
    orientation = numbers(header, "ImageOrientationPatient")
    spacing = numbers(header, "PixelSpacing")
    size = (*numbers(dataset, "Rows"), *numbers(dataset, "Columns"))
    if len(position) != 3 or len(orientation) != 6 or len(spacing) != 2 or len(size) != 2:
        raise NoGeometry()
    if min(spacing) <= 0 or not _is_plane(orientation):
        raise NoGeometry("The slice's spacing or orientation is none that a plane can have; correct the header.")
    if not text(dataset, "SOPInstanceUID"):
        raise BadHeader("The image has no SOP Instance UID, so nothing can refer to it; complete it at the source.")
    several = "PerFrameFunctionalGroupsSequence" in dataset
    number = frame + 1 if several else int((numbers(header, "InstanceNumber") or (0,))[0])
    kind = "\\".join(texts(header, "FrameType")[2:] or texts(header, "ImageType")[2:])
    return Slice(
        uid=text(dataset, "SOPInstanceUID"),
        frame=frame,
        number=number,
        rows=int(size[0]),
        columns=int(size[1]),
        position=(position[0], position[1], position[2]),
        orientation=(orientation[0], orientation[1], orientation[2], orientation[3], orientation[4], orientation[5]),
        spacing=(spacing[0], spacing[1]),
        frame_of_reference=text(header, "FrameOfReferenceUID"),
        stated_step=(numbers(header, "SpacingBetweenSlices") or (0.0,))[0],
        tilt=(numbers(header, "GantryDetectorTilt") or (0.0,))[0],
        contrast=(kind, *(_first(header, keywords) for keywords in _CONTRAST)),
        runs=tuple(_first(header, keywords) for keywords in _RUNS),
    )


def _first(header: Dataset, keywords: tuple[str, ...]) -> str:
    """The first of the elements that has a value, as text."""
    return next((found for keyword in keywords if (found := "\\".join(texts(header, keyword)))), "")


def _is_plane(orientation: tuple[float, ...]) -> bool:
    """True for two unit vectors at a right angle. Source: DICOM PS3.3 C.7.6.2.1.1."""
    row, column = orientation[:3], orientation[3:]
    lengths = (sum(one * one for one in row), sum(one * one for one in column))
    across = sum(one * other for one, other in zip(row, column, strict=True))
    return all(abs(one - 1) < 2 * _COSINE_TOLERANCE for one in lengths) and abs(across) < _COSINE_TOLERANCE
