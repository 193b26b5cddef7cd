"""What does a page show?"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from reports.audit import Audit
from reports.change import PROGRESSION, Change
from reports.compose import in_report_order
from reports.errors import UnusableImage
from reports.f1 import has_change
from reports.finding import Finding
from reports.vocabulary import Domain


class Mark(StrEnum):
    """How one row of a findings table stands to the reference."""

    MATCHED = "matched"
    #: Right finding and place, wrong change: one missed and one invented label in the exact score.
    DIFFERS = "differs"
    INVENTED = "invented"
    MISSED = "missed"
    #: Says nothing that is scored: absent, or a place where report or reference could not tell.
    NOT_SCORED = "not scored"


@dataclass(frozen=True)
class MarkedFinding:
    """One row of a findings table.

    Attributes:
        finding: The report's finding; the reference's, if the report misses it.
        mark: None where the pair has no reference.
        reference: The reference's finding at this place, if it has one.
    """

    finding: Finding
    mark: Mark | None = None
    reference: Finding | None = None


def mark_findings(predicted: Iterable[Finding], reference: Iterable[Finding] | None) -> tuple[MarkedFinding, ...]:
    """Rows of a findings table in report order, each marked against the reference.

    Counts agree with the exact score of `reports.f1`: matched rows are its true positives, invented and differing rows
    its false positives, missed and differing rows its false negatives.
    """
    if reference is None:
        return tuple(MarkedFinding(item) for item in in_report_order(predicted))
    wanted = {(item.finding, item.place): item for item in reference}
    rows: dict[Finding, MarkedFinding] = {}
    for item in predicted:
        other = wanted.get((item.finding, item.place))
        # what the report cannot tell is silence: the reference stays open and is missed below
        if item.change in PROGRESSION:
            wanted.pop((item.finding, item.place), None)
        rows[item] = MarkedFinding(item, _mark(item, other), other)
    for item in wanted.values():
        if item.change in PROGRESSION:
            rows[item] = MarkedFinding(item, Mark.MISSED, item)
    return tuple(rows[item] for item in in_report_order(rows))


def _mark(item: Finding, other: Finding | None) -> Mark:
    if item.change not in PROGRESSION or (other is not None and other.change is Change.NOT_ASSESSABLE):
        return Mark.NOT_SCORED
    if other is None or other.change is Change.ABSENT:
        return Mark.INVENTED
    return Mark.MATCHED if item.change is other.change else Mark.DIFFERS


@dataclass(frozen=True, kw_only=True)
class PagePair:
    """One card: a pair with its report.

    Attributes:
        id: Pair id.
        domain: Radiology or satellite.
        subject: Key of patient or place, never an identifier of a person.
        prior_image: Data address of the prior on the current's grid (`reports.figures`).
        current_image: Data address of the current.
        evidence_image: Data address of the evidence overlay; None when the model gives none.
        prior_time: Time of the prior as it should read; "" when unknown.
        current_time: Time of the current.
        interval_days: Days between the two; None when a time is unknown.
        findings: Findings of the report.
        text: The report.
        reason: Why this prior was chosen.
        reference: Findings of the labels; None where the pair has none (an empty tuple says that nothing is there).
        unparsed: Sentences of the report that state no known finding.
        warnings: Sentences that a reader must see.
        provenance: Names and values: model, adapter, prompt, decoder, alignment.

    Raises:
        UnusableImage: A picture is no data address, so the page would not stand by itself.
    """

    id: str
    domain: Domain
    subject: str
    prior_image: str
    current_image: str
    prior_time: str
    current_time: str
    interval_days: float | None
    findings: tuple[Finding, ...]
    text: str
    evidence_image: str | None = None
    reason: str = ""
    reference: tuple[Finding, ...] | None = None
    unparsed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for picture in (self.prior_image, self.current_image, self.evidence_image):
            if picture is not None and not picture.startswith("data:image/"):
                raise UnusableImage(
                    f"A picture of pair {self.id} is no data:image address; make it in reports.figures."
                )

    @property
    def rows(self) -> tuple[MarkedFinding, ...]:
        """Rows of the findings table."""
        return mark_findings(self.findings, self.reference)

    @property
    def is_changed(self) -> bool:
        """Whether the report names a change."""
        return has_change(self.findings)

    @property
    def agrees(self) -> bool | None:
        """Whether report and reference agree wholly; None without a reference."""
        if self.reference is None:
            return None
        return all(row.mark in (Mark.MATCHED, Mark.NOT_SCORED) for row in self.rows)


@dataclass(frozen=True, kw_only=True, order=True)
class PageRefusal:
    """Something that gave no report, and why.

    Attributes:
        code: Reason code.
        level: "file", "acquisition" or "pair".
        item: Path relative to the archive, or an id.
        reason: A sentence with the reason and the next step.
    """

    code: str
    level: str
    item: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PageReport:
    """Everything on one page.

    Attributes:
        title: Heading of the page.
        generated: When the page was made, as it should read.
        model_name: The host model.
        model_hash: Hash of its weights.
        adapter_hash: Hash of the adapter's weights; "" without one.
        is_trained_on_real_images: False adds the sentence that the model has seen generated images only.
        pairs: Cards, in the order they are shown.
        refusals: What gave no report.
        audit: The audit against labels; None without labels.
        counts: Further figures for the summary, such as ("Files seen", 320).
    """

    title: str
    generated: str
    model_name: str
    model_hash: str
    is_trained_on_real_images: bool
    pairs: tuple[PagePair, ...]
    adapter_hash: str = ""
    refusals: tuple[PageRefusal, ...] = ()
    audit: Audit | None = None
    counts: tuple[tuple[str, int], ...] = ()
