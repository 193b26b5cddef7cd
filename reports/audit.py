"""Where do reports and reference agree, and where not?"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reports.bootstrap import RESAMPLES, Interval, f1_intervals
from reports.compose import in_report_order
from reports.errors import UnusableAudit
from reports.f1 import (
    ChangeCodes,
    ChangeDetection,
    Counts,
    Label,
    Level,
    PairFindings,
    Scores,
    compare_codes,
    detect_change,
    has_change,
    ratio,
    score,
)
from reports.finding import Finding
from reports.vocabulary import Domain

#: Version of the layout of `Audit.to_dict`.
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class AuditedPair:
    """One pair with its report's findings and the reference.

    Attributes:
        id: Pair id, unique in an audit.
        subject: What is resampled for the intervals: one patient or place.
        domain: Radiology or satellite.
        predicted: Findings of the report.
        reference: Findings of the labels.
        unparsed: Number of sentences of the report that state no known finding.
    """

    id: str
    subject: str
    domain: Domain
    predicted: tuple[Finding, ...]
    reference: tuple[Finding, ...]
    unparsed: int = 0

    @property
    def findings(self) -> PairFindings:
        """The two sides, as the scores take them."""
        return PairFindings(self.predicted, self.reference)


@dataclass(frozen=True)
class View:
    """One way to look at the same findings.

    Attributes:
        name: Key in `DomainAudit.views` and in JSON.
        title: What counts as agreement, in words.
        level: What must agree.
        changed_only: Stable findings are left out on both sides.
    """

    name: str
    title: str
    level: Level
    changed_only: bool


#: The headline first.
VIEWS = (
    View("exact", "Finding, place, change", Level.EXACT, False),
    View("exact_changed", "Finding, place, change; changed findings only", Level.EXACT, True),
    View("finding_change", "Finding, change", Level.FINDING_CHANGE, False),
    View("published", "Finding, change; changed findings only (published style)", Level.FINDING_CHANGE, True),
    View("detection", "Finding, place", Level.DETECTION, False),
)


@dataclass(frozen=True)
class ViewScores:
    """Scores of one view on all pairs and on the pairs whose reference has a change, with intervals of micro F1."""

    view: View
    all_pairs: Scores
    all_interval: Interval | None
    changed_pairs: Scores
    changed_interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """What differs between report and reference of one pair, by finding, place and change.

    Attributes:
        id: Pair id.
        missing: In the reference, not in the report.
        invented: In the report, not in the reference.
    """

    id: str
    missing: tuple[Finding, ...]
    invented: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class DomainAudit:
    """The audit of one domain.

    Attributes:
        domain: Radiology or satellite.
        n_pairs: Pairs audited.
        n_subjects: Subjects they come from.
        views: Scores per view, in the order of `VIEWS`.
        finding_intervals: Interval of the F1 per finding, in the headline view on all pairs.
        change: Pair-level change detection, with its baseline.
        codes: Change codes where finding and place agree.
        unparsed_pairs: Pairs with at least one sentence that states no known finding.
        unparsed_sentences: Number of such sentences.
        disagreements: One entry for each pair that is not wholly right.
    """

    domain: Domain
    n_pairs: int
    n_subjects: int
    views: dict[str, ViewScores]
    finding_intervals: dict[str, Interval | None]
    change: ChangeDetection
    codes: ChangeCodes
    unparsed_pairs: int
    unparsed_sentences: int
    disagreements: tuple[Disagreement, ...]

    @property
    def headline(self) -> ViewScores:
        """Exact agreement."""
        return self.views["exact"]

    @property
    def unparsed_share(self) -> float | None:
        """Share of pairs whose report holds a sentence that states no known finding."""
        return ratio(self.unparsed_pairs, self.n_pairs)


@dataclass(frozen=True, kw_only=True)
class Audit:
    """An audit, one part a domain.

    Attributes:
        domains: Domains that have pairs, in the order of `Domain`.
        seed: Seed of the bootstrap.
        resamples: Resamples of the bootstrap.
    """

    domains: tuple[DomainAudit, ...]
    seed: int
    resamples: int

    @property
    def n_pairs(self) -> int:
        """Pairs of all domains."""
        return sum(part.n_pairs for part in self.domains)

    def to_dict(self) -> dict[str, Any]:
        """The whole audit as JSON values; undefined figures are null."""
        return {
            "format": FORMAT,
            "bootstrap": {"seed": self.seed, "resamples": self.resamples, "cluster": "subject"},
            "domains": {part.domain.value: _domain_dict(part) for part in self.domains},
        }

    def table(self) -> str:
        """The audit as plain text for a terminal."""
        from reports.audit_table import audit_table

        return audit_table(self)


def audit(pairs: Sequence[AuditedPair], *, seed: int = 0, resamples: int = RESAMPLES) -> Audit:
    """Audit of reports against reference findings, per domain.

    Pairs without labels do not belong in here: an empty `reference` says that neither image shows a finding.

    Raises:
        UnusableAudit: A pair id occurs twice, or a finding is of another domain than its pair.
    """
    seen: set[str] = set()
    for pair in pairs:
        if pair.id in seen:
            raise UnusableAudit(f"Pair {pair.id} is given twice; give each pair once.")
        seen.add(pair.id)
        for item in (*pair.predicted, *pair.reference):
            if item.domain != pair.domain:
                raise UnusableAudit(f"Pair {pair.id} is of {pair.domain} and has a finding of {item.domain}.")
    parts = ((domain, [pair for pair in pairs if pair.domain == domain]) for domain in Domain)
    return Audit(
        domains=tuple(_audit_domain(domain, part, seed, resamples) for domain, part in parts if part),
        seed=seed,
        resamples=resamples,
    )


def _audit_domain(domain: Domain, pairs: list[AuditedPair], seed: int, resamples: int) -> DomainAudit:
    changed = [pair for pair in pairs if has_change(pair.reference)]
    views = {}
    for view in VIEWS:
        sides = []
        for part in (pairs, changed):
            scores = score(domain, [pair.findings for pair in part], view.level, changed_only=view.changed_only)
            sides.append((scores, _intervals(part, view, [None], seed, resamples)[0]))
        views[view.name] = ViewScores(view, *sides[0], *sides[1])
    names = list(views["exact"].all_pairs.by_finding)
    findings = [pair.findings for pair in pairs]
    return DomainAudit(
        domain=domain,
        n_pairs=len(pairs),
        n_subjects=len({pair.subject for pair in pairs}),
        views=views,
        finding_intervals=dict(zip(names, _intervals(pairs, VIEWS[0], names, seed, resamples), strict=True)),
        change=detect_change(findings),
        codes=compare_codes(findings),
        unparsed_pairs=sum(pair.unparsed > 0 for pair in pairs),
        unparsed_sentences=sum(pair.unparsed for pair in pairs),
        disagreements=tuple(_disagreements(pairs)),
    )


def _intervals(
    pairs: list[AuditedPair], view: View, groups: Sequence[str | None], seed: int, resamples: int
) -> list[Interval | None]:
    """Intervals of F1 for each finding of `groups`; None stands for all findings together."""
    import numpy as np

    counts = np.zeros((len(pairs), len(groups), 3), dtype=np.int64)
    column = {name: position for position, name in enumerate(groups)}
    for row, pair in enumerate(pairs):
        predicted, reference = pair.findings.labels(view.level, changed_only=view.changed_only)
        for kind, labels in enumerate((predicted & reference, predicted - reference, reference - predicted)):
            for label in labels:
                counts[row, column[None if None in column else label[0]], kind] += 1
    return f1_intervals(counts, [pair.subject for pair in pairs], seed=seed, resamples=resamples)


def _disagreements(pairs: Iterable[AuditedPair]) -> Iterator[Disagreement]:
    for pair in pairs:
        predicted, reference = pair.findings.labels(Level.EXACT)
        missing = _those(pair.reference, reference - predicted)
        invented = _those(pair.predicted, predicted - reference)
        if missing or invented:
            yield Disagreement(id=pair.id, missing=missing, invented=invented)


def _those(findings: Iterable[Finding], labels: frozenset[Label]) -> tuple[Finding, ...]:
    return in_report_order(item for item in findings if (item.finding, item.place, item.change.value) in labels)


def _domain_dict(part: DomainAudit) -> dict[str, Any]:
    return {
        "pairs": part.n_pairs,
        "subjects": part.n_subjects,
        "views": {
            name: {
                "agreement": scores.view.title,
                "all_pairs": _scores_dict(scores.all_pairs, scores.all_interval),
                "changed_pairs": _scores_dict(scores.changed_pairs, scores.changed_interval),
            }
            for name, scores in part.views.items()
        },
        "per_finding": {
            name: {**_counts_dict(counts), "f1_interval": _interval_dict(part.finding_intervals[name])}
            for name, counts in part.headline.all_pairs.by_finding.items()
        },
        "change_detection": {
            name: getattr(part.change, name)
            for name in (
                "tp", "fp", "fn", "tn", "accuracy", "always_changed", "sensitivity", "specificity", "balanced_accuracy",
                "false_alarms", "false_alarms_per_stable_pair",
            )
        },
        "change_codes": {
            "matched": part.codes.matched,
            "right": part.codes.right,
            "accuracy": part.codes.accuracy,
            "confusion": [
                {"reference": wanted.value, "predicted": found.value, "count": number}
                for (wanted, found), number in part.codes.confusion.items()
            ],
        },
        "unparsed": {
            "pairs": part.unparsed_pairs, "share": part.unparsed_share, "sentences": part.unparsed_sentences,
        },
        "disagreements": [
            {
                "pair": item.id,
                "missing": [_finding_dict(finding) for finding in item.missing],
                "invented": [_finding_dict(finding) for finding in item.invented],
            }
            for item in part.disagreements
        ],
    }  # fmt: skip


def _scores_dict(scores: Scores, interval: Interval | None) -> dict[str, Any]:
    macro = scores.macro
    return {
        "pairs": scores.n_pairs,
        "micro": {**_counts_dict(scores.micro), "f1_interval": _interval_dict(interval)},
        "macro": {
            "precision": macro.precision,
            "recall": macro.recall,
            "f1": macro.f1,
            "labels": macro.supported,
            "labels_left_out": macro.left_out,
            "f1_published": macro.f1_published,
        },
        "labels": [{"label": list(label), **_counts_dict(counts)} for label, counts in scores.by_label.items()],
    }


def _counts_dict(counts: Counts) -> dict[str, Any]:
    return {
        "support": counts.support,
        "tp": counts.tp,
        "fp": counts.fp,
        "fn": counts.fn,
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
    }


def _interval_dict(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else {"low": interval.low, "high": interval.high, "level": interval.level}


def _finding_dict(item: Finding) -> dict[str, str]:
    return {
        "finding": item.finding,
        "place": item.place,
        "change": item.change.value,
        "certainty": item.certainty.value,
    }
