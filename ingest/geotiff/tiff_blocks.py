"""How far into a TIFF do its blocks reach? A cut file is told by its header, without reading a block."""

import struct
from typing import BinaryIO

import numpy as np

#: Bytes of each field type; types that are not listed hold no offsets.  Source: TIFF 6.0, section 2; BigTIFF.
_WIDTHS = {3: 2, 4: 4, 13: 4, 16: 8}
_DTYPES = {2: "u2", 4: "u4", 8: "u8"}
#: Tags of strips and tiles: offsets and byte counts.  Source: TIFF 6.0, sections 8 and 15.
_OFFSETS, _COUNTS = (273, 324), (279, 325)
#: Directories that are followed, and blocks of one; more are nobody's honest file.
_MOST_DIRECTORIES, _MOST_BLOCKS = 64, 2**23


def reaches_beyond(file: BinaryIO, size: int) -> bool:
    """True if a block or a directory of a TIFF lies beyond `size` bytes, or a directory cannot be read.

    Sparse blocks, with offset and length zero, are no blocks. Directories after a loop are not followed.
    """
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    try:
        is_big = struct.unpack(order + "H", head[2:4])[0] == 43
        (start,) = struct.unpack(order + ("Q" if is_big else "I"), head[8:16] if is_big else head[4:8])
        seen: set[int] = set()
        while start and start not in seen and len(seen) < _MOST_DIRECTORIES:
            seen.add(start)
            ends, start = _directory(file, start, order, is_big)
            if ends > size:
                return True
    except (struct.error, OverflowError, OSError):
        return True
    return False


def _directory(file: BinaryIO, start: int, order: str, is_big: bool) -> tuple[int, int]:
    """End of the last block that a directory lists, and where the next directory starts."""
    n_format, entry, next_format = ("Q", 20, "Q") if is_big else ("H", 12, "I")
    file.seek(start)
    (n_entries,) = struct.unpack(order + n_format, file.read(struct.calcsize(n_format)))
    if n_entries > 4096:
        raise struct.error("more entries than there are tags")
    entries = file.read(entry * n_entries)
    (following,) = struct.unpack(order + next_format, file.read(struct.calcsize(next_format)))
    offsets = counts = np.zeros(0, dtype=np.uint64)
    for at in range(0, len(entries), entry):
        tag, kind = struct.unpack_from(order + "HH", entries, at)
        if tag in _OFFSETS:
            offsets = _values(file, entries[at : at + entry], order, is_big, kind)
        elif tag in _COUNTS:
            counts = _values(file, entries[at : at + entry], order, is_big, kind)
    shared = min(len(offsets), len(counts))
    if not shared:
        return 0, following
    stored = counts[:shared] > 0
    # a sum beyond 64 bits would wrap round to a small one
    ends = offsets[:shared].astype(np.float64) + counts[:shared].astype(np.float64)
    return int(ends[stored].max(initial=0.0)), following


def _values(file: BinaryIO, entry: bytes, order: str, is_big: bool, kind: int) -> np.ndarray:
    """The numbers of one entry."""
    width = _WIDTHS.get(kind, 0)
    (count,) = struct.unpack_from(order + ("Q" if is_big else "I"), entry, 4)
    if not width or count > _MOST_BLOCKS:
        raise struct.error("offsets of another type, or too many")
    inline = entry[12:20] if is_big else entry[8:12]
    content = inline[: count * width]
    if count * width > len(inline):
        file.seek(struct.unpack(order + ("Q" if is_big else "I"), inline)[0])
        content = file.read(count * width)
    if len(content) < count * width:
        raise struct.error("the numbers lie beyond the end")
    return np.frombuffer(content, dtype=order + _DTYPES[width]).astype(np.uint64)
