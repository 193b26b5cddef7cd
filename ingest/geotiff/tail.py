"""Is the end of the file there? GDAL fills the lost blocks of JPEG 2000 and PNG without raising an error."""

import struct
from pathlib import Path
from typing import BinaryIO

from ingest.geotiff.errors import TruncatedRaster
from ingest.geotiff.tiff_blocks import reaches_beyond

_END_OF_CODESTREAM = b"\xff\xd9"
_END_OF_PNG = b"IEND\xaeB`\x82"


def check_tail(path: Path, driver: str) -> None:
    """Refuses a TIFF, JPEG 2000 or PNG that ends before its picture does; other formats pass.

    Raises:
        TruncatedRaster: A block or box reaches beyond the file, or the end marker is not there.

    Source: ISO/IEC 15444-1 A.4.4 (EOC) and I.4 (boxes); PNG specification 11.2.5 (IEND).
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if driver == "JP2OpenJPEG":
            whole = _has_whole_codestream(file, size)
        elif driver == "PNG":
            file.seek(max(0, size - 4096))
            whole = _END_OF_PNG in file.read()
        elif driver == "GTiff":
            whole = not reaches_beyond(file, size)
        else:
            return
    if not whole:
        raise TruncatedRaster(f"{path.name} ends before its picture does; copy the file again from its source.")


def _has_whole_codestream(file: BinaryIO, size: int) -> bool:
    """True if every box lies inside the file and the codestream ends with its marker."""
    start = file.read(4)
    file.seek(0)
    if start == b"\xff\x4f\xff\x51":  # a bare codestream without boxes
        return _ends_with_marker(file, size)
    offset = 0
    found = False
    while offset + 8 <= size:
        file.seek(offset)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8).rjust(8, b"\0"))
        elif length == 0:
            length = size - offset
        if length < 8 or offset + length > size:
            return False
        if kind == b"jp2c":
            found = _ends_with_marker(file, offset + length)
        offset += length
    return found


def _ends_with_marker(file: BinaryIO, end: int) -> bool:
    """True if the two bytes before `end` are the end-of-codestream marker."""
    file.seek(max(0, end - 2))
    return file.read(2) == _END_OF_CODESTREAM
