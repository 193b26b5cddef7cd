"""How is the database opened, and who may write?"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NewType

from sqlalchemy import Connection, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from services.errors import DatabaseUnusable

#: A session for reading; the database itself refuses writes through it.
ReadSession = NewType("ReadSession", Session)

#: A session for writing; wherever reading is enough, it serves as well.
WriteSession = NewType("WriteSession", ReadSession)

#: How long a writer waits for another one, in milliseconds.
BUSY_TIMEOUT_MS = 30_000

#: Pages of 4 KiB that the write-ahead log has before it is written back. Ten times SQLite's own: an index touches most
#: pages of its keys with every few thousand rows, and to write them back each time takes as long as the rows.
_CHECKPOINT_PAGES = 10_000


class Database:
    """Engine and sessions of one database.

    Args:
        url: SQLAlchemy URL; `postgresql://` means psycopg 3.

    Raises:
        DatabaseUnusable: The URL names no SQLite or PostgreSQL database.
    """

    def __init__(self, url: str) -> None:
        try:
            self.url = make_url(url)
        except ArgumentError as error:
            raise DatabaseUnusable(
                "The database URL is not of the form sqlite:///file.sqlite or postgresql://host/name."
            ) from error
        if self.url.drivername in ("postgresql", "postgres"):
            self.url = self.url.set(drivername="postgresql+psycopg")
        if self.url.get_backend_name() not in ("sqlite", "postgresql"):
            raise DatabaseUnusable("Only SQLite and PostgreSQL databases are supported; change the database URL.")
        self.engine = create_engine(self.url, pool_pre_ping=not self.is_sqlite)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        self._reading = self.engine.execution_options(interval_write=False, postgresql_readonly=True)
        self._writing = self.engine.execution_options(interval_write=True)

    @property
    def is_sqlite(self) -> bool:
        """True for a SQLite file, False for a PostgreSQL server."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def read(self) -> Iterator[ReadSession]:
        """A session that cannot write; rows stay usable after it ends."""
        with Session(self._reading, expire_on_commit=False) as session:
            yield ReadSession(session)

    @contextmanager
    def write(self) -> Iterator[WriteSession]:
        """A session that is committed when the block ends, and rolled back when it raises."""
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield WriteSession(ReadSession(session))

    def dispose(self) -> None:
        """Closes every connection."""
        self.engine.dispose()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver opens transactions on its own and too late for us; with None, `_begin_sqlite` does.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    """Switches to a write-ahead log. Two that switch at once are told "locked" at once, whatever the busy timeout."""
    ends = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # The low byte is the kind; what lies above it says why.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once when another one wrote in between, whatever the
    # busy timeout; asking for the write lock at the start makes it wait instead.
    if connection.get_execution_options().get("interval_write") is False:
        connection.exec_driver_sql("PRAGMA query_only = ON")
        connection.exec_driver_sql("BEGIN")
    else:
        connection.exec_driver_sql("PRAGMA query_only = OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
