"""How is what was found written down? Every write is here, and each may be repeated without effect."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import numpy as np
from sqlalchemy import Select, Table, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ingest.acquisition import Acquisition as IndexedAcquisition
from ingest.catalogue import Names, batches
from ingest.errors import Refusal as IndexedRefusal
from ingest.grid import grid_values
from ingest.pairing import Pair as IndexedPair
from services.database import ReadSession, WriteSession
from services.digest import digest
from services.identity import ModelIdentity
from services.predictor import Prediction
from services.tables import Acquisition, Archive, Audit, Base, Finding, Pair, Refusal, Report, Takeover, Worker, utc_now

#: Code of a job that broke; unlike other refusals it is tried again by the next run.
FAILED = "FAILED"


def archive_key(root: str) -> str:
    """Id of the archive at a resolved path."""
    return digest(root)


def acquisition_key(archive_id: str, acquisition: IndexedAcquisition) -> str:
    """Id of an acquisition's row."""
    return digest(archive_id, acquisition.name, acquisition.sha256, acquisition.id)


def pair_key(archive_id: str, pair: IndexedPair) -> str:
    """Id of a pair's row."""
    return digest(archive_id, pair.id, pair.prior.name, pair.current.name)


def put_archive(session: WriteSession, *, root: str, name: str) -> str:
    """Stores an archive if it is not there; gives its id."""
    key = archive_key(root)
    _insert(session, Archive, [{"id": key, "root": root, "name": name, "files_seen": 0, "sidecars": 0}])
    return key


def put_counts(session: WriteSession, archive_id: str, *, files_seen: int, sidecars: int) -> None:
    """Notes how many files an archive holds."""
    counts = {"files_seen": files_seen, "sidecars": sidecars}
    session.execute(update(Archive).where(Archive.id == archive_id).values(counts))


def put_acquisitions(session: WriteSession, archive_id: str, acquisitions: Iterable[IndexedAcquisition]) -> int:
    """Stores acquisitions; gives how many are new."""
    return _insert(
        session,
        Acquisition,
        (
            {
                "id": acquisition_key(archive_id, one),
                "archive_id": archive_id,
                "uid": one.id,
                "domain": str(one.domain),
                "subject": one.subject,
                "time": one.time.isoformat() if one.time else None,
                "time_source": one.time_source,
                "name": one.name,
                "location": _location(one.path, one.name),
                "sha256": one.sha256,
                "pixel_sha256": one.pixel_sha256,
                "grid": grid_values(one.grid),
                "group": one.group,
                "view": one.view,
                "study": one.study,
                "files": [
                    {"name": file.name, "location": _location(file.path, file.name), "sha256": file.sha256}
                    for file in one.files
                ],
                "attributes": dict(one.attributes),
            }
            for one in acquisitions
        ),
    )


def _location(path: Path, name: str) -> str:
    # The name is for reading: bytes that are no UTF-8 are escaped in it. It has as many parts as the real path below
    # the archive's root.
    parts = path.parts[-(name.count("/") + 1) :]
    return quote(os.fsencode("/".join(parts)))


def put_pairs(session: WriteSession, archive_id: str, pairs: Iterable[IndexedPair]) -> int:
    """Stores pairs whose acquisitions are stored; gives how many are new."""
    return _insert(session, Pair, (_pair_row(archive_id, pair) for pair in pairs))


def _pair_row(archive_id: str, pair: IndexedPair) -> dict[str, Any]:
    key = pair_key(archive_id, pair)
    time = pair.current.time.isoformat() if pair.current.time else ""
    return {
        "id": key,
        "archive_id": archive_id,
        "content_id": pair.id,
        "sort_key": f"{pair.domain}/{pair.subject}/{time}/{key}",
        "domain": str(pair.domain),
        "subject": pair.subject,
        "prior_id": acquisition_key(archive_id, pair.prior),
        "current_id": acquisition_key(archive_id, pair.current),
        "interval_days": pair.interval_days,
        "reason": pair.reason,
        "warnings": list(pair.warnings),
    }


def put_refusals(session: WriteSession, archive_id: str, refusals: Iterable[IndexedRefusal], *, work: str = "") -> int:
    """Stores refusals; gives how many are new."""
    return _insert(session, Refusal, (_refusal_row(archive_id, one, work) for one in refusals))


