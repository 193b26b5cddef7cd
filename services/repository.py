"""What does the database know? Every question is here; what is written is in `store.py`."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, func, select
from sqlalchemy.orm import joinedload, selectinload, undefer
from sqlalchemy.orm.interfaces import ORMOption

from services.database import ReadSession
from services.errors import RecordNotFound
from services.identity import ModelIdentity
from services.paging import DEFAULT_LIMIT, MAX_LIMIT, Page, fetch_page
from services.tables import Acquisition, Archive, Audit, Base, Finding, Pair, Refusal, Report

Record = TypeVar("Record", bound=Base)


def list_archives(session: ReadSession, *, cursor: str | None = None, limit: int = DEFAULT_LIMIT) -> Page[Archive]:
    """Archives that were run, by id."""
    return fetch_page(session, select(Archive), [Archive.id], cursor=cursor, limit=limit)


def list_acquisitions(
    session: ReadSession,
    *,
    archive_id: str | None = None,
    domain: str | None = None,
    subject: str | None = None,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page[Acquisition]:
    """Usable images and scenes, by archive and name."""
    query = _where(
        select(Acquisition),
        {Acquisition.archive_id: archive_id, Acquisition.domain: domain, Acquisition.subject: subject},
    )
    return fetch_page(
        session, query, [Acquisition.archive_id, Acquisition.name, Acquisition.id], cursor=cursor, limit=limit
    )


def list_pairs(
    session: ReadSession,
    *,
    archive_id: str | None = None,
    domain: str | None = None,
    subject: str | None = None,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page[Pair]:
    """Pairs with their two acquisitions, by domain, subject and time of the current."""
    query = _where(select(Pair), {Pair.archive_id: archive_id, Pair.domain: domain, Pair.subject: subject})
    return fetch_page(
        session,
        query.options(joinedload(Pair.prior), joinedload(Pair.current)),
        [Pair.sort_key],
        cursor=cursor,
        limit=limit,
    )


def list_reports(
    session: ReadSession,
    *,
    archive_id: str | None = None,
    domain: str | None = None,
    subject: str | None = None,
    pair_id: str | None = None,
    model_hash: str | None = None,
    adapter_hash: str | None = None,
    prompt_version: str | None = None,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page[Report]:
    """Reports with findings, pair and acquisitions, in the order of the pairs; images and evidence stay unloaded."""
    query = _where(
        select(Report).join(Report.pair),
        {
            Pair.archive_id: archive_id,
            Pair.domain: domain,
            Pair.subject: subject,
            Report.pair_id: pair_id,
            Report.model_hash: model_hash,
            Report.adapter_hash: adapter_hash,
            Report.prompt_version: prompt_version,
        },
    )
    return fetch_page(session, query.options(*_report_parts()), [Pair.sort_key, Report.id], cursor=cursor, limit=limit)


def list_findings(
    session: ReadSession,
    *,
    archive_id: str | None = None,
    domain: str | None = None,
    finding: str | None = None,
    change: str | None = None,
    place: str | None = None,
    certainty: str | None = None,
    subject: str | None = None,
    pair_id: str | None = None,
    report_id: str | None = None,
    model_hash: str | None = None,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page[Finding]:
    """Findings with report, pair and acquisitions, in the order of the pairs, then as the report names them."""
    query = _where(
        select(Finding).join(Finding.report).join(Report.pair),
        {
            Pair.archive_id: archive_id,
            Finding.domain: domain,
            Finding.finding: finding,
            Finding.change: change,
            Finding.place: place,
            Finding.certainty: certainty,
            Pair.subject: subject,
            Report.pair_id: pair_id,
            Finding.report_id: report_id,
            Report.model_hash: model_hash,
        },
    )
    pair = joinedload(Finding.report).joinedload(Report.pair)
    return fetch_page(
        session,
        query.options(pair.joinedload(Pair.prior), pair.joinedload(Pair.current)),
        [Pair.sort_key, Report.id, Finding.ordinal, Finding.version],
        cursor=cursor,
        limit=limit,
    )


def list_refusals(
    session: ReadSession,
    *,
    archive_id: str | None = None,
    level: str | None = None,
    code: str | None = None,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page[Refusal]:
    """What gives no report and why, by archive, level and item."""
    query = _where(select(Refusal), {Refusal.archive_id: archive_id, Refusal.level: level, Refusal.code: code})
    return fetch_page(
        session,
        query,
        [Refusal.archive_id, Refusal.level, Refusal.item, Refusal.id],
        cursor=cursor,
        limit=limit,
    )


def list_audits(
    session: ReadSession, *, domain: str | None = None, cursor: str | None = None, limit: int = DEFAULT_LIMIT
) -> Page[Audit]:
    """Stored audits, by domain and id."""
    query = _where(select(Audit), {Audit.domain: domain})
    return fetch_page(session, query, [Audit.domain, Audit.id], cursor=cursor, limit=limit)


def get_archive(session: ReadSession, archive_id: str) -> Archive:
    """One archive.

    Raises:
        RecordNotFound: No archive has this id.
    """
    return _one(session, Archive, archive_id)


def get_pair(session: ReadSession, pair_id: str) -> Pair:
    """One pair with its acquisitions and archive.

    Raises:
        RecordNotFound: No pair has this id.
    """
    return _one(session, Pair, pair_id, joinedload(Pair.prior), joinedload(Pair.current), joinedload(Pair.archive))


def get_report(session: ReadSession, report_id: str) -> Report:
    """One report with everything, images and evidence included.

    Raises:
        RecordNotFound: No report has this id.
    """
    images = [undefer(column) for column in (Report.evidence, Report.prior_jpeg, Report.current_jpeg)]
    return _one(session, Report, report_id, *_report_parts(), *images)


def get_finding(session: ReadSession, finding_id: str) -> Finding:
    """One finding with report, pair and acquisitions.

    Raises:
        RecordNotFound: No finding has this id.
    """
    pair = joinedload(Finding.report).joinedload(Report.pair)
    return _one(session, Finding, finding_id, pair.joinedload(Pair.prior), pair.joinedload(Pair.current))


def get_refusal(session: ReadSession, refusal_id: str) -> Refusal:
    """One refusal.

    Raises:
        RecordNotFound: No refusal has this id.
    """
    return _one(session, Refusal, refusal_id)


def get_audit(session: ReadSession, audit_id: str) -> Audit:
    """One audit.

    Raises:
        RecordNotFound: No audit has this id.
    """
    return _one(session, Audit, audit_id)


def evidence_map(report: Report) -> NDArray[np.float32]:
    """Update map of a report from `get_report`, (rows, columns)."""
    flat = np.frombuffer(report.evidence, dtype="<f2")
    return flat.reshape(report.evidence_rows, report.evidence_columns).astype(np.float32)


def count_rows(session: ReadSession) -> dict[str, int]:
    """Rows of each table that a reader asks about, by table name."""
    tables = (Archive, Acquisition, Refusal, Pair, Report, Finding, Audit)
    return {table.__tablename__: _count(session, table) for table in tables}


def count_refusals(session: ReadSession, archive_id: str | None = None) -> dict[str, int]:
    """Refusals by reason code, sorted by code."""
    query = select(Refusal.code, func.count()).group_by(Refusal.code).order_by(Refusal.code)
    if archive_id is not None:
        query = query.where(Refusal.archive_id == archive_id)
    return dict(session.execute(query).all())


def iterate_reports(session: ReadSession, **filters: str | None) -> Iterator[Report]:
    """Every report that `list_reports` gives with these filters, page by page, so memory stays flat."""
    return _iterate(session, lambda cursor: list_reports(session, cursor=cursor, limit=MAX_LIMIT, **filters))


def iterate_findings(session: ReadSession, **filters: str | None) -> Iterator[Finding]:
    """Every finding that `list_findings` gives with these filters, likewise."""
    return _iterate(session, lambda cursor: list_findings(session, cursor=cursor, limit=MAX_LIMIT, **filters))


def iterate_refusals(session: ReadSession, **filters: str | None) -> Iterator[Refusal]:
    """Every refusal that `list_refusals` gives with these filters, likewise."""
    return _iterate(session, lambda cursor: list_refusals(session, cursor=cursor, limit=MAX_LIMIT, **filters))


def _iterate(session: ReadSession, fetch: Callable[[str | None], Page[Record]]) -> Iterator[Record]:
    cursor: str | None = None
    while True:
        page = fetch(cursor)
        yield from page.items
        session.expunge_all()
        cursor = page.next_cursor
        if cursor is None:
            return


def list_models(session: ReadSession, *, domain: str | None = None) -> list[ModelIdentity]:
    """Which models made the stored reports, by name and hashes."""
    columns = (Report.model_name, Report.model_hash, Report.adapter_hash, Report.prompt_version)
    query = select(*columns).distinct().order_by(*columns)
    if domain is not None:
        query = query.where(Report.domain == domain)
    return [
        ModelIdentity(name=name, model_hash=model, adapter_hash=adapter, prompt_version=prompt)
        for name, model, adapter, prompt in session.execute(query)
    ]


def _report_parts() -> list[ORMOption]:
    pair = joinedload(Report.pair)
    return [pair.joinedload(Pair.prior), pair.joinedload(Pair.current), selectinload(Report.findings)]


def _where(query: Select[Any], filters: dict[Any, str | None]) -> Select[Any]:
    for column, value in filters.items():
        if value is not None:
            query = query.where(column == value)
    return query


def _one(session: ReadSession, table: type[Record], key: str, *options: ORMOption) -> Record:
    row = session.get(table, key, options=options, populate_existing=True)
    if row is None:
        raise RecordNotFound(f"No {table.__tablename__} has the id {key!r}; list them to see which exist.")
    return row


def _count(session: ReadSession, table: type[Base]) -> int:
    return session.scalar(select(func.count()).select_from(table)) or 0
