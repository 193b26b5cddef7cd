"""What does a DICOM header say, found as fast as the index needs it?

pydicom reads every header that there is, at a cost per element that is most of an index's time. This reads the two
encodings of nearly every file, little endian with explicit or implicit value representations, without a generator or a
file operation for each element, into the same kind of dataset. Whatever it does not expect it leaves to pydicom.
"""

import struct
from collections.abc import MutableSequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial

import pydicom.uid as uids
from pydicom.charset import convert_encodings
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag

#: Where the file meta information starts: after the preamble and its magic.  Source: DICOM PS3.10, 7.1.
_META = 132
#: Value representations whose length has four bytes, after two that are reserved, and those whose length has two.
#: Source: DICOM PS3.5, 7.1.2.
_LONG = {
    vr.encode("ascii"): vr for vr in ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
}
_SHORT = {
    vr.encode("ascii"): vr
    for vr in (
        *("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO"),
        *("LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US"),
    )
}
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_CHARACTER_SET = 0x00080005
_TRANSFER_SYNTAX = 0x00020010
#: Encodings that are left to pydicom.
_OTHERS = (uids.ExplicitVRBigEndian, uids.DeflatedExplicitVRLittleEndian)
#: How deep sequences may lie in each other before pydicom is asked, so that no file ends the recursion.
_DEEPEST = 16

#: Tags that are kept, many more than the standard has: a file may hold any number of others.
_MOST_TAGS = 16_384
_tags: dict[int, BaseTag] = {}
#: A raw element from its nine fields, without the call in between that names them.
_raw = partial(tuple.__new__, RawDataElement)
_head = struct.Struct("<HHI").unpack_from
_meta_head = struct.Struct("<HH2sH").unpack_from
#: The same with group and element as one number, which an element's tag is looked up by.
_implicit = struct.Struct("<II").unpack_from
_explicit = struct.Struct("<I2sH").unpack_from
_long = struct.Struct("<I").unpack_from


class Short(Exception):
    """The bytes end before the header does."""


class Unexpected(Exception):
    """Something that pydicom should look at."""


#: What pydicom makes datasets of.
Elements = dict[BaseTag, DataElement | RawDataElement]


@dataclass(frozen=True, kw_only=True)
class PixelElement:
    """Where a file's pixel data is.

    Attributes:
        start: Offset of its value in the file.
        length: Bytes of the value as stated; None if it is a sequence of fragments.
    """

    start: int
    length: int | None


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """A header and where the pixels are that follow it.

    Attributes:
        dataset: All public elements before the pixel data; its `file_meta` holds the transfer syntax only.
        pixels: None if the file holds no pixel data.
    """

    dataset: Dataset
    pixels: PixelElement | None


def scan(content: bytes, *, is_whole: bool) -> Scanned:
    """The header in the first bytes of a DICOM file with preamble.

    Args:
        content: The file's first bytes, or all of them.
        is_whole: True if nothing follows `content` in the file.

    Raises:
        Short: The header goes on after `content`.
        Unexpected: An encoding or a structure that is not read here.
    """
    if content[128:132] != b"DICM":
        raise Unexpected
    try:
        syntax, at = _meta(content)
        meta = _known_meta(syntax)
        implicit = syntax == uids.ImplicitVRLittleEndian
        elements, pixels = _elements(content, at, implicit=implicit, is_whole=is_whole)
    except (struct.error, IndexError) as error:
        raise Short from error
    except (KeyError, ValueError) as error:
        raise Unexpected from error
    dataset = Dataset(elements)
    found = elements.get(tag_object(_CHARACTER_SET))
    dataset.set_original_encoding(implicit, True, _encodings(bytes(found.value or b"")) if found else None)
    # Set past pydicom's own setter, which would check each element of it for every file.
    object.__setattr__(dataset, "file_meta", meta)
    return Scanned(dataset=dataset, pixels=pixels)


@lru_cache(_MOST_TAGS)
def tag_object(number: int) -> BaseTag:
    """The one object for a tag: to find an element by the very object that it was stored under takes no comparison."""
    return BaseTag(number)