@dataclass
class Present:
    """Ids of the rows that an archive has as it is now."""

    acquisitions: Names = field(default_factory=Names)
    pairs: Names = field(default_factory=Names)
    refusals: Names = field(default_factory=Names)


def drop_stale(session: WriteSession, archive_id: str, present: Present) -> None:
    """Removes rows of an earlier state of the archive.

    A pair that has a report stays, with its acquisitions: what was reported is not undone by a file that is gone.
    """
    of_index = select(Refusal.id).where(Refusal.archive_id == archive_id, Refusal.work == "")
    _delete(session, Refusal, of_index, present.refusals)
    unreported = select(Pair.id).where(
        Pair.archive_id == archive_id, ~select(Report.id).where(Report.pair_id == Pair.id).exists()
    )
    gone = _delete(session, Pair, unreported, present.pairs)
    for keys in batches(gone):
        session.execute(delete(Refusal).where(Refusal.archive_id == archive_id, Refusal.item.in_(keys)))
    unpaired = select(Acquisition.id).where(
        Acquisition.archive_id == archive_id,
        Acquisition.id.not_in(select(Pair.prior_id).where(Pair.archive_id == archive_id)),
        Acquisition.id.not_in(select(Pair.current_id).where(Pair.archive_id == archive_id)),
    )
    _delete(session, Acquisition, unpaired, present.acquisitions)


def _delete(session: WriteSession, table: type[Base], ids: Select[str], present: Names) -> list[str]:
    """Removes the rows that are not present; gives their ids."""
    stored = session.scalars(ids, execution_options={"yield_per": 1000})
    gone = [key for key in stored if key not in present]
    for keys in batches(gone):
        session.execute(delete(table).where(cast(Table, table.__table__).c.id.in_(keys)))
    return gone


def refusal_key(archive_id: str, refusal: IndexedRefusal, work: str) -> str:
    """Id of a refusal's row."""
    return digest(archive_id, refusal.item, refusal.level, refusal.code, work)


def _refusal_row(archive_id: str, refusal: IndexedRefusal, work: str) -> dict[str, Any]:
    return {
        "id": refusal_key(archive_id, refusal, work),
        "archive_id": archive_id,
        "item": refusal.item,
        "level": refusal.level,
        "code": refusal.code,
        "reason": refusal.reason,
        "work": work,
    }


def put_report(
    session: WriteSession,
    *,
    pair: Pair,
    identity: ModelIdentity,
    prediction: Prediction,
    quality: dict[str, float],
    warnings: Sequence[str],
    provenance: dict[str, Any],
    prior_jpeg: bytes,
    current_jpeg: bytes,
) -> bool:
    """Stores a report with its findings, and withdraws the job's earlier failure; False if the report was there.

    A report that is there keeps its text and findings, whatever a second computation gave.
    """
    key = identity.report_id(pair.id)
    evidence = np.ascontiguousarray(prediction.evidence, dtype="<f2")
    findings = [
        {
            "id": f"{key}-{ordinal:03d}-1",
            "report_id": key,
            "ordinal": ordinal,
            "version": 1,
            "author": "model",
            "domain": str(one.domain),
            "finding": one.finding,
            "place": one.place,
            "change": str(one.change),
            "certainty": str(one.certainty),
            "score": None,
        }
        for ordinal, one in enumerate(prediction.findings)
    ]
    stated = [[row[column] for column in ("finding", "place", "change", "certainty")] for row in findings]
    content = hashlib.sha256(json.dumps([prediction.text, prediction.raw_output, stated]).encode())
    content.update(evidence.tobytes())
    row = {
        "id": key,
        "pair_id": pair.id,
        "domain": pair.domain,
        "model_name": identity.name,
        "model_hash": identity.model_hash,
        "adapter_hash": identity.adapter_hash,
        "prompt_version": identity.prompt_version,
        "content_sha256": content.hexdigest(),
        "text": prediction.text,
        "raw_output": prediction.raw_output,
        "unparsed": list(prediction.unparsed),
        "quality": quality,
        "warnings": list(warnings),
        "provenance": provenance,
        "evidence_rows": evidence.shape[0],
        "evidence_columns": evidence.shape[1],
        "evidence": evidence.tobytes(),
        "prior_jpeg": prior_jpeg,
        "current_jpeg": current_jpeg,
    }
    session.execute(delete(Refusal).where(Refusal.work == key, Refusal.code == FAILED))
    session.execute(delete(Takeover).where(Takeover.id == key))
    if _insert(session, Report, [row]) == 0:
        return False
    _insert(session, Finding, findings)
    return True


