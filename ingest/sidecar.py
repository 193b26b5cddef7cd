"""Which files of an archive belong to other files, and are no image of their own?"""

from dataclasses import dataclass
from pathlib import PurePath

#: Suffixes of text that lies beside images; its presence is no fault of the archive.
_TEXT_SUFFIXES = frozenset(
    {".csv", ".tsv", ".json", ".geojson", ".md", ".rst", ".txt", ".log", ".xml", ".html", ".yaml", ".yml", ".toml"}
    # of a Sentinel-2 product
    | {".safe", ".xsd", ".gml", ".kml"}
)
#: Names without suffix, or starting with a dot, that desktops and people leave in folders.
_KNOWN_NAMES = frozenset({".ds_store", "thumbs.db", "desktop.ini", "readme", "license", "copying", ".gitkeep"})
#: What SQLite leaves beside a database while it is open.
_DATABASE_JOURNALS = (".sqlite-wal", ".sqlite-shm", ".sqlite-journal")
#: Folder in which `ingest.dicom.mirror` gathers a study until it is whole.
MIRROR_WORK = ".interval-mirror"


@dataclass(frozen=True, kw_only=True, order=True)
class Sidecar:
    """A file that is neither an acquisition nor a fault.

    Attributes:
        item: Path relative to the archive root, POSIX separators.
        reason: A sentence: what it belongs to, and why it is not refused.
    """

    item: str
    reason: str


def is_mirror_work(name: str) -> bool:
    """True if a file of this name, relative to the archive, is being gathered and not part of the archive yet."""
    return MIRROR_WORK in name.split("/")


def sidecar_reason(path: PurePath, head: bytes) -> str | None:
    """Why the file is a sidecar, judged by its name and first bytes; None if it is none.

    A name alone is not believed: something called `.csv` that starts like a binary file is not a sidecar.

    Args:
        path: The file.
        head: Its first bytes, a few hundred are enough.
    """
    name = path.name.lower()
    if name in _KNOWN_NAMES:
        return "A desktop's or a reader's file, no image."
    if head.startswith(b"SQLite format 3\0") or name.endswith(_DATABASE_JOURNALS):
        return "A SQLite database, perhaps Interval's own; no image."
    if name.endswith(".aux.xml"):
        return "GDAL's statistics beside a raster."
    if path.suffix.lower() in _TEXT_SUFFIXES and b"\0" not in head:
        return "Text beside the images: a table, a description or a log."
    return None
