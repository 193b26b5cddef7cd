"""Why a DICOM file, or a pair of radiographs, gives no report."""

from typing import ClassVar

from ingest.errors import IngestError


class NotDicom(IngestError):
    """The content is not DICOM; leave the file out of the archive, or send it again from its source."""

    code: ClassVar[str] = "NOT_DICOM"


class BadHeader(IngestError):
    """The DICOM header cannot be read; send the file again from its source."""

    code: ClassVar[str] = "BAD_HEADER"


class Truncated(IngestError):
    """The file ends before its pixel data does; send it again from its source."""

    code: ClassVar[str] = "TRUNCATED"


class Undecodable(IngestError):
    """No installed decoder gives this file's pixels; send it in another transfer syntax."""

    code: ClassVar[str] = "UNDECODABLE"


class TooLarge(IngestError):
    """The image is larger than any that belongs in an archive; check its header, or split the file."""

    code: ClassVar[str] = "TOO_LARGE"


class NoPixels(IngestError):
    """A DICOM object without pixels, such as a report or a plan; nothing is to be compared in it."""

    code: ClassVar[str] = "NO_PIXELS"


class DerivedObject(IngestError):
    """An object made from other images (segmentation, map, screenshot); the images it was made from are used."""

    code: ClassVar[str] = "DERIVED_OBJECT"


class UnsupportedModality(IngestError):
    """The pixels are readable, but images of this modality are not compared yet; radiographs are."""

    code: ClassVar[str] = "UNSUPPORTED_MODALITY"


class UnsupportedImage(IngestError):
    """A radiograph of several frames, or in colours of a kind that is not read; single frames are."""

    code: ClassVar[str] = "UNSUPPORTED_IMAGE"


class NoIdentity(IngestError):
    """The PatientID is empty, so that no prior can be found; complete it at the source and send the file again."""

    code: ClassVar[str] = "NO_IDENTITY"


class FileChanged(IngestError):
    """The file is not the one that was indexed; index the archive again."""

    code: ClassVar[str] = "FILE_CHANGED"


class PriorUnreadable(IngestError):
    """The prior cannot be read any more; put the file back, or index the archive again to choose another prior."""

    code: ClassVar[str] = "PRIOR_UNREADABLE"


class AlignmentFailed(IngestError):
    """Prior and current share too little to be laid onto each other; check that they show one part of the body."""

    code: ClassVar[str] = "ALIGNMENT_FAILED"


class Localizer(IngestError):
    """An image that was taken to plan others; nothing is to be compared in it, and nothing is to be done."""

    code: ClassVar[str] = "LOCALIZER"


class NoGeometry(IngestError):
    """The slice does not say where it lies (position, orientation, spacing), so it joins no volume; export it again."""

    code: ClassVar[str] = "NO_GEOMETRY"


class TooFewSlices(IngestError):
    """The series has fewer than three slices of one kind in the archive, which is no volume; add the missing files."""

    code: ClassVar[str] = "TOO_FEW_SLICES"


class SlicesMissing(IngestError):
    """Slices are missing within the series; send the whole series again from its source."""

    code: ClassVar[str] = "SLICES_MISSING"


class SlicesDuplicated(IngestError):
    """Several slices lie in one place and nothing tells them apart; send the series again, each stack on its own."""

    code: ClassVar[str] = "SLICES_DUPLICATED"


class SpacingUneven(IngestError):
    """The slices lie at uneven distances, so they are no regular volume; reconstruct the series at even distances."""

    code: ClassVar[str] = "SPACING_UNEVEN"


class GantryTilt(IngestError):
    """The slices are shifted against each other too far to be one volume; reconstruct the series without tilt."""

    code: ClassVar[str] = "GANTRY_TILT"


class MixedOrientations(IngestError):
    """The series holds slices of several orientations, too few of this one; nothing is to be done for a survey scan."""

    code: ClassVar[str] = "MIXED_ORIENTATIONS"


class NoOverlap(IngestError):
    """Prior and current show no common part of the body; compare studies of the same region."""

    code: ClassVar[str] = "NO_OVERLAP"


class MixedModalities(IngestError):
    """Prior and current are volumes of different modalities, whose values cannot be compared; pair them by modality."""

    code: ClassVar[str] = "MIXED_MODALITIES"