def put_audit(session: WriteSession, *, values: dict[str, Any]) -> str:
    """Stores an audit under the hash of what it was made from; gives its id."""
    key = digest(
        values["domain"],
        values["model_hash"],
        values["adapter_hash"],
        values["prompt_version"],
        values["labels_sha256"],
        values["reports_sha256"],
    )
    _insert(session, Audit, [{"id": key, **values}])
    return key


def reported_work(session: ReadSession, report_ids: Sequence[str]) -> set[str]:
    """Those of the report ids whose report is there."""
    return {
        key for keys in batches(report_ids) for key in session.scalars(select(Report.id).where(Report.id.in_(keys)))
    }


def settled_work(session: ReadSession, report_ids: Sequence[str]) -> set[str]:
    """Those of the report ids that need no job: the report is there, or a refusal that stays one."""
    settled = reported_work(session, report_ids)
    for keys in batches(report_ids):
        settled.update(session.scalars(select(Refusal.work).where(Refusal.work.in_(keys), Refusal.code != FAILED)))
    return settled


def failed_work(session: ReadSession, report_ids: Sequence[str]) -> set[str]:
    """Those of the report ids whose job broke."""
    failed: set[str] = set()
    for keys in batches(report_ids):
        failed.update(session.scalars(select(Refusal.work).where(Refusal.work.in_(keys), Refusal.code == FAILED)))
    return failed


def absent_pairs(session: ReadSession, pair_ids: Sequence[str]) -> set[str]:
    """Those of the pairs that have no row."""
    absent = set(pair_ids)
    for keys in batches(pair_ids):
        absent.difference_update(session.scalars(select(Pair.id).where(Pair.id.in_(keys))))
    return absent


def drop_failures(session: WriteSession, report_ids: Sequence[str]) -> None:
    """Withdraws the failures of jobs that are tried again."""
    for keys in batches(report_ids):
        session.execute(delete(Refusal).where(Refusal.work.in_(keys), Refusal.code == FAILED))


def count_takeover(session: WriteSession, report_id: str) -> int:
    """Notes that a job's worker died under it; gives how often that has happened."""
    _insert(session, Takeover, [{"id": report_id, "count": 0}])
    session.execute(update(Takeover).where(Takeover.id == report_id).values(count=Takeover.count + 1))
    return session.scalar(select(Takeover.count).where(Takeover.id == report_id)) or 0


def beat(session: WriteSession, worker_id: str, *, machine: str, pid: int) -> None:
    """Notes that a worker lives."""
    row = {"id": worker_id, "machine": machine, "pid": pid, "started_at": utc_now(), "beats": 0, "beat_at": utc_now()}
    _insert(session, Worker, [row])
    session.execute(
        update(Worker).where(Worker.id == worker_id).values(beats=Worker.beats + 1, beat_at=utc_now(), stopped_at=None)
    )


def stop_worker(session: WriteSession, worker_id: str) -> None:
    """Notes that a worker ended in order."""
    session.execute(update(Worker).where(Worker.id == worker_id).values(stopped_at=utc_now()))


def drop_workers(session: WriteSession, worker_ids: Sequence[str]) -> None:
    """Forgets workers that hold no job."""
    session.execute(delete(Worker).where(Worker.id.in_(worker_ids)))


def _insert(session: WriteSession, table: type[Base], rows: Iterable[dict[str, Any]]) -> int:
    """Inserts the rows whose primary key `id` is not there; gives how many were new."""
    make_insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    plain = cast(Table, table.__table__)
    added = 0
    for batch in batches(rows):
        statement = make_insert(plain).on_conflict_do_nothing(index_elements=["id"])
        # The rows that come back are counted: not every driver knows how many a statement with several rows inserted.
        added += len(session.execute(statement.returning(plain.c.id), batch).all())
    return added
