"""Which members does a zip file hold, and how are they read where they are?

Nothing is ever written to disk, so a member's name cannot lead anywhere. A member's path is that of the zip file,
`!/`, and its name, as in `studies.zip!/1/image.dcm`.
"""

import lzma
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, ClassVar

from ingest.errors import IngestError

#: Between the zip file's name and the member's.
INTO = "!/"
#: Most members of one zip file: its directory is held in memory as a whole.
MAX_MEMBERS = 100_000
#: Most bytes of one member: a DICOM value has no more.
MAX_MEMBER_BYTES = 4 * 2**30
#: Most bytes of all members.
MAX_TOTAL_BYTES = 2**40
#: Most bytes that one stored byte may become, over a zip file and in each member of more than a megabyte. Headers and
#: images shrink 2 to 20 times, all but empty images 100 times; deflate can make 1,032 bytes of one.
MAX_RATIO = 200
_SMALL = 2**20
#: Methods that Python reads: stored, deflated, bzip2, lzma.
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA})
_ENCRYPTED = 0x1
#: What Python raises on members that are damaged or packed in an unknown way.
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, struct.error)
DAMAGED_MEMBER = "The member is damaged inside its zip file; send the zip file again from its source."


class ZipUnreadable(IngestError):
    """The zip file cannot be read; send it again from its source, or unpack it and index the folder."""

    code: ClassVar[str] = "ZIP_UNREADABLE"


class ZipTooLarge(IngestError):
    """The zip file unpacks to more than is read from one; unpack it yourself, if you trust it, and index the folder."""

    code: ClassVar[str] = "ZIP_TOO_LARGE"


class ZipEncrypted(IngestError):
    """The member is encrypted; unpack the zip file with its password and index the folder."""

    code: ClassVar[str] = "ZIP_ENCRYPTED"


class ZipNested(IngestError):
    """A zip file inside a zip file is not opened; unpack the outer one and index the folder."""

    code: ClassVar[str] = "ZIP_NESTED"


class ZipAmbiguous(IngestError):
    """The zip file holds several members of this name; unpack it and index the folder."""

    code: ClassVar[str] = "ZIP_AMBIGUOUS"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One file in a zip file.

    Attributes:
        name: As it is shown: without parts that lead elsewhere, what cannot be printed escaped.
        size: Bytes when unpacked, as the directory states; reading stops there.
        crc: CRC-32 of the content, as the directory states.
        error: Why it is not read; None if it is.
    """

    name: str
    size: int
    crc: int
    error: IngestError | None = None


def is_zip_name(name: str) -> bool:
    """True if a file of this name is opened as a zip file."""
    return name[-4:].lower() == ".zip"


def members(path: str) -> Iterator[Member]:
    """Every file in a zip file, in the order of names.

    Raises:
        ZipUnreadable: It is none, or its directory is damaged.
        ZipTooLarge: It holds too many members, or they unpack to too much.
        OSError: The disk does not give it.
    """
    bundle = _open(path)
    for name in sorted(bundle.members):
        one = bundle.members[name]
        yield Member(name=name, size=one.file_size, crc=one.CRC, error=_refusal(bundle, name))


def open_file(path: Path | str) -> IO[bytes]:
    """The file from its start, whether it lies in a folder or in a zip file.

    Raises:
        ZipUnreadable: The member is not there any more, or cannot be unpacked.
        OSError: The disk does not give it.
    """
    inside = _inside(path)
    if inside is None:
        return open(path, "rb")  # noqa: PTH123 - of an index, a Path for each file would be a twentieth
    bundle, name = _open(inside[0]), inside[1]
    if name not in bundle.members:
        raise ZipUnreadable("The member is not in its zip file any more; index the archive again.")
    error = _refusal(bundle, name)
    if error is not None:
        raise error
    try:
        return bundle.file.open(bundle.members[name])
    except DAMAGED as error:
        raise ZipUnreadable(DAMAGED_MEMBER) from error


def read_bytes(path: Path) -> bytes:
    """The whole file, whether it lies in a folder or in a zip file; a member's checksum is checked.

    Raises:
        ZipUnreadable: The member is not there any more, or is damaged.
        OSError: The disk does not give it.
    """
    with open_file(path) as file:
        try:
            return file.read()
        except DAMAGED as error:
            raise ZipUnreadable(DAMAGED_MEMBER) from error


def file_state(path: Path) -> os.stat_result:
    """State of the file, or of the zip file that a member lies in.

    Raises:
        OSError: The disk does not give it.
    """
    inside = _inside(path)
    return path.stat() if inside is None else Path(inside[0]).stat()


@dataclass(frozen=True, kw_only=True)
class _Bundle:
    """An open zip file with its members by the names under which they are shown."""

    file: zipfile.ZipFile
    members: dict[str, zipfile.ZipInfo]
    ambiguous: frozenset[str]


def _inside(path: Path | str) -> tuple[str, str] | None:
    """The zip file and the member that a path means; None if it means a file of its own."""
    text = str(path)
    at = text.lower().find(".zip" + INTO)
    return None if at < 0 or Path(text).exists() else (text[: at + 4], text[at + 4 + len(INTO) :])


def _open(path: str) -> _Bundle:
    state = Path(path).stat()
    return _opened(path, state.st_size, state.st_mtime_ns, state.st_ino)


@lru_cache(maxsize=4)
def _opened(path: str, size: int, _mtime_ns: int, _inode: int) -> _Bundle:
    """Kept open, since reading the directory for each member would take as long as reading the members."""
    try:
        file = zipfile.ZipFile(path)
    except (*DAMAGED, UnicodeDecodeError) as error:
        raise ZipUnreadable() from error
    infos = [one for one in file.infolist() if not one.is_dir()]
    total = sum(one.file_size for one in infos)
    if len(infos) > MAX_MEMBERS or total > min(MAX_TOTAL_BYTES, MAX_RATIO * max(size, _SMALL)):
        raise ZipTooLarge()
    named: dict[str, zipfile.ZipInfo] = {}
    ambiguous = set()
    for one in infos:
        name = _plain(one.filename)
        if name in named:
            ambiguous.add(name)
        named[name] = one
    return _Bundle(file=file, members=named, ambiguous=frozenset(ambiguous))


def _plain(name: str) -> str:
    """A member's name without parts that lead elsewhere, what cannot be printed escaped."""
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".", "..")]
    shown = "/".join(parts) or "unnamed"
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in shown)


def _refusal(bundle: _Bundle, name: str) -> IngestError | None:
    """Why a member is not read."""
    member = bundle.members[name]
    if name in bundle.ambiguous:
        return ZipAmbiguous()
    if member.flag_bits & _ENCRYPTED:
        return ZipEncrypted()
    if is_zip_name(name):
        return ZipNested()
    if member.file_size > min(MAX_MEMBER_BYTES, max(_SMALL, MAX_RATIO * member.compress_size)):
        return ZipTooLarge("The member unpacks to more than is read from one; unpack the zip file, if you trust it.")
    if member.compress_type not in _METHODS:
        return ZipUnreadable("The member is packed in a way that is not read; unpack the zip file, index the folder.")
    return None
