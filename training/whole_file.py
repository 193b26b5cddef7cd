"""How is a file written so that a kill leaves none in halves?"""

import os
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Has a file written beside its place and puts it there when it is whole."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    write(part)
    part.replace(path)
