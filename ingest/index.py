"""What is in an archive: which files are acquisitions, which are refused, which belong to others?"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from ingest import verify
from ingest.acquisition import Acquisition
from ingest.catalogue import Catalogue, MemoryCatalogue, Names, batches
from ingest.doubles import need_hashes, need_pixels, settle_doubles
from ingest.errors import IngestError, Refusal
from ingest.fan_out import fan_out
from ingest.gather import gather, missing_files
from ingest.recognise import crashed, recognise, timed_out
from ingest.record import RADIOLOGY, SATELLITE, Record, holds
from ingest.sidecar import Sidecar
from ingest.walk import Found, count_files, walk

__all__ = ["RADIOLOGY", "SATELLITE", "ArchiveIndex", "ArchiveMissing", "UnknownDomain", "index_archive", "refresh"]

#: Headers that a process reads at a time; each takes a fraction of a millisecond.
_HEADERS = 96
#: How long one may take. Of a scene without overviews all is read, over a network as well.
_HEADER_SECONDS = 600.0
#: Records that are written at a time, and for how long they are collected: a run that is killed has lost no more.
_KEPT, _KEPT_SECONDS = 2000, 2.0

#: Told the stage ("index" or "verify"), how many files are done, and how many there are, as far as is known.
Progress = Callable[[str, int, int], None]


class ArchiveMissing(IngestError, FileNotFoundError):
    """There is no such folder; give the path of the folder that holds the archive."""

    code: ClassVar[str] = "ARCHIVE_MISSING"


class UnknownDomain(IngestError, ValueError):
    """The domain is neither "radiology" nor "satellite"."""

    code: ClassVar[str] = "UNKNOWN_DOMAIN"


@dataclass(frozen=True, kw_only=True)
class ArchiveIndex:
    """What became of every file of an archive.

    The files of the acquisitions, the refusals and the sidecars together are `files_seen`.

    Attributes:
        root: The archive's folder, absolute.
        acquisitions: Usable images, volumes and scenes, ordered by name.
        refusals: Files that give none, of level "file", ordered by name.
        sidecars: Files that belong to others, with the reason why they are no refusal, ordered by name.
        files_seen: Files, members of zip files, folders that could not be entered, and files that a DICOMDIR misses.
        unreadable: What would be acquisitions if their pixels could be read; their files are among the refusals.
    """

    root: Path
    acquisitions: tuple[Acquisition, ...]
    refusals: tuple[Refusal, ...]
    sidecars: tuple[Sidecar, ...]
    files_seen: int
    unreadable: tuple[Acquisition, ...] = ()

    @property
    def files_used(self) -> int:
        """Files that acquisitions are made of."""
        # A file of many frames may be in several volumes.
        return len({name for one in self.acquisitions for name in one.names})


def index_archive(
    root: Path,
    *,
    domain: str | None = None,
    workers: int = 2,
    pixels: bool = True,
    catalogue: Catalogue | None = None,
    progress: Progress | None = None,
) -> ArchiveIndex:
    """Says of every file below `root` what it is; the archive is only read.

    The answer depends on the files only: not on the number of processes, nor on what the catalogue knows already.

    Args:
        root: Folder of the archive.
        domain: "radiology" or "satellite" to leave the other's files aside; None for both.
        workers: Processes that read. With 0 everything happens in this one, which a crash of a decoder would end.
        pixels: Decode every image as well. Without, only headers are read (of scenes overviews, too), whether the
            pixels can be decoded is unknown, and acquisitions have no hashes.
        catalogue: What is known already, and is kept for the next time; None to read everything and keep nothing.
        progress: Told how far each stage is.

    Raises:
        ArchiveMissing: `root` is no folder.
        UnknownDomain: `domain` is something else.
    """
    root = root.absolute()
    catalogue = MemoryCatalogue() if catalogue is None else catalogue
    refresh(root, catalogue, domain=domain, workers=workers, pixels=pixels, progress=progress)
    acquisitions: list[Acquisition] = []
    unreadable: list[Acquisition] = []
    refusals: list[Refusal] = []
    sidecars: list[Sidecar] = []
    n_records = 0
    for record in catalogue.records():
        n_records += 1
        outcome = outcome_of(record, domain)
        if isinstance(outcome, Refusal):
            refusals.append(outcome)
        elif outcome is not None:
            sidecars.append(outcome)
    for gathered in gather(catalogue, root, domain=domain):
        acquisitions.extend(gathered.acquisitions)
        unreadable.extend(gathered.unreadable)
        refusals.extend(gathered.refusals)
        sidecars.extend(gathered.sidecars)
    missing = list(missing_files(catalogue)) if domain != SATELLITE else []
    return ArchiveIndex(
        root=root,
        acquisitions=tuple(sorted(acquisitions, key=lambda one: one.name)),
        refusals=tuple(sorted((*refusals, *missing))),
        sidecars=tuple(sorted(sidecars)),
        files_seen=n_records + len(missing),
        unreadable=tuple(sorted(unreadable, key=lambda one: one.name)),
    )


def refresh(
    root: Path,
    catalogue: Catalogue,
    *,
    domain: str | None,
    workers: int,
    pixels: bool,
    progress: Progress | None = None,
) -> None:
    """Brings a catalogue to the state of the archive, by reading what is new or changed and nothing else.

    Only a bounded number of records is in memory at a time. A refresh that was interrupted is taken up by the next one.
    Arguments and errors are those of `index_archive`.
    """
    if domain not in (None, RADIOLOGY, SATELLITE):
        raise UnknownDomain(f'The domain "{domain}" is unknown; say "{RADIOLOGY}", "{SATELLITE}" or nothing.')
    if not root.is_dir():
        raise ArchiveMissing()
    catalogue.forget_others(_read_headers(root, catalogue, domain, workers, progress))
    check = partial(verify.verify, root=root)
    if pixels:
        n_items = catalogue.count_unverified(domain)
        _rework(catalogue, check, catalogue.unverified(domain), workers, progress, n_items=n_items)
    if not catalogue.has_doubles():
        return
    hash_file = partial(verify.hash_file, root=root)
    _rework(catalogue, hash_file, (one for group in catalogue.doubles() for one in need_hashes(group)), workers)
    _rework(catalogue, check, (one for group in catalogue.doubles() for one in need_pixels(group)), workers)
    for group in catalogue.doubles():
        settled = settle_doubles(group)
        catalogue.keep([after for before, after in zip(group, settled, strict=True) if before != after])


def outcome_of(record: Record, domain: str | None) -> Refusal | Sidecar | None:
    """Why a file is no part of an acquisition, as far as it alone tells; None if it may be one.

    Args:
        record: The file's record.
        domain: The domain that was asked for: files of the other are put aside.
    """
    if domain is not None and record.domain not in ("", domain):
        return Sidecar(
            item=record.name, reason=f"By content or name a file of {record.domain}; only {domain} was asked for."
        )
    return record.refusal or record.sidecar


def _read_headers(
    root: Path, catalogue: Catalogue, domain: str | None, workers: int, progress: Progress | None
) -> Names:
    """Reads what is new or changed; gives the names of all files that are there."""
    total = count_files(str(root)) if progress is not None else 0
    present = Names()
    n_read = 0

    def changed() -> Iterator[Found]:
        for batch in batches(walk(str(root))):
            names = [one.name for one in batch]
            present.add(*names)
            seals = catalogue.seals(names)
            for one in batch:
                seal = seals.get(one.name)
                if seal is None or not holds(seal, one.stamp):
                    yield one
            if progress is not None:
                progress("index", min(n_read, len(present)), max(total, len(present)))

    reader = partial(recognise, root=root, domain=domain)
    read = fan_out(
        reader,
        changed(),
        workers=workers,
        seconds=lambda _: _HEADER_SECONDS,
        on_crash=crashed,
        on_timeout=timed_out,
        chunk=_HEADERS,
    )
    for records in _portions(read):
        catalogue.keep(records)
        n_read += len(records)
    if progress is not None:
        progress("index", len(present), len(present))
    return present


def _portions(records: Iterable[Record]) -> Iterator[list[Record]]:
    """The records in lists that are written at once: of `_KEPT` at most, and of no more than `_KEPT_SECONDS`."""
    portion: list[Record] = []
    began = time.monotonic()
    for one in records:
        portion.append(one)
        if len(portion) >= _KEPT or time.monotonic() - began > _KEPT_SECONDS:
            yield portion
            portion, began = [], time.monotonic()
    if portion:
        yield portion


def _rework(
    catalogue: Catalogue,
    work: Callable[[Record], Record],
    records: Iterable[Record],
    workers: int,
    progress: Progress | None = None,
    n_items: int = 0,
) -> None:
    """Replaces records by what some work on their files gives, in several processes."""
    done = 0
    found = fan_out(
        work,
        records,
        workers=workers,
        seconds=verify.seconds,
        on_crash=verify.crashed,
        on_timeout=verify.timed_out,
    )
    for batch in batches(found, size=50):
        catalogue.keep(batch)
        done += len(batch)
        if progress is not None:
            progress("verify", done, n_items)
