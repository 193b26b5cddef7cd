"""How are the records of an archive's files kept in the database?"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from operator import attrgetter
from typing import Any, cast

from sqlalchemy import (
    Cast,
    ColumnElement,
    Row,
    Select,
    Table,
    Text,
    and_,
    delete,
    func,
    or_,
    select,
    true,
)

from ingest.catalogue import Names, batches
from ingest.record import DESCRIPTION, DIRECTORY, FAILED, IMAGE, REFUSED, Record, Seal, Stamp
from ingest.verify import decoders
from services.database import Database
from services.tables import File

_FILE = cast(Table, File.__table__)
_STAMP = Stamp._fields
_PLAIN = tuple(one.name for one in fields(Record) if one.name != "stamp")
#: Names of the columns for `_STAMP` and `_PLAIN`.
_NAMES = (*_STAMP, *(name.removesuffix("_json") for name in _PLAIN))
_values_of = attrgetter(*_PLAIN)
# The header is written and read as the text that it is: most who read a record do not look at it.
_COLUMNS = [Cast(_FILE.c.header, Text) if name == "header" else _FILE.c[name] for name in _NAMES]
_SEAL = ("name", "read_at_ns", "reader", *_STAMP)
#: Rows fetched from the database at a time.
_FETCHED = 1000


class DatabaseCatalogue:
    """Records of one archive in the table `file`; an `ingest.catalogue.Catalogue`.

    Every write is a transaction of its own, so that a run that is killed has lost only what it was about to write.

    Args:
        database: Migrated database.
        archive_id: Key of the archive.
    """

    def __init__(self, database: Database, archive_id: str) -> None:
        self.database = database
        self.archive_id = archive_id
        self._seals = _seals(database)
        self._insert = _insert(database)
        self._prefix = archive_id.encode()
        self._folder = "", hashlib.sha256(self._prefix).hexdigest()[:12]

    def seals(self, names: Sequence[str]) -> Mapping[str, Seal]:
        """When and in what state those of the files that are known were read."""
        found: dict[str, Seal] = {}
        with self.database.read() as session:
            driver = cast(Any, session.connection().connection.driver_connection)
            for batch in batches(names):
                keys = [self._key(name) for name in batch]
                wanted = json.dumps(keys) if self.database.is_sqlite else keys
                found |= {row[0]: row for row in driver.execute(self._seals, (wanted,)).fetchall()}
        return found

    def keep(self, records: Iterable[Record]) -> None:
        """Writes records in place of what was known of their files."""
        rows = [self._row(one) for one in records]
        if not rows:
            return
        with self.database.write() as session:
            session.connection().exec_driver_sql(self._insert, rows)

    def forget_others(self, present: Names) -> None:
        """Drops the records of all files but these."""
        with self.database.read() as session:
            stored = session.scalar(select(func.count()).where(_FILE.c.archive_id == self.archive_id)) or 0
            if stored == len(present):
                return
            names = session.execute(
                select(_FILE.c.id, _FILE.c.name).where(_FILE.c.archive_id == self.archive_id),
                execution_options={"yield_per": _FETCHED},
            )
            gone = (key for key, name in names if name not in present)
            for keys in batches(gone):
                with self.database.write() as writing:
                    writing.execute(delete(_FILE).where(_FILE.c.id.in_(keys)))

    def records(self) -> Iterator[Record]:
        """Every record, in an order of the catalogue's own."""
        return self._stream(self._select())

    def images(self, domain: str) -> Iterator[Record]:
        """Records of a domain's files that are used, or would be but for their pixels, patient by patient."""
        query = self._select().where(
            _FILE.c.domain == domain, _FILE.c.status.in_((IMAGE, REFUSED)), _FILE.c.double_code == ""
        )
        return (one for one in self._stream(query.order_by(_FILE.c.subject)) if one.may_be_used)

    def unverified(self, domain: str | None = None) -> Iterator[Record]:
        """Records of files whose pixels no one has tried to decode, or that other decoders failed on."""
        return self._stream(self._select().where(_is_unverified(domain)))

    def count_unverified(self, domain: str | None = None) -> int:
        """How many records `unverified` gives."""
        with self.database.read() as session:
            query = select(func.count()).where(_FILE.c.archive_id == self.archive_id, _is_unverified(domain))
            return session.scalar(query) or 0

    def doubles(self) -> Iterator[list[Record]]:
        """Records of files with pixels that share a SOP Instance UID, together; single ones that no longer do, too."""
        shared = _FILE.c.uid.in_(self._shared())
        query = self._select().where(_FILE.c.has_pixels, shared).order_by(_FILE.c.uid, _FILE.c.name)
        return (list(group) for _, group in groupby(self._stream(query), key=lambda one: one.uid))

    def has_doubles(self) -> bool:
        """True if `doubles` gives any."""
        with self.database.read() as session:
            return session.scalar(self._shared().limit(1)) is not None

    def directories(self) -> Iterator[Record]:
        """Records of the directories of DICOM file sets."""
        return self._stream(self._select().where(_FILE.c.status == DIRECTORY))

    def descriptions(self) -> Iterator[Record]:
        """Records of files that describe scenes, in the order of their names."""
        return self._stream(self._select().where(_FILE.c.status == DESCRIPTION).order_by(_FILE.c.name))

    def _select(self) -> Select[Any]:
        return select(*_COLUMNS).where(_FILE.c.archive_id == self.archive_id)

    def _shared(self) -> Select[Any]:
        """UIDs that `doubles` is about."""
        return (
            select(_FILE.c.uid)
            .where(_FILE.c.archive_id == self.archive_id, _FILE.c.uid != "", _FILE.c.has_pixels)
            .group_by(_FILE.c.uid)
            .having(or_(func.count() > 1, func.max(_FILE.c.double_code) != ""))
        )

    def _stream(self, query: Select[Any]) -> Iterator[Record]:
        with (
            self.database.read() as session,
            session.execute(query, execution_options={"yield_per": _FETCHED}) as rows,
        ):
            for row in rows:
                yield _record(row)

    def _key(self, name: str) -> str:
        # Keys of one folder begin alike, so that looking up a folder's files touches few pages of the database.
        folder = name[: name.rfind("/") + 1]
        if folder != self._folder[0]:
            self._folder = folder, hashlib.sha256(self._prefix + folder.encode()).hexdigest()[:12]
        return self._folder[1] + hashlib.sha256(self._prefix + name.encode()).hexdigest()[:20]

    def _row(self, record: Record) -> tuple[Any, ...]:
        """Values in the order of `_insert`."""
        return (self._key(record.name), self.archive_id, *record.stamp, *_values_of(record))


