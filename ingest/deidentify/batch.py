"""How is a whole archive de-identified, so that it may be killed and repeated at any time?"""

import hashlib
import logging
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path, PurePosixPath

from ingest.bundle import read_bytes
from ingest.deidentify.errors import OutputUnusable
from ingest.deidentify.image import Cleaned, deidentify_image
from ingest.deidentify.options import Options
from ingest.deidentify.output import OutputFolder
from ingest.deidentify.secret import Secret
from ingest.dicom.header import has_magic
from ingest.dicom.index import is_dicomdir
from ingest.errors import IngestError, Refusal
from ingest.fan_out import fan_out
from ingest.index import ArchiveMissing
from ingest.sidecar import Sidecar, sidecar_reason
from ingest.walk import Found, walk

logger = logging.getLogger(__name__)

#: Bytes of a file that tell what it is.
_HEAD = 1024


@dataclass(frozen=True, kw_only=True)
class Deidentified:
    """What became of every file of an archive: written, kept, refused or left aside.

    Attributes:
        files_seen: Entries of the tree.
        written: Files that were written now.
        kept: Files whose result was there already, from an earlier run or from another copy of the same file.
        masked: Images of both kinds in which areas were painted over.
        refusals: Files that give no result, ordered by name.
        sidecars: Files that are no images and were not copied, ordered by name.
    """

    files_seen: int
    written: int
    kept: int
    masked: int
    refusals: tuple[Refusal, ...]
    sidecars: tuple[Sidecar, ...]


@dataclass(frozen=True, kw_only=True)
class _Result:
    """A result in the output's folder for unfinished files, not yet under its name; without its bytes."""

    unfinished: Path
    folder: Path
    stem: str
    entry: dict[str, object]


