"""Is this a DICOM file, and what does its header say?"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from pydicom import dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from ingest.dicom.deflated import check_inflated
from ingest.dicom.errors import BadHeader, NotDicom, Truncated
from ingest.dicom.scan import tag_object

#: Length of the preamble, and the four bytes after it.  Source: DICOM PS3.10, 7.1.
_PREAMBLE = 128
_MAGIC = b"DICM"
#: Root of the UIDs of DICOM's own storage classes.  Source: DICOM PS3.6, Annex A.
_STORAGE_ROOT = "1.2.840.10008.5.1.4"
#: Value representations whose values are text of one line that needs no interpretation.  Source: DICOM PS3.5, 6.2.
_PLAIN = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "PN", "SH", "TM", "UI"})
#: The same, and numbers written as text.
_PLAIN_OR_NUMERIC = _PLAIN | {"DS", "IS"}
#: First byte of a switch to another character set within a value.  Source: DICOM PS3.5, 6.1.2.5.
_ESCAPE = b"\x1b"
#: What pydicom raises on headers that are cut or garbled.
_HEADER_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
    RecursionError,
    BytesLengthException,
)


@contextmanager
def counted_warnings() -> Iterator[list[warnings.WarningMessage]]:
    """Collects what the parser and the decoders complain of, for counting.

    They check a value when it is first used, so the whole handling of one file belongs inside. The text of a warning is
    not for passing on: it quotes values.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def has_magic(head: bytes) -> bool:
    """True if the first bytes of a file say that it is DICOM."""
    return head[_PREAMBLE : _PREAMBLE + 4] == _MAGIC


def read_header(content: bytes) -> Dataset:
    """Every element of a DICOM file.

    A file without preamble is accepted only if it holds a storage class and a patient's elements: pydicom's forced
    reading makes a dataset of anything.

    Raises:
        NotDicom: The content is something else.
        Truncated: The header ends in the middle.
        TooLarge: The file is deflated, and more than `ingest.dicom.deflated` allows comes out of it.
        BadHeader: The header is garbled.
    """
    return _parse(content) if has_magic(content[: _PREAMBLE + 4]) else _parse_bare(content)


def _parse(content: bytes) -> Dataset:
    try:
        check_inflated(content, start=_PREAMBLE + len(_MAGIC))
        return dcmread(io.BytesIO(content))
    except (EOFError, OSError, struct.error, zlib.error) as error:
        # The content is in memory: an OSError is pydicom's word for a missing tag, not the disk's.
        raise Truncated("The file ends within its header; send it again from its source.") from error
    except InvalidDicomError as error:
        raise NotDicom() from error
    except _HEADER_ERRORS as error:
        raise BadHeader() from error


def _parse_bare(content: bytes) -> Dataset:
    try:
        check_inflated(content, start=0)
        dataset = dcmread(io.BytesIO(content), force=True)
        sop_class = str(dataset.get("SOPClassUID", ""))
        has_patient = "PatientID" in dataset or "PatientName" in dataset
    except (EOFError, OSError, struct.error, zlib.error, InvalidDicomError, *_HEADER_ERRORS) as error:
        raise NotDicom() from error
    if not sop_class.startswith(_STORAGE_ROOT) or not has_patient:
        raise NotDicom()
    return dataset


def value(dataset: Dataset, keyword: str) -> Any:
    """The element's value, or None if it is absent or empty.

    Raises:
        BadHeader: The element's bytes do not fit its type.
    """
    tag, representation = _known(keyword)
    raw = _stored(dataset, tag)
    if raw is None:
        return None
    # An index asks for dozens of elements in each file, so those that need no interpretation get no object each.
    if isinstance(raw, RawDataElement):
        content, representation = raw.value, raw.VR or representation
        # None is what was left in the file: pydicom reads it, or says why it cannot.
        if content == b"":
            return None
        # What is ASCII means the same in every character set, unless it switches to another one.
        if content and representation in _PLAIN and content.isascii() and _ESCAPE not in content:
            shown = content.rstrip(b" \0").decode("ascii")
            return shown.split("\\") if "\\" in shown else shown or None
        if content and representation == "US" and len(content) == 2:
            return int.from_bytes(content, "little" if raw.is_little_endian else "big")
    try:
        found = dataset[tag].value
    except (struct.error, UnicodeError, *_HEADER_ERRORS) as error:
        raise BadHeader(f"The header's {keyword} cannot be read; correct it at the source.") from error
    return None if found is None or found == "" else found


