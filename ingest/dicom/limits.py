"""How large may an image be before it is taken for a decompression bomb or a garbled header?"""

from pydicom.dataset import Dataset

from ingest.dicom.errors import TooLarge
from ingest.dicom.header import numbers

#: Rows or columns; the longest stitched radiographs have about 15,000 rows.
MAX_SIDE = 32_768
#: Values of one frame: three times the largest detectors. Decoding JPEG 2000 takes about 12 bytes of memory for each,
#: so that one frame stays below 2 GB.
MAX_FRAME_VALUES = 100_000_000
#: Frames of one file; the longest recordings have some thousands.
MAX_FRAMES = 65_536
#: Decoded bytes of all frames of one file.
MAX_BYTES = 4 * 2**30


def check_size(dataset: Dataset) -> None:
    """Refuses an image that is larger than any that belongs in an archive, before anything is decoded.

    Raises:
        TooLarge: One of the limits of this file is passed; the sentence says which.
        BadHeader: One of the elements cannot be read.
    """
    rows, columns = _number(dataset, "Rows"), _number(dataset, "Columns")
    frames, values = _number(dataset, "NumberOfFrames"), rows * columns * _number(dataset, "SamplesPerPixel")
    size = values * frames * _number(dataset, "BitsAllocated") / 8
    if max(rows, columns) > MAX_SIDE or values > MAX_FRAME_VALUES:
        raise TooLarge(
            f"A picture of {rows:.0f} x {columns:.0f} pixels is larger than any detector's; check the header."
        )
    if frames > MAX_FRAMES or size > MAX_BYTES:
        raise TooLarge(f"{frames:.0f} frames of {size:.3g} bytes in one file are more than are read; split the file.")


def _number(dataset: Dataset, keyword: str) -> float:
    """The element's value, at least 1; what is absent or no number is another check's business."""
    return max((numbers(dataset, keyword) or (1.0,))[0], 1.0)
