"""Laws of the tables: times keep their moment, relations are never loaded in silence, doubles are impossible."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import inspect, select
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError, OperationalError, StatementError
from sqlalchemy.orm import configure_mappers

from services.database import Database
from services.errors import DatabaseUnusable
from services.tables import Acquisition, Archive, Base, Pair, Refusal, Worker

MOMENT = datetime(2026, 3, 29, 1, 30, tzinfo=timezone(timedelta(hours=2)))


def make_archive(key: str = "a") -> Archive:
    return Archive(id=key, root="/archive", name="archive", files_seen=1, sidecars=0)


def make_refusal(key: str, code: str = "NO_PRIOR") -> Refusal:
    return Refusal(id=key, archive_id="a", item="x", level="file", code=code, reason="It is so.")


def make_acquisition() -> Acquisition:
    return Acquisition(
        id="q", archive_id="a", uid="u", domain="satellite", subject="s", time=None, time_source="", name="n",
        location="n", sha256="", pixel_sha256="", grid={}, group="", view="", study="", attributes={},
    )  # fmt: skip


def test_a_time_comes_back_as_the_same_moment_in_utc(database: Database) -> None:
    with database.write() as session:
        session.add(Worker(id="w", machine="m", pid=1, beats=0, started_at=MOMENT, beat_at=MOMENT, stopped_at=None))

    with database.read() as session:
        found = session.scalars(select(Worker)).one()

    assert found.started_at == MOMENT
    assert found.started_at.tzinfo is UTC
    assert found.stopped_at is None


def test_a_time_without_zone_is_refused(database: Database) -> None:
    naive = MOMENT.replace(tzinfo=None)

    with pytest.raises(StatementError, match="time zone"), database.write() as session:
        session.add(Worker(id="w", machine="m", pid=1, beats=0, started_at=naive, beat_at=MOMENT))


def test_every_relation_must_be_asked_for() -> None:
    configure_mappers()
    loading = {
        f"{mapper.class_.__name__}.{relation.key}": relation.lazy
        for mapper in Base.registry.mappers
        for relation in inspect(mapper.class_).relationships
    }

    assert loading
    assert set(loading.values()) == {"raise"}


def test_an_unasked_relation_fails_loudly(database: Database) -> None:
    with database.write() as session:
        session.add(make_archive())
        session.flush()
        session.add(make_acquisition())
        session.flush()
        session.add(
            Pair(
                id="p", archive_id="a", content_id="c", sort_key="k", domain="satellite", subject="s", prior_id="q",
                current_id="q", interval_days=1.0, reason="", warnings=[],
            )
        )  # fmt: skip

    with database.read() as session, pytest.raises(InvalidRequestError, match="lazy='raise'"):
        _ = session.scalars(select(Pair)).one().prior


def test_the_database_forbids_the_same_refusal_twice(database: Database) -> None:
    with database.write() as session:
        session.add(make_archive())
        session.flush()
        session.add(make_refusal("1"))
        session.add(make_refusal("2", code="OTHER"))

    with pytest.raises(IntegrityError), database.write() as session:
        session.add(make_refusal("3"))


def test_the_database_forbids_a_refusal_without_archive(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(make_refusal("1"))


def test_a_reading_session_cannot_write(database: Database) -> None:
    with pytest.raises(DBAPIError, match=r"readonly|read-only"), database.read() as session:
        session.add(make_archive())
        session.flush()


def test_what_raises_in_a_writing_session_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as session:
        session.add(make_archive())
        session.flush()
        raise RuntimeError

    with database.read() as session:
        assert session.scalars(select(Archive)).all() == []


def test_sqlite_lets_a_reader_work_while_another_writes(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    Base.metadata.create_all(database.engine)

    with database.write() as writing:
        writing.add(make_archive())
        writing.flush()
        with database.read() as reading:
            seen = reading.scalars(select(Archive)).all()

    assert seen == []
    database.dispose()


def test_a_rolled_back_sqlite_file_says_why_it_cannot_be_opened() -> None:
    database = Database("sqlite:////proc/nowhere/interval.sqlite")

    with pytest.raises(OperationalError), database.read() as session:
        session.scalars(select(Archive)).all()


@pytest.mark.parametrize("url", ["", "interval.sqlite", "mysql://host/name", "oracle://host/name"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(DatabaseUnusable):
        Database(url)