def deidentify_archive(
    root: Path,
    out: Path,
    *,
    secret: Secret,
    options: Options,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Deidentified:
    """Writes every image below `root` without identity to `out`, as PATIENT/STUDY/SERIES/INSTANCE.dcm by new UIDs.

    A file is there whole or not at all. A second run finds what the first has written, and writes nothing new; nothing
    is ever overwritten. Two files with one SOP Instance UID and different content are both written, the later one by
    name with a number. `manifest.json` lists the results and holds nothing of the originals.

    Args:
        root: Folder of the archive; nothing in it is changed.
        out: Empty or new folder, or one that was written with the same key and options.
        secret: The key of the pseudonyms.
        options: Which options of the standard are taken.
        workers: Processes. With 1 everything happens in this one.
        progress: Called with the number of files done and of files in all.

    Raises:
        ArchiveMissing: `root` is no folder.
        OutputUnusable: `out` lies inside the archive or around it, holds something else, or cannot be written to.
    """
    if not root.is_dir():
        raise ArchiveMissing()
    found = sorted(walk(str(root.absolute())), key=lambda one: one.name)
    written = kept = masked = done = 0
    refusals: list[Refusal] = []
    sidecars: list[Sidecar] = []
    with OutputFolder(out, root=root, secret=secret, options=options) as output:
        cleaner = partial(_clean, secret=secret, options=options, unfinished=output.unfinished)
        for result in fan_out(
            cleaner, found, workers=workers, seconds=_seconds, on_crash=_crashed, on_timeout=_timed_out
        ):
            if isinstance(result, Refusal):
                refusals.append(result)
            elif isinstance(result, Sidecar):
                sidecars.append(result)
            else:
                name, is_new = _place(result, out)
                output.list_file(name, result.entry)
                written, kept = written + is_new, kept + (not is_new)
                masked += bool(result.entry["masked_areas"] or result.entry["masked_outside_regions"])
            done += 1
            if progress is not None:
                progress(done, len(found))
    return Deidentified(
        files_seen=len(found),
        written=written,
        kept=kept,
        masked=masked,
        refusals=tuple(refusals),
        sidecars=tuple(sidecars),
    )


def _clean(found: Found, *, secret: Secret, options: Options, unfinished: Path) -> _Result | Refusal | Sidecar:
    """One file, in whichever process; raises only what ends the run."""
    if found.fault:
        return _refused(found, found.code, found.fault)
    if found.is_bundle:
        return Sidecar(item=found.name, reason="A zip file: its members are taken one by one.")
    try:
        content = read_bytes(Path(found.path))
        if (aside := _aside(found, content[:_HEAD])) is not None:
            return aside
        cleaned = deidentify_image(content, secret=secret, options=options)
    except IngestError as error:
        return _refused(found, error.code, str(error))
    except OSError as error:
        return _refused(found, "UNREADABLE", f"The disk does not give the file ({type(error).__name__}); retry.")
    except Exception as error:  # noqa: BLE001  one poisoned file must not end the batch
        # The text of a foreign error can quote the header, so only its type is passed on.
        logger.warning("File not de-identified", extra={"action": "not_deidentified", "error": type(error).__name__})
        return _refused(
            found,
            "UNREADABLE",
            f"De-identifying the file failed in an unforeseen way ({type(error).__name__}); it was left out.",
        )
    return _keep_aside(cleaned, unfinished)


def _aside(found: Found, head: bytes) -> Refusal | Sidecar | None:
    """What is said of a file that holds no image; None if it may be one."""
    if not head:
        return _refused(found, "EMPTY_FILE", "The file is empty; send it again from its source.")
    if has_magic(head):
        if is_dicomdir(head):
            return Sidecar(
                item=found.name, reason="Directory of a DICOM file set: it names patients and is not copied."
            )
        return None
    reason = sidecar_reason(PurePosixPath(found.name), head)
    return Sidecar(item=found.name, reason=f"{reason} Not copied.") if reason else None


def _keep_aside(cleaned: Cleaned, unfinished: Path) -> _Result:
    """Writes the result under a name of chance and sees it onto the disk."""
    path = unfinished / uuid.uuid4().hex
    try:
        with path.open("xb") as file:
            file.write(cleaned.content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputUnusable(
            f"The output folder cannot be written to ({type(error).__name__}); make room and run again."
        ) from error
    masks = cleaned.masks
    return _Result(
        unfinished=path,
        folder=Path(cleaned.subject or "no-patient", cleaned.study or "no-study", cleaned.series or "no-series"),
        stem=cleaned.uid,
        entry={
            "patient": cleaned.subject,
            "study": cleaned.study,
            "series": cleaned.series,
            "instance": cleaned.uid,
            "sha256": hashlib.sha256(cleaned.content).hexdigest(),
            "looked_for_text": masks is not None,
            "masked_areas": [list(box) for box in masks.areas] if masks else [],
            "masked_outside_regions": bool(masks and masks.outside_regions),
        },
    )


def _place(result: _Result, out: Path) -> tuple[str, bool]:
    """Gives the result its name; the name relative to `out`, and whether it is new there."""
    folder = out / result.folder
    folder.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        target = folder / (f"{result.stem}.dcm" if number == 1 else f"{result.stem}_{number}.dcm")
        name = target.relative_to(out).as_posix()
        if not target.exists():
            result.unfinished.replace(target)
            return name, True
        if hashlib.sha256(target.read_bytes()).hexdigest() == result.entry["sha256"]:
            result.unfinished.unlink()
            return name, False
    raise AssertionError("counting ends only with a name")


def _refused(found: Found, code: str, reason: str) -> Refusal:
    return Refusal(item=found.name, level="file", code=code, reason=reason)


def _crashed(found: Found) -> _Result | Refusal | Sidecar:
    return _refused(found, "UNDECODABLE", "The decoder crashed on this file; send it again from its source.")


def _timed_out(found: Found) -> _Result | Refusal | Sidecar:
    return _refused(
        found,
        "TIMED_OUT",
        "De-identifying the file took too long and was ended; run again, and if the disk is not slow, send it again "
        "from its source.",
    )


def _seconds(found: Found) -> float:
    # Text is looked for in every frame: far slower than decoding.
    return 600 + found.stamp.size / 100_000
