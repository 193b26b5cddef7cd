"""What is in an archive: which files are acquisitions, which are refused, which belong to others?"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from ingest.acquisition import Acquisition
from ingest.errors import IngestError, Refusal
from ingest.fan_out import fan_out
from ingest.sidecar import Sidecar, sidecar_reason
from ingest.walk import Found, walk

logger = logging.getLogger(__name__)

RADIOLOGY = "radiology"
SATELLITE = "satellite"

#: Bytes read of a file to tell what it is: DICOM's preamble and meta header, every raster's magic.
_HEAD = 1024
#: Suffixes under which DICOM is sent without a preamble; files without suffix count too.
_DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic", ".ima", ""})


class ArchiveMissing(IngestError, FileNotFoundError):
    """There is no such folder; give the path of the folder that holds the archive."""

    code: ClassVar[str] = "ARCHIVE_MISSING"


class UnknownDomain(IngestError, ValueError):
    """The domain is neither "radiology" nor "satellite"."""

    code: ClassVar[str] = "UNKNOWN_DOMAIN"


@dataclass(frozen=True, kw_only=True)
class ArchiveIndex:
    """What became of every file of an archive; the three tuples together hold `files_seen` entries.

    Attributes:
        root: The archive's folder, absolute.
        acquisitions: Usable images, ordered by name.
        refusals: Files that give none, of level "file", ordered by name.
        sidecars: Files that belong to others, with the reason why they are no refusal, ordered by name.
        files_seen: Entries of the tree: files, and folders that could not be entered.
    """

    root: Path
    acquisitions: tuple[Acquisition, ...]
    refusals: tuple[Refusal, ...]
    sidecars: tuple[Sidecar, ...]
    files_seen: int


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """What became of one file, and what is needed to notice the same image twice."""

    name: str
    result: Acquisition | Refusal | Sidecar
    uid: str = ""
    sha256: str = ""
    pixel_sha256: str = ""
    subject: str = ""


def index_archive(
    root: Path,
    *,
    domain: str | None = None,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> ArchiveIndex:
    """Reads every file below `root` to its end and says what each one is; nothing is written.

    The answer depends on the files only, not on the number of processes.

    Args:
        root: Folder of the archive.
        domain: "radiology" or "satellite" to leave the other's files aside; None for both.
        workers: Processes that decode. With 0 everything happens in this one, which a crash of a decoder would end.
        progress: Called with the number of files done and of files in all.

    Raises:
        ArchiveMissing: `root` is no folder.
        UnknownDomain: `domain` is something else.
    """
    if domain not in (None, RADIOLOGY, SATELLITE):
        raise UnknownDomain(f'The domain "{domain}" is unknown; say "{RADIOLOGY}", "{SATELLITE}" or nothing.')
    root = root.absolute()
    if not root.is_dir():
        raise ArchiveMissing()
    found = sorted(walk(root), key=lambda one: one.name)
    entries: list[_Entry] = []
    reader = partial(_read, root=root, domain=domain)
    for entry in fan_out(reader, found, workers=workers, on_crash=_crashed):
        entries.append(entry)
        if progress is not None:
            progress(len(entries), len(found))
    return _gather(root, entries)


def _read(found: Found, *, root: Path, domain: str | None) -> _Entry:
    """One file, in whichever process; never raises."""
    if found.fault:
        return _refused(found.name, "UNREADABLE", found.fault)
    try:
        return _dispatch(found, root, domain)
    except IngestError as error:
        return _refused(found.name, error.code, str(error))
    except OSError as error:
        return _refused(found.name, "UNREADABLE", f"The disk does not give the file ({type(error).__name__}); retry.")
    except Exception as error:  # noqa: BLE001  one poisoned file must not end the batch
        # The text of a foreign error can quote the header, so only its type is passed on.
        logger.warning("File not read", extra={"action": "file_not_read", "error": type(error).__name__})
        return _refused(
            found.name,
            "UNREADABLE",
            f"Reading the file failed in an unforeseen way ({type(error).__name__}); send it again from its source.",
        )


def _crashed(found: Found) -> _Entry:
    return _refused(found.name, "UNDECODABLE", "The decoder crashed on this file; send it again from its source.")


def _refused(name: str, code: str, reason: str) -> _Entry:
    return _Entry(name=name, result=Refusal(item=name, level="file", code=code, reason=reason))


def _aside(name: str, reason: str) -> _Entry:
    return _Entry(name=name, result=Sidecar(item=name, reason=reason))


def _dispatch(found: Found, root: Path, domain: str | None) -> _Entry:
    """Decides by content, then by name, which half reads the file."""
    path, name = found.path, found.name
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        return _refused(name, "EMPTY_FILE", "The file is empty; send it again from its source.")
    # DICOM's own magic, kept here so that scenes can be indexed without importing pydicom.
    if head[128:132] == b"DICM":
        return _dicom(found, head, domain)
    from ingest.geotiff.scene import index_scene, is_raster

    if is_raster(path):
        if domain == RADIOLOGY:
            return _aside(name, "A raster; only radiology was asked for.")
        scene = index_scene(path, root)
        if isinstance(scene, str):
            return _aside(name, scene)
        return _Entry(name=name, result=replace(scene, name=name))
    reason = sidecar_reason(path, head)
    if reason is not None:
        return _aside(name, reason)
    if path.suffix.lower() in _DICOM_SUFFIXES or path.suffix[1:].isdigit():
        return _dicom(found, head, domain)
    return _refused(name, "NOT_RECOGNISED", "Neither DICOM nor a raster that is read; unpack it, or leave it out.")


def _dicom(found: Found, head: bytes, domain: str | None) -> _Entry:
    from ingest.dicom.index import is_dicomdir, read_instance

    if domain == SATELLITE:
        return _aside(found.name, "A DICOM file or one named like it; only satellite scenes were asked for.")
    if is_dicomdir(head):
        return _aside(found.name, "Directory of a DICOM file set: the files themselves are read instead.")
    instance = read_instance(found.path, found.name)
    result: Acquisition | Refusal
    if instance.acquisition is not None:
        result = instance.acquisition
    else:
        error = instance.error or IngestError()
        result = Refusal(item=found.name, level="file", code=error.code, reason=str(error))
    return _Entry(
        name=found.name,
        result=result,
        uid=instance.uid,
        sha256=instance.sha256,
        pixel_sha256=instance.pixel_sha256,
        subject=instance.subject,
    )


def _without_doubles(entries: Sequence[_Entry]) -> Iterable[_Entry]:
    """Keeps one of all decoded files with one SOP Instance UID; the rest are refused.

    The first by name is kept, but a file that is refused for another reason never hides one that is not. The bytes of
    all stay where they are.
    """
    kept: dict[str, _Entry] = {}
    for entry in sorted(entries, key=lambda one: not isinstance(one.result, Acquisition)):
        if entry.uid and entry.pixel_sha256:
            kept.setdefault(entry.uid, entry)
    for entry in entries:
        first = kept.get(entry.uid)
        if first is None or first is entry or not entry.pixel_sha256:
            yield entry
        elif entry.sha256 == first.sha256:
            yield _refused(entry.name, "DUPLICATE", "The same file is in the archive under another name; drop one.")
        elif (entry.pixel_sha256, entry.subject) == (first.pixel_sha256, first.subject):
            yield _refused(
                entry.name,
                "DUPLICATE",
                "The same image is in the archive in another coding or with other remarks; nothing to do.",
            )
        else:
            yield _refused(
                entry.name,
                "UID_CONFLICT",
                "Another image has this SOP Instance UID and is used in its place; find out which of them is right.",
            )


def _gather(root: Path, entries: Sequence[_Entry]) -> ArchiveIndex:
    acquisitions: list[Acquisition] = []
    refusals: list[Refusal] = []
    sidecars: list[Sidecar] = []
    for entry in _without_doubles(entries):
        if isinstance(entry.result, Acquisition):
            acquisitions.append(entry.result)
        elif isinstance(entry.result, Refusal):
            refusals.append(entry.result)
        else:
            sidecars.append(entry.result)
    if any(acquisition.domain == SATELLITE for acquisition in acquisitions):
        from ingest.geotiff.place import assign_places

        acquisitions = list(assign_places(acquisitions))
    return ArchiveIndex(
        root=root,
        acquisitions=tuple(acquisitions),
        refusals=tuple(refusals),
        sidecars=tuple(sidecars),
        files_seen=len(entries),
    )