def _stored(dataset: Dataset, tag: BaseTag) -> DataElement | RawDataElement | None:
    # `get_item` makes a tag of the tag anew each time, which is a tenth of what the index of a file takes.
    return dataset._dict.get(tag)


@cache
def _known(keyword: str) -> tuple[BaseTag, str]:
    """Tag and value representation of a keyword of the standard."""
    number = tag_for_keyword(keyword)
    if number is None:
        raise KeyError(keyword)
    return tag_object(number), dictionary_VR(number)


def _quick(dataset: Dataset, keyword: str) -> str | None:
    """All of the element's value as text where that needs no interpretation, empty if it is absent; None elsewhere.

    The common case of `text` and `texts` without the steps of the general one: an index asks for dozens in each file.
    """
    tag, representation = _known(keyword)
    raw = _stored(dataset, tag)
    if raw is None:
        return ""
    if type(raw) is not RawDataElement:
        return None
    content = raw.value
    if not content:
        return None if content is None else ""
    representation = raw.VR or representation
    if representation in _PLAIN_OR_NUMERIC:
        return content.decode("ascii") if content.isascii() and _ESCAPE not in content else None
    if representation == "US" and len(content) == 2:
        return str(int.from_bytes(content, "little" if raw.is_little_endian else "big"))
    return None


def holds(dataset: Dataset, keyword: str) -> bool:
    """True if the element is there, whatever its value."""
    return _stored(dataset, _known(keyword)[0]) is not None


def text(dataset: Dataset, keyword: str) -> str:
    """The element's first value as trimmed text, empty if absent.

    Raises:
        BadHeader: The element's bytes do not fit its type.
    """
    quick = _quick(dataset, keyword)
    if quick is not None:
        return quick.partition("\\")[0].replace("\0", "").strip() if quick else ""
    found = value(dataset, keyword)
    if not isinstance(found, str) and isinstance(found, (list, tuple, MultiValue)):
        found = found[0] if len(found) else None
    # No database keeps a zero byte in a text.
    return "" if found is None else str(found).replace("\0", "").strip()


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """All values of the element as trimmed text.

    Raises:
        BadHeader: The element's bytes do not fit its type.
    """
    quick = _quick(dataset, keyword)
    if quick is not None:
        quick = quick.rstrip(" \0")
        if "\\" in quick:
            return tuple([one.strip(" \0") for one in quick.split("\\")])
        return (quick.lstrip(" \0"),) if quick else ()
    found = value(dataset, keyword)
    if found is None:
        return ()
    if not isinstance(found, str) and isinstance(found, (list, tuple, MultiValue)):
        return tuple(str(one).strip(" \0") for one in found)
    return (str(found).strip(" \0"),)


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """All values of the element as numbers; empty if absent or not numeric.

    Raises:
        BadHeader: The element's bytes do not fit its type.
    """
    try:
        return tuple(map(float, texts(dataset, keyword)))
    except ValueError:
        return ()


def items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """Items of a sequence; none if it is absent or something else.

    Raises:
        BadHeader: The element's bytes do not fit its type.
    """
    found = value(dataset, keyword)
    return tuple(found) if isinstance(found, Sequence) else ()


def transfer_syntax(dataset: Dataset) -> str:
    """UID of the coding of the pixels; empty if the file does not say."""
    return str(getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", ""))
