"""Does a deflated file inflate to more than belongs in memory?"""

import io
import zlib

from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from ingest.dicom.errors import TooLarge

#: Bytes of a deflated file after inflation.
MAX_INFLATED = 512 * 2**20
#: Bytes that one byte inflates to at most.  Source: zlib's technical notes, "Maximum Expansion Factor".
_MOST_FROM_ONE = 1032
#: Bytes that are inflated at a time while they are counted: of the file, and of what becomes of them.
_STEP_IN, _STEP_OUT = 2**16, 2**20
#: Group of the meta header, which is never deflated.  Source: DICOM PS3.10, 7.1.
_META_GROUP = 0x0002
#: Its first element, (0002,0000) UL, up to the four bytes of its value.
_META_LENGTH = b"\x02\0\0\0UL\x04\0"
_DEFLATED = DeflatedExplicitVRLittleEndian.encode("ascii")


def check_inflated(content: bytes, *, start: int) -> None:
    """Refuses a deflated file that would fill the memory; counts without keeping, and leaves other files alone.

    Args:
        content: A DICOM file.
        start: Offset of its first element.

    Raises:
        TooLarge: It inflates to more than `MAX_INFLATED` bytes.
        zlib.error: It is garbled.

    Source: DICOM PS3.5, A.5.
    """
    if len(content) * _MOST_FROM_ONE <= MAX_INFLATED:
        return
    if content.find(_DEFLATED, start, _end_of_meta(content, start)) < 0:
        return
    file = io.BytesIO(content)
    file.seek(start)
    meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=_after_meta)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    # A negative number of bits means a stream without header.
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    count = 0
    while not inflater.eof and (step := inflater.unconsumed_tail or file.read(_STEP_IN)):
        count += len(inflater.decompress(step, _STEP_OUT))
        if count > MAX_INFLATED:
            raise TooLarge(f"The file inflates to more than {MAX_INFLATED} bytes; send it uncompressed.")


def _end_of_meta(content: bytes, start: int) -> int:
    """Where the meta header ends by its own word; the end of all if it says nothing."""
    head = content[start : start + 12]
    return start + 12 + int.from_bytes(head[8:], "little") if head[:8] == _META_LENGTH else len(content)


def _after_meta(tag: BaseTag, representation: str | None, length: int) -> bool:
    return tag.group != _META_GROUP
