"""What do the answers of the REST service look like?"""

from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from reports.change import Change
from reports.finding import Certainty
from reports.vocabulary import Domain

Item = TypeVar("Item")


class Answer(BaseModel):
    """Common ground of all answers: read from rows by name, unknown fields refused."""

    model_config = ConfigDict(from_attributes=True, extra="forbid")


class Problem(Answer):
    """A failure (RFC 9457)."""

    type: str = Field(examples=["urn:interval:problem:record-not-found"])
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[dict[str, str]] | None = Field(default=None, description="One entry for each impossible parameter.")


class PageOf(Answer, Generic[Item]):
    """Some items of a list, and where the next page begins."""

    items: list[Item]
    next_cursor: str | None = Field(description="Value of `cursor` for the next page; null on the last one.")


class Acquisition(Answer):
    """One image of a study, or one scene."""

    id: str
    uid: str = Field(description="SOP Instance UID, or `scene:<hash>`.")
    domain: Domain
    subject: str
    time: str | None = Field(description="ISO 8601 as recorded; without offset where none was recorded.")
    time_source: str
    name: str = Field(description="Path relative to the archive.")
    sha256: str
    pixel_sha256: str
    grid: dict[str, Any]
    group: str
    view: str
    study: str
    attributes: dict[str, Any]


class Refusal(Answer):
    """One file, acquisition or pair that gives no report, and why."""

    id: str
    item: str
    level: str
    code: str
    reason: str
    work: str = Field(description="Id of the report that could not be made; empty when index or pairing refused.")


class Pair(Answer):
    """A prior and a current acquisition of one subject."""

    id: str
    content_id: str
    domain: Domain
    subject: str
    interval_days: float | None = Field(description="Null where only the order of the two is known.")
    reason: str
    warnings: list[str]
    prior: Acquisition
    current: Acquisition


class Observation(Answer):
    """One finding as a report holds it."""

    id: str
    ordinal: int
    version: int
    author: str
    domain: Domain
    finding: str
    place: str
    change: Change
    certainty: Certainty
    score: float | None


class Finding(Observation):
    """One finding with the report and the pair that it belongs to."""

    report_id: str
    pair_id: str
    subject: str
    prior_name: str
    current_name: str


class ReportSummary(Answer):
    """What one model said about one pair."""

    id: str
    pair_id: str
    domain: Domain
    subject: str
    prior_name: str
    current_name: str
    interval_days: float | None = Field(description="Null where only the order of the two is known.")
    text: str
    model_name: str
    model_hash: str
    adapter_hash: str
    prompt_version: str
    created_at: datetime
    findings: list[Observation]


class EvidenceMap(Answer):
    """How much the prior changed each merged token of the current."""

    rows: int
    columns: int
    values: list[list[float]]


class Report(ReportSummary):
    """A report with everything that led to it."""

    raw_output: str
    unparsed: list[str]
    quality: dict[str, Any]
    warnings: list[str]
    provenance: dict[str, Any]
    evidence: EvidenceMap
    images: dict[str, str] = Field(description="Addresses of the aligned prior, the current and the evidence map.")
    pair: Pair


class AuditSummary(Answer):
    """The headline of one audit."""

    id: str
    domain: Domain
    model_name: str
    model_hash: str
    adapter_hash: str
    prompt_version: str
    labels_sha256: str
    reports_sha256: str
    n_pairs: int
    f1: float | None
    created_at: datetime


class Audit(AuditSummary):
    """One audit with all its figures."""

    result: dict[str, Any]


class Model(Answer):
    """Which model, adapter and prompt made reports."""

    name: str
    model_hash: str
    adapter_hash: str
    prompt_version: str


class Health(Answer):
    """Whether the service can answer, and with what."""

    status: str
    version: str
    database: str = Field(description="Kind of database.")
    migration: str = Field(description="Revision of the tables.")
    models: list[Model] = Field(description="What made the stored reports.")
