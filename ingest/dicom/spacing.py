"""How large is a pixel of a radiograph, and where does it lie on the detector?"""

from pydicom.dataset import Dataset

from ingest.dicom.header import numbers, text
from ingest.dicom.orientation import turn_upright
from ingest.grid import Grid

#: Kinds of spacing that can be compared only with their own kind.
CALIBRATED = "calibrated"
DETECTOR = "detector"
STATED = "stated"
NONE = "none"

#: Pixel sizes in mm that a radiograph can have; zeros and metres are mistakes of the header.
_PLAUSIBLE_MM = (0.02, 5.0)


def radiograph_grid(dataset: Dataset, *, height: int, width: int) -> tuple[Grid, str]:
    """Grid of a radiograph, x to the right and y down from the image's centre, and the kind of its spacing.

    Of the picture as it is shown: turned upright where the header says how it lies, so that `height` and `width` change
    places if it lies on its side. In millimetres where the header has a plausible spacing. Without one the unit is the
    image's height, so that nothing downstream can mistake it for a length.

    Kinds: "calibrated" (PixelSpacing corrected for magnification), "detector" (measured in the detector's plane),
    "stated" (PixelSpacing without a word on what it means) and "none".

    Args:
        dataset: The header.
        height: Stored rows.
        width: Stored columns.

    Raises:
        BadHeader: A spacing element cannot be read.

    Source: DICOM PS3.3 C.7.6.3 and 10.7.1.3 (PixelSpacing is row distance, then column distance).
    """
    spacing, kind = _spacing(dataset)
    if spacing is None:
        aspect = numbers(dataset, "PixelAspectRatio")
        ratio = aspect[0] / aspect[1] if len(aspect) == 2 and min(aspect) > 0 else 1.0
        spacing = (1.0 / height, 1.0 / height / ratio)
    row, column = spacing
    if turn_upright(dataset).transposed:
        row, column, height, width = column, row, width, height
    grid = Grid(
        affine=(column, 0.0, -column * width / 2, 0.0, row, -row * height / 2),
        height=height,
        width=width,
        frame=f"detector:{text(dataset, 'SOPInstanceUID')}",
    )
    return grid, kind


def _spacing(dataset: Dataset) -> tuple[tuple[float, float] | None, str]:
    stated = _plausible(numbers(dataset, "PixelSpacing"))
    imager = _plausible(numbers(dataset, "ImagerPixelSpacing"))
    if stated and imager:
        return (stated, DETECTOR if stated == imager else CALIBRATED)
    if imager:
        return imager, DETECTOR
    if stated:
        return stated, CALIBRATED if text(dataset, "PixelSpacingCalibrationType") else STATED
    return None, NONE


def _plausible(spacing: tuple[float, ...]) -> tuple[float, float] | None:
    low, high = _PLAUSIBLE_MM
    if len(spacing) == 2 and all(low <= one <= high for one in spacing):
        return spacing[0], spacing[1]
    return None
