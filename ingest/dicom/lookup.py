"""What does a lookup table of a DICOM header make of stored values?"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ingest.dicom.errors import BadHeader


def apply_table(item: Dataset, values: NDArray[Any], *, little_endian: bool = True) -> tuple[NDArray[np.float64], int]:
    """Output of a Modality or VOI LUT item for `values`, and its depth in bits; values outside take the end entries.

    Written here because pydicom's own functions overflow on tables of more than 256 entries of 8 bits, and know no
    12-bit modality table.

    Args:
        item: One item of ModalityLUTSequence or VOILUTSequence.
        values: Input of any shape; fractions are rounded.
        little_endian: Byte order of the file, for tables stored as raw words.

    Raises:
        BadHeader: The table is incomplete.

    Source: DICOM PS3.3 C.11.1.1 and C.11.2.1.1.
    """
    try:
        entries, first, bits = (int(one) for one in item.LUTDescriptor)
        data = item.LUTData
    except (AttributeError, TypeError, ValueError) as error:
        raise BadHeader("A lookup table of the header is incomplete; correct it at the source.") from error
    entries = entries or 2**16
    if isinstance(data, bytes):
        count = min(entries, len(data) // 2)
        table = np.array(struct.unpack_from(f"{'<' if little_endian else '>'}{count}H", data), dtype=np.float64)
    else:
        table = np.atleast_1d(np.asarray(data, dtype=np.float64))
    if not len(table) or not 1 <= bits <= 16:
        raise BadHeader("A lookup table of the header is empty; correct it at the source.")
    index = np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)
    return table[index], bits
