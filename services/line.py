"""How does an archive become stored reports? Index, verify, pair, store, queue what is missing, wait for it."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ingest.index import refresh
from services import repository, store
from services.catalogue import DatabaseCatalogue
from services.database import Database
from services.identity import ModelIdentity
from services.inventory import store_inventory
from services.jobs import Jobs
from services.predictor import Predictor, identity_of
from services.schema import upgrade_database
from services.settings import Settings
from services.survey import Progress, archive_folder, tell, usable_rules
from services.turns import turn


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What a run found and did.

    Attributes:
        archive_id: The archive's row.
        files_seen: Files of the archive; files that are used or refused and sidecars add up to it.
        files_used: Files that acquisitions are made of.
        acquisitions: Usable images, volumes and scenes.
        sidecars: Files that accompany others.
        refused: Everything that gives no report, by reason code: files, acquisitions, pairs and jobs.
        pairs: Pairs that were found.
        pairs_asked: Pairs that this run was to report on; fewer with a limit.
        reported: Reports that were missing and are there now.
        kept: Pairs whose report or refusal was there before.
        failed: Pairs whose job broke; the next run tries them again.
        rows_added: Rows that the database holds more than before.
        seconds: How long it took.
    """

    archive_id: str
    files_seen: int
    files_used: int
    acquisitions: int
    sidecars: int
    refused: dict[str, int]
    pairs: int
    pairs_asked: int
    reported: int
    kept: int
    failed: int
    rows_added: int
    seconds: float

    @property
    def is_clean(self) -> bool:
        """True if nothing was refused and nothing failed."""
        return not self.refused and not self.failed

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return asdict(self)


def run_archive(
    root: Path,
    *,
    database: Database,
    load: Callable[[], Predictor],
    settings: Settings,
    domain: str | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> RunSummary:
    """Brings the database to where every pair of the archive has a report or a refusal.

    Safe to kill, to repeat and to start several times at once: what is there stays, what is missing is made once, and
    the database ends up the same. Several that index one archive do so one after the other.

    Args:
        root: Folder of the archive.
        database: Upgraded first, if need be.
        load: Gives the model; called only if there is a pair.
        settings: Workers and queue.
        domain: Look at files of this domain only.
        limit: Report on the first so many pairs only.
        progress: Told of each stage.

    Raises:
        UsageError: The path is no folder, or the pairing rules cannot be used.
        DatabaseUnusable: The database cannot be reached, or was written by newer code.
        PredictorUnusable: The model cannot be loaded.
    """
    started = time.monotonic()
    folder = archive_folder(root)
    rules = usable_rules(settings.rules)
    upgrade_database(database)
    catalogue = DatabaseCatalogue(database, store.archive_key(str(folder)))
    with turn(database, catalogue.archive_id):
        refresh(folder, catalogue, domain=domain, workers=settings.workers, pixels=True, progress=progress)
        with database.read() as session:
            rows_before = sum(repository.count_rows(session).values())
        found = store_inventory(database, catalogue, folder, domain=domain, rules=rules)

    pair_ids = found.pair_ids[:limit]
    reported, missing = 0, list[str]()
    if pair_ids:
        predictor = load()
        missing = _missing(database, identity_of(predictor), pair_ids)
        if missing:
            with Jobs(database, predictor, settings) as jobs:
                jobs.enqueue(missing)
                jobs.wait(missing, progress=lambda done, total: tell(progress, "report", done, total))
        with database.read() as session:
            reported = len(store.reported_work(session, [identity_of(predictor).report_id(one) for one in missing]))

    with database.read() as session:
        rows_after = sum(repository.count_rows(session).values())
        refused = repository.count_refusals(session, found.archive_id)
    failed = refused.pop(store.FAILED, 0)
    return RunSummary(
        archive_id=found.archive_id,
        files_seen=found.files_seen,
        files_used=found.files_used,
        acquisitions=found.acquisitions,
        sidecars=found.sidecars,
        refused=refused,
        pairs=len(found.pair_ids),
        pairs_asked=len(pair_ids),
        reported=reported,
        kept=len(pair_ids) - len(missing),
        failed=failed,
        rows_added=rows_after - rows_before,
        seconds=time.monotonic() - started,
    )


def _missing(database: Database, identity: ModelIdentity, pair_ids: list[str]) -> list[str]:
    """Pairs with neither report nor lasting refusal by this model, whatever the job engine remembers of them."""
    work = {identity.report_id(pair_id): pair_id for pair_id in pair_ids}
    with database.read() as session:
        settled = store.settled_work(session, list(work))
    return [pair_id for report_id, pair_id in work.items() if report_id not in settled]
