"""Which rows does the database hold?

Primary keys are natural keys or content hashes, never counters or random numbers: a run that was killed and started
again ends with the same rows as an undisturbed one.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time, stored and returned in UTC; SQLite has no time zones of its own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The value in UTC; without time zone where the database keeps none.

        Raises:
            ValueError: The value has no time zone.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored point in time needs a time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The value with the time zone UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Days(TypeDecorator[float]):
    """Days between the acquisitions of a pair; None, where only their order is known, is stored as -1.

    A column that may be null would mean to write the table anew, with the reports that point to it.
    """

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, _dialect: Dialect) -> float | None:
        """The number that is stored."""
        return -1.0 if value is None else value

    def process_result_value(self, value: float | None, _dialect: Dialect) -> float | None:
        """The days; None for -1."""
        return None if value is None or value < 0 else value


def utc_now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """Common ground of all tables: naming convention and column types."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads this class attribute by name
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(),
        list[str]: JSON(),
        list[dict[str, Any]]: JSON(),
        bytes: LargeBinary(),
        str: String(),
    }

    def __repr__(self) -> str:
        keys = ", ".join(str(self.__dict__.get(column.name)) for column in self.__table__.primary_key)
        return f"{type(self).__name__}({keys})"


class Archive(Base):
    """One folder that was given to `interval run`.

    Attributes:
        id: First 32 hex digits of the sha256 of the resolved path.
        root: Absolute path, for the jobs that open the files; never leaves the database.
        name: Last part of the path, for display.
        files_seen: Files of the latest index; acquisitions, file refusals and sidecars add up to it.
        sidecars: Files that accompany others and are no refusals, in the latest index.
    """

    __tablename__ = "archive"

    id: Mapped[str] = mapped_column(primary_key=True)
    root: Mapped[str] = mapped_column(Text)
    name: Mapped[str]
    files_seen: Mapped[int]
    sidecars: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Acquisition(Base):
    """One usable image of a study, or one scene; the columns are those of `ingest.acquisition.Acquisition`.

    Attributes:
        id: Hash of archive, name and file hash.
        uid: `Acquisition.id`: SOP Instance UID, or `scene:<hash>`.
        time: ISO 8601 as recorded, without invented offset.
        location: Path relative to the archive, percent-encoded: it opens the file whatever bytes its name holds.
        grid: Affine, height, width, frame.
        files: Name, location and hash of each file of a volume, in order; empty for a single file.
    """

    __tablename__ = "acquisition"
    __table_args__ = (Index(None, "archive_id", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    archive_id: Mapped[str] = mapped_column(ForeignKey("archive.id"))
    uid: Mapped[str] = mapped_column(index=True)
    domain: Mapped[str]
    subject: Mapped[str] = mapped_column(index=True)
    time: Mapped[str | None]
    time_source: Mapped[str]
    name: Mapped[str] = mapped_column(Text)
    location: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str]
    pixel_sha256: Mapped[str]
    grid: Mapped[dict[str, Any]]
    group: Mapped[str]
    view: Mapped[str]
    study: Mapped[str]
    files: Mapped[list[dict[str, Any]]] = mapped_column(default=list, server_default="[]")
    attributes: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class File(Base):
    """What is known of one file of an archive, so that it is read again only after it changed.

    The columns are those of `ingest.record.Record` and its stamp. The rows are no results: they can be dropped, and the
    next run reads the files anew.

    Attributes:
        id: Hash of archive and name.
        archive_id: The archive's key; an archive that was indexed and never run has no row of its own.
    """

    __tablename__ = "file"
    __table_args__ = (
        # With all that is asked when doubles are looked for, so that the rows need not be read.
        Index(None, "archive_id", "uid", "has_pixels", "double_code"),
        Index(None, "archive_id", "subject"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    archive_id: Mapped[str]
    name: Mapped[str] = mapped_column(Text)
    location: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    inode: Mapped[int] = mapped_column(BigInteger)
    beside: Mapped[str]
    read_at_ns: Mapped[int] = mapped_column(BigInteger)
    reader: Mapped[str]
    status: Mapped[str]
    domain: Mapped[str]
    code: Mapped[str]
    reason: Mapped[str] = mapped_column(Text)
    has_pixels: Mapped[bool]
    uid: Mapped[str]
    subject: Mapped[str]
    study: Mapped[str]
    series: Mapped[str]
    header: Mapped[dict[str, Any]]
    sha256: Mapped[str]
    pixel_sha256: Mapped[str]
    verified_with: Mapped[str]
    pixel_code: Mapped[str]
    pixel_reason: Mapped[str] = mapped_column(Text)
    double_code: Mapped[str]
    double_reason: Mapped[str] = mapped_column(Text)


class Refusal(Base):
    """One file, acquisition or pair that gives no report, and why.

    Attributes:
        id: Hash of archive, item, level, code and work.
        item: Path relative to the archive, acquisition uid or pair id.
        level: "file", "acquisition" or "pair".
        work: Report id that was not made, when a job refused; empty when the index or the pairing did.
    """

    __tablename__ = "refusal"
    __table_args__ = (
        UniqueConstraint("archive_id", "item", "level", "code", "work"),
        Index(None, "work"),
        Index(None, "code"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    archive_id: Mapped[str] = mapped_column(ForeignKey("archive.id"))
    item: Mapped[str] = mapped_column(Text)
    level: Mapped[str]
    code: Mapped[str]
    reason: Mapped[str] = mapped_column(Text)
    work: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Pair(Base):
    """A prior and a current acquisition of one subject.

    Attributes:
        id: Hash of archive and content id.
        content_id: `ingest.pair.Pair.id`: hash of the two files' contents and ids.
        sort_key: Domain, subject, time of the current and id: the order of every list, unique.
    """

    __tablename__ = "pair"

    id: Mapped[str] = mapped_column(primary_key=True)
    archive_id: Mapped[str] = mapped_column(ForeignKey("archive.id"), index=True)
    content_id: Mapped[str]
    sort_key: Mapped[str] = mapped_column(Text, unique=True)
    domain: Mapped[str]
    subject: Mapped[str] = mapped_column(index=True)
    # Looked up for each acquisition that is removed.
    prior_id: Mapped[str] = mapped_column(ForeignKey("acquisition.id"), index=True)
    current_id: Mapped[str] = mapped_column(ForeignKey("acquisition.id"), index=True)
    interval_days: Mapped[float | None] = mapped_column(Days, nullable=False)
    reason: Mapped[str] = mapped_column(Text)
    warnings: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    archive: Mapped[Archive] = relationship(lazy="raise")
    prior: Mapped[Acquisition] = relationship(lazy="raise", foreign_keys=[prior_id])
    current: Mapped[Acquisition] = relationship(lazy="raise", foreign_keys=[current_id])


class Report(Base):
    """What one model said about one pair.

    Attributes:
        id: Hash of pair, model, adapter and prompt version; also the id of the workflow that made it.
        content_sha256: Hash of text, raw output, findings and evidence.
        text: The report.
        raw_output: What the model generated, before parsing.
        unparsed: Sentences of the raw output that are no finding.
        quality: Measured figures of the alignment.
        warnings: Sentences of pairing and alignment that a reader must see.
        provenance: Decoder, steps, code version, model name, hashes, prompt version.
        evidence: Update map, float16, little-endian, row by row; loaded by `get_report` only.
        evidence_rows: Rows of the update map.
        evidence_columns: Columns of the update map.
        prior_jpeg: The aligned prior, longer side at most 256 px; loaded by `get_report` only.
        current_jpeg: The aligned current, likewise.
    """

    __tablename__ = "report"
    __table_args__ = (UniqueConstraint("pair_id", "model_hash", "adapter_hash", "prompt_version"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    pair_id: Mapped[str] = mapped_column(ForeignKey("pair.id"))
    domain: Mapped[str]
    model_name: Mapped[str]
    model_hash: Mapped[str]
    adapter_hash: Mapped[str]
    prompt_version: Mapped[str]
    content_sha256: Mapped[str]
    text: Mapped[str] = mapped_column(Text)
    raw_output: Mapped[str] = mapped_column(Text)
    unparsed: Mapped[list[str]]
    quality: Mapped[dict[str, Any]]
    warnings: Mapped[list[str]]
    provenance: Mapped[dict[str, Any]]
    evidence_rows: Mapped[int]
    evidence_columns: Mapped[int]
    evidence: Mapped[bytes] = mapped_column(deferred=True, deferred_raiseload=True)
    prior_jpeg: Mapped[bytes] = mapped_column(deferred=True, deferred_raiseload=True)
    current_jpeg: Mapped[bytes] = mapped_column(deferred=True, deferred_raiseload=True)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    pair: Mapped[Pair] = relationship(lazy="raise")
    findings: Mapped[list["Finding"]] = relationship(
        lazy="raise", back_populates="report", order_by="Finding.ordinal, Finding.version"
    )


class Finding(Base):
    """One observation of a report; a correction is a further row with the next version, never an edit.

    Attributes:
        id: `<report id>-<ordinal>-<version>`.
        ordinal: Place in the report, from 0.
        version: 1 as the model said it; later ones are corrections.
        author: Who said it: "model", or the key of a reader.
        score: The model's own figure in [0, 1], where it gives one.
    """

    __tablename__ = "finding"
    __table_args__ = (
        UniqueConstraint("report_id", "ordinal", "version"),
        Index(None, "domain", "finding", "change"),
        Index(None, "place"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    report_id: Mapped[str] = mapped_column(ForeignKey("report.id"))
    ordinal: Mapped[int]
    version: Mapped[int] = mapped_column(default=1)
    author: Mapped[str] = mapped_column(default="model")
    domain: Mapped[str]
    finding: Mapped[str]
    place: Mapped[str]
    change: Mapped[str]
    certainty: Mapped[str]
    score: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    report: Mapped[Report] = relationship(lazy="raise", back_populates="findings")


class Audit(Base):
    """Scores of a model's stored reports against labels.

    Attributes:
        id: Hash of labels, domain, model and the reports' contents.
        labels_sha256: Hash of the labels file.
        reports_sha256: Hash over the audited reports' contents.
        n_pairs: Pairs that were scored.
        f1: Micro F1 of exact (finding, place, change); None where nothing could be scored.
        result: All figures.
    """

    __tablename__ = "audit"

    id: Mapped[str] = mapped_column(primary_key=True)
    domain: Mapped[str] = mapped_column(index=True)
    model_name: Mapped[str]
    model_hash: Mapped[str]
    adapter_hash: Mapped[str]
    prompt_version: Mapped[str]
    labels_sha256: Mapped[str]
    reports_sha256: Mapped[str]
    n_pairs: Mapped[int]
    f1: Mapped[float | None]
    result: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Worker(Base):
    """One process that takes jobs, and its signs of life.

    Attributes:
        id: Executor id, unique per process.
        machine: Hash of host, boot and process namespace: within one, process ids can be compared.
        pid: Process id on that machine.
        beats: Signs of life so far. Others watch this number, so no two clocks need to agree.
        beat_at: Time of the last one, for people.
        stopped_at: When the process ended in order; None while it runs or after it was killed.
    """

    __tablename__ = "worker"

    id: Mapped[str] = mapped_column(primary_key=True)
    machine: Mapped[str]
    pid: Mapped[int]
    beats: Mapped[int]
    started_at: Mapped[datetime]
    beat_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]


class Takeover(Base):
    """How often the worker of a running job died; gone as soon as its report is there.

    Attributes:
        id: Report id.
        count: Deaths so far.
    """

    __tablename__ = "takeover"

    id: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
