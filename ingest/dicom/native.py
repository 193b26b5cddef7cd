"""What are the values of frames that are stored without compression?"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pydicom.uid as syntaxes
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ingest.dicom.header import numbers

#: Byte order of the syntaxes whose grey frames need no decoder. Eight bits in big endian may come in swapped pairs, and
#: are left to pydicom.
_LITTLE = frozenset(
    {syntaxes.ImplicitVRLittleEndian, syntaxes.ExplicitVRLittleEndian, syntaxes.DeflatedExplicitVRLittleEndian}
)
_BIG = frozenset({syntaxes.ExplicitVRBigEndian})
#: Syntaxes that are read here, by BitsAllocated.
_SYNTAXES = {8.0: _LITTLE, 16.0: _LITTLE | _BIG, 32.0: _LITTLE | _BIG}


def is_plain(dataset: Dataset, syntax: str) -> bool:
    """True if `plain_frames` can read the pixels: grey, whole numbers of 8, 16 or 32 bits."""
    grey = numbers(dataset, "SamplesPerPixel") == (1.0,) and "PixelData" in dataset
    return grey and syntax in _SYNTAXES.get((numbers(dataset, "BitsAllocated") or (0.0,))[0], ())


def plain_frames(dataset: Dataset, syntax: str, *, count: int) -> Iterator[NDArray[Any]]:
    """Frames, (H, W) each, little endian; views of the file's bytes where all bits are in use.

    pydicom copies each, and takes longer to get ready than to do so.

    Args:
        dataset: One for which `is_plain`, with as many bytes of pixels as its header says.
        syntax: Its transfer syntax.
        count: Frames.

    Source: DICOM PS3.5, 8.1.1 (bits outside BitsStored mean nothing) and 8.2.
    """
    rows, columns, bits = int(dataset.Rows), int(dataset.Columns), int(dataset.BitsAllocated)
    kind = "i" if numbers(dataset, "PixelRepresentation") == (1.0,) else "u"
    dtype = np.dtype(f"{'>' if syntax in _BIG else '<'}{kind}{bits // 8}")
    unused = 0 if not has_usual_high_bit(dataset) else bits - int((numbers(dataset, "BitsStored") or (bits,))[0])
    for at in range(count):
        start = at * rows * columns * dtype.itemsize
        stored: NDArray[Any] = np.frombuffer(dataset.PixelData, dtype, count=rows * columns, offset=start)
        frame = stored.astype(dtype.newbyteorder("<"), copy=False).reshape(rows, columns)
        if unused > 0:
            frame = np.left_shift(frame, unused)
            np.right_shift(frame, unused, out=frame)
        yield frame


def has_usual_high_bit(dataset: Dataset) -> bool:
    """False for old files whose values do not begin at the lowest bit. Source: DICOM PS3.5, 8.1.1."""
    bits, high = numbers(dataset, "BitsStored"), numbers(dataset, "HighBit")
    return not bits or not high or high[0] == bits[0] - 1
