"""Which files does an archive hold?"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Found:
    """One entry of the tree.

    Attributes:
        path: Where it lies, absolute.
        name: Path relative to the root, POSIX separators; bytes that are no UTF-8 are written as \\xNN.
        fault: A sentence if it is nothing that can be read; empty for an ordinary file.
    """

    path: Path
    name: str
    fault: str = ""


def walk(root: Path) -> Iterator[Found]:
    """Every file below `root`, in sorted order, folder by folder.

    Links to files are followed, links to folders are not (a loop would never end) and are given with a fault, as are
    folders that may not be read, sockets and pipes.
    """
    for folder, inner, files in os.walk(root, onerror=None):
        inner.sort()
        here = Path(folder)
        for name in sorted(inner):
            path = here / name
            if path.is_symlink():
                yield _found(root, path, "A link to a folder is not followed; put the folder itself into the archive.")
            elif not os.access(path, os.R_OK | os.X_OK):
                yield _found(root, path, "The folder may not be read; give this user the right to.")
        for name in sorted(files):
            yield _found(root, here / name, _fault(here / name))


def _found(root: Path, path: Path, fault: str) -> Found:
    name = path.relative_to(root).as_posix()
    return Found(path=path, name=os.fsencode(name).decode("utf-8", "backslashreplace"), fault=fault)


def _fault(path: Path) -> str:
    """Why the entry cannot be read; asked before it is opened, because opening a pipe never ends."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return "The link points nowhere, or the file vanished; restore what it points to."
    if not stat.S_ISREG(mode):
        return "Not an ordinary file (a pipe, socket or device); remove it from the archive."
    if not os.access(path, os.R_OK):
        return "The file may not be read; give this user the right to."
    return ""
