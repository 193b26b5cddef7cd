"""Which files does an archive hold, and in what state?"""

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import NamedTuple

from ingest.bundle import INTO, is_zip_name, members
from ingest.errors import IngestError
from ingest.geotiff.formats import COMPANION_SUFFIXES, SUFFIXES
from ingest.record import INODE_BITS, Stamp

#: State of what cannot be read: never taken for a known one.
_NO_STAMP = Stamp(size=0, mtime_ns=0, inode=0)


class Found(NamedTuple):
    """One entry of the tree.

    Attributes:
        path: Where it lies, absolute; a member of a zip file as `ingest.bundle` writes it.
        name: Path relative to the root, POSIX separators; bytes that are no UTF-8 are written as \\xNN.
        stamp: The state it is in.
        fault: A sentence if it is nothing that can be read; empty for an ordinary file.
        code: Reason code of the fault.
        is_bundle: True for a zip file: its members are entries of their own.
    """

    path: str
    name: str
    stamp: Stamp = _NO_STAMP
    fault: str = ""
    code: str = ""
    is_bundle: bool = False


#: Both from their fields, without the call in between that names them: an index does little else for a known file.
_stamp, _found = partial(tuple.__new__, Stamp), partial(tuple.__new__, Found)


def walk(root: str) -> Iterator[Found]:
    """Every file below `root`, folder by folder in sorted order, and after a zip file its members.

    Only the state of each file is asked for; of zip files the directory is read. Links to files are followed, links to
    folders are not (a loop would never end) and are given with a fault, as are folders that cannot be read, sockets and
    pipes.
    """
    root = root.rstrip("/") or "/"
    start = len(root) if root == "/" else len(root) + 1
    pending = [root]
    while pending:
        folder = pending.pop()
        inner: list[str] = []
        files: list[os.DirEntry[str]] = []
        try:
            with os.scandir(folder) as listing:
                for entry in sorted(listing, key=attrgetter("name")):
                    if entry.is_dir(follow_symlinks=False):
                        inner.append(entry.path)
                    else:
                        files.append(entry)
        except OSError as error:
            yield _faulty(folder, start, _why_closed(error))
        beside = _beside([entry.name for entry in files])
        for entry in files:
            found = _file(entry, start, beside.get(entry.name))
            if is_zip_name(entry.name) and not found.fault:
                yield from _bundle(found.path, found.name, found.stamp)
            else:
                yield found
        pending.extend(reversed(inner))


def count_files(root: str) -> int:
    """Files below `root`, for telling how much of them is done; members of zip files are not counted."""
    return sum(len(files) for _, _, files in os.walk(root))


def _file(entry: "os.DirEntry[str]", start: int, beside: Sequence[str] | None) -> Found:
    """A file by itself; `beside` are the names of those that it is read with."""
    path = entry.path
    try:
        state = entry.stat()
    except OSError:
        return _faulty(path, start, "The link points nowhere, or the file vanished; restore what it points to.")
    if not stat.S_ISREG(state.st_mode):
        return _faulty(path, start, _why_no_file(state.st_mode))
    together = _state_of(path, beside) if beside else ""
    stamp = _stamp((state.st_size, state.st_mtime_ns, state.st_ino & INODE_BITS, together))
    return _found((path, _shown(path[start:]), stamp, "", "", False))


def _bundle(path: str, name: str, stamp: Stamp) -> Iterator[Found]:
    """A zip file and its members."""
    try:
        inside = list(members(path))
    except IngestError as error:
        yield Found(path=path, name=name, fault=str(error), code=error.code)
        return
    except OSError as error:
        yield Found(path=path, name=name, fault=f"The disk does not give the file ({type(error).__name__}); retry.")
        return
    yield Found(path=path, name=name, stamp=stamp, is_bundle=True)
    for one in inside:
        # The checksum stands for the content, the zip file's times for everything else.
        state = Stamp(size=one.size, mtime_ns=stamp.mtime_ns, inode=stamp.inode, beside=f"{one.crc:08x}")
        fault, code = (str(one.error), one.error.code) if one.error else ("", "")
        yield Found(path=f"{path}{INTO}{one.name}", name=f"{name}{INTO}{one.name}", stamp=state, fault=fault, code=code)


def _faulty(path: str, start: int, fault: str) -> Found:
    return Found(path=path, name=_shown(path[start:]) or ".", fault=fault, code="UNREADABLE")


def _shown(name: str) -> str:
    if name.isascii():
        return name
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    return name


def _why_closed(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "The folder may not be read; give this user the right to."
    return f"The disk does not give what the folder holds ({type(error).__name__}); retry."


def _why_no_file(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "A link to a folder is not followed; put the folder itself into the archive."
    return "Not an ordinary file (a pipe, socket or device); remove it from the archive."


def _beside(names: Sequence[str]) -> dict[str, list[str]]:
    """For each raster the files of the same stem that may be read with it, and for each of those the rasters.

    Whether a raster has a world file, a mask or statistics changes what it is, though not the raster itself.
    """
    suffixes = {name[name.rfind(".") :] for name in names}
    if not any(suffix.lower() in SUFFIXES for suffix in suffixes):
        return {}
    rasters, companions = [], []
    for name in names:
        suffix = name[name.rfind(".") :].lower()
        if suffix in SUFFIXES:
            rasters.append(name)
        elif suffix in COMPANION_SUFFIXES or suffix == ".xml":
            companions.append(name)
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in rasters:
        by_stem[name[: name.rfind(".")]].append(name)
    found: dict[str, list[str]] = defaultdict(list)
    for name in companions:
        # scene.tfw, scene.tif.msk and scene.tif.aux.xml belong to scene.tif
        at = name.rfind(".")
        while at > 0:
            for raster in by_stem.get(name[:at], ()):
                found[raster].append(name)
                found[name].append(raster)
            at = name.rfind(".", 0, at)
    return found


def _state_of(path: str, names: Sequence[str]) -> str:
    """Hash of the states of files in the same folder."""
    folder = path[: path.rfind("/") + 1]
    digest = hashlib.sha256()
    for name in sorted(names):
        try:
            state = os.stat(folder + name)  # noqa: PTH116 - a Path for each file would take longer than the question
        except OSError:
            continue
        digest.update(os.fsencode(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\n"))
    return digest.hexdigest()[:16]
