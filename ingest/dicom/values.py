"""What quantity does each stored value of a DICOM image stand for?"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ingest.dicom.decode import is_native
from ingest.dicom.errors import Undecodable
from ingest.dicom.header import items, numbers
from ingest.dicom.lookup import apply_table


def stored_bits(dataset: Dataset, stored: NDArray[Any], steps: list[str]) -> NDArray[Any]:
    """Values without what lies beside BitsStored, such as old overlays; a compressed stream has its own depth.

    Args:
        dataset: The header that holds for the frame.
        stored: Decoded values.
        steps: Gets a sentence if something was cut off.

    Source: DICOM PS3.5, 8.1.1 (HighBit is BitsStored - 1 in all but old files).
    """
    bits = numbers(dataset, "BitsStored")
    allocated = stored.dtype.itemsize * 8
    if not bits or not is_native(dataset) or stored.dtype.kind not in "iu" or not 1 <= bits[0] < allocated:
        return stored
    kept = int(bits[0])
    high = int((numbers(dataset, "HighBit") or (kept - 1,))[0])
    above = allocated - 1 - high if kept - 1 <= high < allocated else allocated - kept
    steps.append(f"keep {kept} of {allocated} bits")
    # Shifting up and down again repeats the sign bit of signed values and clears the upper bits of unsigned ones.
    cut: NDArray[Any] = np.right_shift(np.left_shift(stored, above), allocated - kept)
    return cut


def not_padding(dataset: Dataset, stored: NDArray[Any], steps: list[str]) -> NDArray[np.bool_]:
    """False where the value is padding; same shape as `stored`.

    Raises:
        Undecodable: All of it is padding.

    Source: DICOM PS3.3 C.7.5.1.1.2 (the limit makes it a range).
    """
    padding = numbers(dataset, "PixelPaddingValue")
    if not padding:
        return np.ones(stored.shape, dtype=np.bool_)
    low, high = sorted((padding[0], (numbers(dataset, "PixelPaddingRangeLimit") or padding)[0]))
    valid: NDArray[np.bool_] = (stored < low) | (stored > high)
    if not valid.any():
        raise Undecodable("Every pixel of the image is padding; send it again from its source.")
    if not valid.all():
        steps.append(f"padding {low:g} to {high:g} left out")
    return valid


def modality_values(
    dataset: Dataset, stored: NDArray[Any], steps: list[str], *, little_endian: bool = True
) -> NDArray[np.float64]:
    """Values after the modality table or rescale: Hounsfield units in CT, the manufacturer's elsewhere.

    Args:
        dataset: The header that holds for the frame.
        stored: Values cut to the stored bits.
        steps: Gets a sentence for what was done.
        little_endian: Byte order of the file, for tables stored as raw words.

    Raises:
        BadHeader: The table is incomplete.

    Source: DICOM PS3.3 C.11.1 (a table goes before a slope; the slope may be negative).
    """
    tables = items(dataset, "ModalityLUTSequence")
    if tables:
        values, bits = apply_table(tables[0], stored, little_endian=little_endian)
        steps.append(f"modality table of {bits} bits")
        return values
    values = stored.astype(np.float64)
    slope, intercept = numbers(dataset, "RescaleSlope"), numbers(dataset, "RescaleIntercept")
    if slope and intercept and slope[0] != 0 and np.isfinite((slope[0], intercept[0])).all():
        steps.append(f"rescale slope {slope[0]:g} intercept {intercept[0]:g}")
        values = values * slope[0] + intercept[0]
    return values
