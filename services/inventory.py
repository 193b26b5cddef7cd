"""How does what is known of an archive's files become rows: acquisitions, pairs, refusals? Patient by patient."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.catalogue import Catalogue, batches
from ingest.errors import Refusal
from ingest.gather import Gathered, gather, missing_files
from ingest.index import SATELLITE, outcome_of
from ingest.unreadable import pair_readable
from services import store
from services.database import Database

if TYPE_CHECKING:
    from ingest.rules import Rules

#: Acquisitions that are paired and written together, at least; a subject is never divided.
_TOGETHER = 500


@dataclass
class Inventory:
    """What was found in an archive; the files of its acquisitions, refusals and sidecars add up to `files_seen`.

    Attributes:
        archive_id: The archive's row.
        files_seen: Files, and those that a DICOMDIR misses.
        files_used: Files that acquisitions are made of.
        sidecars: Files that accompany others.
        acquisitions: Usable images, volumes and scenes.
        pair_ids: Rows of the pairs, in the order of subjects and times.
    """

    archive_id: str
    files_seen: int = 0
    files_used: int = 0
    sidecars: int = 0
    acquisitions: int = 0
    pair_ids: list[str] = field(default_factory=list)


class _Writer:
    """Writes what is found in one archive and remembers which rows that were."""

    def __init__(self, database: Database, found: Inventory, rules: "Rules | None") -> None:
        self.rules = rules
        self.database = database
        self.found = found
        self.present = store.Present()

    def refusals(self, refusals: Iterable[Refusal]) -> None:
        for batch in batches(refusals):
            with self.database.write() as session:
                store.put_refusals(session, self.found.archive_id, batch)
            for one in batch:
                self.present.refusals.add(store.refusal_key(self.found.archive_id, one, ""))

    def subjects(self, gathered: Sequence[Gathered]) -> None:
        """Pairs and writes the acquisitions of whole subjects."""
        archive_id = self.found.archive_id
        acquisitions = [one for part in gathered for one in part.acquisitions]
        pairing = pair_readable(acquisitions, [one for part in gathered for one in part.unreadable], self.rules)
        with self.database.write() as session:
            store.put_acquisitions(session, archive_id, acquisitions)
            store.put_pairs(session, archive_id, pairing.pairs)
        self.refusals([*(one for part in gathered for one in part.refusals), *pairing.unpaired, *pairing.unused])
        self.found.acquisitions += len(acquisitions)
        self.found.sidecars += sum(len(part.sidecars) for part in gathered)
        self.found.files_used += len({name for one in acquisitions for name in one.names})
        for one in acquisitions:
            self.present.acquisitions.add(store.acquisition_key(archive_id, one))
        for pair in pairing.pairs:
            key = store.pair_key(archive_id, pair)
            self.present.pairs.add(key)
            self.found.pair_ids.append(key)


def store_inventory(
    database: Database,
    catalogue: Catalogue,
    root: Path,
    *,
    domain: str | None,
    rules: "Rules | None" = None,
) -> Inventory:
    """Writes acquisitions, pairs and refusals of an archive, and removes those of files that are gone.

    Rows are written in several transactions and only so many subjects are in memory at a time. When this is
    interrupted, the next call completes it; repeated, it writes nothing new. A pair that has a report stays, with its
    acquisitions, whatever became of its files.

    Args:
        database: Where to.
        catalogue: The archive's files, up to date.
        root: The archive's folder, resolved.
        domain: The domain that was looked at; None for both. With one, nothing is removed.
        rules: Pairing rules; None for the default ones.
    """
    with database.write() as session:
        found = Inventory(archive_id=store.put_archive(session, root=str(root), name=root.name))
    writer = _Writer(database, found, rules)
    writer.refusals(_file_refusals(catalogue, domain, found))
    for gathered in _together(gather(catalogue, root, domain=domain)):
        writer.subjects(gathered)
    with database.write() as session:
        store.put_counts(session, found.archive_id, files_seen=found.files_seen, sidecars=found.sidecars)
        if domain is None:
            store.drop_stale(session, found.archive_id, writer.present)
    return found


def _file_refusals(catalogue: Catalogue, domain: str | None, found: Inventory) -> Iterator[Refusal]:
    """Refusals of single files; counts all files on the way."""
    for record in catalogue.records():
        found.files_seen += 1
        outcome = outcome_of(record, domain)
        if isinstance(outcome, Refusal):
            yield outcome
        elif outcome is not None:
            found.sidecars += 1
    if domain != SATELLITE:
        for missing in missing_files(catalogue):
            found.files_seen += 1
            yield missing


def _together(gathered: Iterable[Gathered]) -> Iterator[list[Gathered]]:
    """Subjects in lists with enough acquisitions to be worth a transaction."""
    batch: list[Gathered] = []
    count = 0
    for one in gathered:
        batch.append(one)
        count += len(one.acquisitions) + 1
        if count >= _TOGETHER:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch
