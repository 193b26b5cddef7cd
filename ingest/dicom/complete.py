"""Are a file's pixels all there, as far as that can be told without reading them?"""

import struct
from functools import cache
from typing import IO

import pydicom.uid as syntaxes
from pydicom.dataset import Dataset

from ingest.dicom.errors import BadHeader, Truncated, Undecodable
from ingest.dicom.header import numbers, text, transfer_syntax
from ingest.dicom.scan import PixelElement

#: Tags in a sequence of fragments.  Source: DICOM PS3.5, A.4.
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
_fragment = struct.Struct("<HHI")


def check_described(dataset: Dataset) -> None:
    """Refuses a header that says too little about its pixels for any decoder.

    Raises:
        Undecodable: Size, depth or number of frames are missing or garbled.
    """
    missing = [keyword for keyword in ("Rows", "Columns", "BitsAllocated") if not text(dataset, keyword)]
    if missing:
        raise Undecodable(f"The file has pixel data but no {missing[0]}; complete the header at the source.")
    try:
        frames = text(dataset, "NumberOfFrames") or "1"
    except BadHeader:
        frames = ""
    if not frames.isdigit():
        raise Undecodable("The file's NumberOfFrames is no whole number; correct the header at the source.")


def check_complete(dataset: Dataset, pixels: PixelElement, file: IO[bytes] | None, size: int) -> None:
    """Refuses pixel data that cannot be whole: shorter than the header says, or cut off by the end of the file.

    That the pixels can be decoded is another question, and the decoder's to answer.

    Args:
        dataset: The header.
        pixels: Where the pixel data is.
        file: The file, for following compressed fragments from one to the next; None if that is too dear.
        size: Bytes of the file.

    Raises:
        Undecodable: The header says too little about its pixels.
        Truncated: Bytes are missing.
    """
    check_described(dataset)
    syntax = transfer_syntax(dataset)
    if not syntax:
        raise Undecodable("The file does not say how its pixels are coded (no transfer syntax); export it again.")
    if pixels.length is None:
        if file is not None:
            _follow(file, pixels.start, size)
        return
    there = min(pixels.length, size - pixels.start)
    expected = max(pixels.length, _expected(dataset)) if _is_native(syntax) else pixels.length
    if there < expected:
        raise Truncated(f"The file holds {there} of {expected} bytes of pixels; send it again from its source.")


@cache
def _is_native(syntax: str) -> bool:
    uid = syntaxes.UID(syntax)
    return uid.is_transfer_syntax and not uid.is_encapsulated


def _expected(dataset: Dataset) -> int:
    """Bytes of uncompressed pixels. Source: DICOM PS3.5, 8.1.1 and 8.2; PS3.3, C.7.6.3.1.2."""

    def number(keyword: str, default: int) -> int:
        found = numbers(dataset, keyword)
        return int(found[0]) if found else default

    values = number("Rows", 0) * number("Columns", 0) * number("SamplesPerPixel", 1) * number("NumberOfFrames", 1)
    if text(dataset, "PhotometricInterpretation") == "YBR_FULL_422":
        values = values // 3 * 2
    return (values * number("BitsAllocated", 8) + 7) // 8


def _follow(file: IO[bytes], at: int, size: int) -> None:
    """Steps over the fragments. A missing delimiter after the last whole one is left for the decoder to judge."""
    while at < size:
        file.seek(at)
        head = file.read(_fragment.size)
        if len(head) < _fragment.size:
            break
        group, element, length = _fragment.unpack(head)
        tag = group << 16 | element
        if tag == _SEQUENCE_END:
            return
        if tag != _ITEM:
            raise Undecodable("The compressed pixels are not divided as they should be; send the file again.")
        at += _fragment.size + length
    if at != size:
        raise Truncated("The file ends within its compressed pixels; send it again from its source.")