@cache
def _known_meta(syntax: str) -> FileMetaDataset:
    """File meta information that says nothing but the transfer syntax; not to be changed.

    Raises:
        Unexpected: The syntax is unknown, or one that is not read here.
    """
    if syntax in _OTHERS or not uids.UID(syntax).is_transfer_syntax:
        raise Unexpected
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = uids.UID(syntax)
    return meta


@cache
def _encodings(character_set: bytes) -> MutableSequence[str]:
    """Python's names for the character sets of a file."""
    raw = RawDataElement(BaseTag(_CHARACTER_SET), "CS", len(character_set), character_set, 0, False, True)
    return convert_encodings(convert_raw_data_element(raw).value)


def _meta(content: bytes) -> tuple[str, int]:
    """Transfer syntax in the file meta information, and where that ends: at the first element of another group."""
    syntax = ""
    at = _META
    while True:
        group, element, vr, length = _meta_head(content, at)
        if group != 2:
            return syntax, at
        if vr in _LONG:
            length, start = _long(content, at + 8)[0], at + 12
        elif vr in _SHORT:
            start = at + 8
        else:
            raise Unexpected
        at = start + length
        if at > len(content):
            raise Short
        if group << 16 | element == _TRANSFER_SYNTAX:
            syntax = content[start:at].rstrip(b"\0 ").decode("ascii")


def _elements(content: bytes, at: int, *, implicit: bool, is_whole: bool) -> tuple[Elements, PixelElement | None]:
    """Every public element up to the pixel data."""
    found: Elements = {}
    end = len(content)
    while at + 8 <= end:
        start = at + 8
        vr: str | None = None
        if implicit:
            words, length = _implicit(content, at)
        else:
            words, code, length = _explicit(content, at)
            vr = _SHORT.get(code)
            if vr is None:
                vr = _LONG.get(code)
                if vr is None:
                    raise Unexpected
                length, start = _long(content, at + 8)[0], at + 12
        tag = _tags.get(words)
        if tag is None:
            number = _number(words)
            if number in _PIXELS:
                return found, PixelElement(start=start, length=None if length == _UNDEFINED else length)
            tag = tag_object(number)
            if len(_tags) < _MOST_TAGS:
                _tags[words] = tag
        if length == _UNDEFINED:
            if vr not in ("SQ", None):
                raise Unexpected
            stop, at = _sequence_end(content, start, implicit=implicit, depth=0)
            vr = "SQ"
        else:
            stop = at = start + length
        if at > end:
            raise Short
        # An odd group is private, which no keyword asks for.
        if not words & 1:
            found[tag] = _raw((tag, vr, stop - start, content[start:stop], start, implicit, True, True, False))
    if at == end and is_whole:
        return found, None
    raise Short


def _number(words: int) -> int:
    """The tag whose group is in the lower word, as little endian files have it, and its element in the upper.

    Raises:
        Unexpected: None that a dataset has.
    """
    number = (words & 0xFFFF) << 16 | words >> 16
    if number >= _ITEM or number < _CHARACTER_SET - 5:
        raise Unexpected
    return number


def _sequence_end(content: bytes, at: int, *, implicit: bool, depth: int) -> tuple[int, int]:
    """Where the items of a sequence of undefined length end, and where its delimiter does."""
    if depth > _DEEPEST:
        raise Unexpected
    while True:
        group, element, length = _head(content, at)
        number = group << 16 | element
        if number == _SEQUENCE_END:
            return at, at + 8
        if number != _ITEM:
            raise Unexpected
        at = _item_end(content, at + 8, implicit=implicit, depth=depth) if length == _UNDEFINED else at + 8 + length


def _item_end(content: bytes, at: int, *, implicit: bool, depth: int) -> int:
    """Where the delimiter of an item of undefined length ends."""
    while True:
        group, element, length = _head(content, at)
        if group << 16 | element == _ITEM_END:
            return at + 8
        start = at + 8
        if not implicit:
            _, code, length = _explicit(content, at)
            if code in _LONG:
                length, start = _long(content, at + 8)[0], at + 12
            elif code not in _SHORT:
                raise Unexpected
        at = (
            _sequence_end(content, start, implicit=implicit, depth=depth + 1)[1]
            if length == _UNDEFINED
            else start + length
        )