def _insert(database: Database) -> str:
    """Statement that writes a row in place of one with the same id, with a place for each value in their order.

    Given to the driver as it is: what SQLAlchemy does to each row of its own statements takes as long as the writing.
    """
    names = ("id", "archive_id", *_NAMES)
    place = "?" if database.is_sqlite else "%s"
    kept = ", ".join(f"{name} = excluded.{name}" for name in _NAMES if name != "name")
    return (
        f"INSERT INTO {_FILE.name} ({', '.join(names)}) VALUES ({', '.join([place] * len(names))}) "
        f"ON CONFLICT (id) DO UPDATE SET {kept}"
    )


def _seals(database: Database) -> str:
    """Statement that gives the seals of the rows whose ids are in a list, its one value.

    Given to the driver as it is, too: a second index gets a row for each file and does little else.
    """
    names = ", ".join(_SEAL)
    if database.is_sqlite:
        # hundreds of values would take longer to write than to look up
        return f"SELECT {names} FROM json_each(?) CROSS JOIN {_FILE.name} ON {_FILE.name}.id = value"
    return f"SELECT {names} FROM {_FILE.name} WHERE id = ANY(%s)"


def _record(row: Row[Any]) -> Record:
    values = tuple(row)
    n_stamp = len(_STAMP)
    return Record(
        stamp=Stamp(*values[:n_stamp]),
        **dict(zip(_PLAIN, values[n_stamp:], strict=True)),
    )


def _is_unverified(domain: str | None) -> ColumnElement[bool]:
    other = and_(_FILE.c.verified_with.startswith(FAILED), _FILE.c.verified_with != FAILED + decoders())
    wanted = true() if domain is None else _FILE.c.domain == domain
    return and_(wanted, _FILE.c.has_pixels, or_(_FILE.c.verified_with == "", other))
