"""How well do predicted findings agree with the reference?

Every score here counts labels of a pair as a set. A ratio without a denominator is None, never 0: nothing was there to
be right or wrong about.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from reports.change import PROGRESSION, Change
from reports.finding import Finding
from reports.vocabulary import FINDINGS, PLACES, Domain

#: Codes that say that something changed.
CHANGED = frozenset({Change.NEW, Change.WORSE, Change.IMPROVED, Change.RESOLVED})

Label = tuple[str, ...]


class Level(StrEnum):
    """What must agree for a label to count as found."""

    #: (finding, place, change): the headline.
    EXACT = "exact"
    #: (finding, change), wherever it is: the style of the protocol published for Medical-Diff-VQA.
    FINDING_CHANGE = "finding_change"
    #: (finding, place), however it changed.
    DETECTION = "detection"


@dataclass(frozen=True)
class PairFindings:
    """Predicted and reference findings of one pair."""

    predicted: tuple[Finding, ...]
    reference: tuple[Finding, ...]

    def labels(self, level: Level, *, changed_only: bool = False) -> tuple[frozenset[Label], frozenset[Label]]:
        """Predicted and reference labels at a level.

        `absent` says no more than silence and gives no label. Where the reference is not assessable, nothing that was
        predicted there counts; a prediction "not assessable" is silence.
        """
        unknown = {(item.finding, item.place) for item in self.reference if item.change is Change.NOT_ASSESSABLE}
        stated = (item for item in self.predicted if (item.finding, item.place) not in unknown)
        return (
            labels_of(stated, level, changed_only=changed_only),
            labels_of(self.reference, level, changed_only=changed_only),
        )


def labels_of(findings: Iterable[Finding], level: Level, *, changed_only: bool = False) -> frozenset[Label]:
    """Labels of one side of a pair; `changed_only` leaves out what is stable."""
    counted = CHANGED if changed_only else PROGRESSION
    return frozenset(_label(item, level) for item in findings if item.change in counted)


def _label(item: Finding, level: Level) -> Label:
    if level is Level.EXACT:
        return (item.finding, item.place, item.change.value)
    if level is Level.FINDING_CHANGE:
        return (item.finding, item.change.value)
    return (item.finding, item.place)


def label_space(domain: Domain, level: Level, *, changed_only: bool = False) -> int:
    """Number of labels that a domain has at a level: the denominator of the published macro F1."""
    findings, places = len(FINDINGS[domain]), len(PLACES[domain])
    changes = len(CHANGED) if changed_only else len(PROGRESSION)
    return {
        Level.EXACT: findings * places * changes,
        Level.FINDING_CHANGE: findings * changes,
        Level.DETECTION: findings * places,
    }[level]


def ratio(part: float, whole: float) -> float | None:
    """``part / whole``, or None where whole is 0."""
    return part / whole if whole else None


@dataclass(frozen=True)
class Counts:
    """True positives, false positives (invented) and false negatives (missed), summed over pairs."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def support(self) -> int:
        """How often the reference has it."""
        return self.tp + self.fn

    @property
    def precision(self) -> float | None:
        """Share of predictions that the reference has."""
        return ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float | None:
        """Share of the reference that was predicted."""
        return ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float | None:
        """``2 TP / (2 TP + FP + FN)``; 0 when something was there and nothing was right."""
        return ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)


@dataclass(frozen=True)
class Macro:
    """Unweighted means over labels.

    Attributes:
        precision: Mean over labels with support that were predicted at least once (else it is undefined).
        recall: Mean over labels with support.
        f1: Mean over labels with support; this is the one to read.
        supported: Number of labels with support.
        left_out: Number of labels of the vocabulary without support, which the three means leave out.
        f1_published: Mean over the whole vocabulary with 0 for every label without support, as papers print it.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    supported: int
    left_out: int
    f1_published: float


@dataclass(frozen=True)
class Scores:
    """Agreement on a set of pairs at one level.

    Attributes:
        n_pairs: Pairs that were counted.
        micro: Counts summed over all labels.
        macro: Means over labels.
        by_label: Counts per label that occurs, sorted.
        by_finding: Counts summed per finding that occurs, in the order of the vocabulary.
    """

    n_pairs: int
    micro: Counts
    macro: Macro
    by_label: dict[Label, Counts] = field(default_factory=dict)
    by_finding: dict[str, Counts] = field(default_factory=dict)


def count(pairs: Iterable[tuple[Collection[Label], Collection[Label]]]) -> dict[Label, Counts]:
    """Counts per label over pairs of (predicted, reference) label sets; labels that never occur have no entry."""
    table: dict[Label, list[int]] = {}
    for predicted, reference in pairs:
        found, wanted = set(predicted), set(reference)
        for position, labels in enumerate((found & wanted, found - wanted, wanted - found)):
            for label in labels:
                table.setdefault(label, [0, 0, 0])[position] += 1
    return {label: Counts(*table[label]) for label in sorted(table)}


def score(domain: Domain, pairs: Sequence[PairFindings], level: Level, *, changed_only: bool = False) -> Scores:
    """Micro, macro and per-finding scores of pairs of one domain.

    Source: definitions of arXiv 2606.04433, appendix F; there 0/0 in the macro mean is not stated.
    """
    by_label = count(pair.labels(level, changed_only=changed_only) for pair in pairs)
    by_finding: dict[str, Counts] = {}
    for name in FINDINGS[domain]:
        parts = [counts for label, counts in by_label.items() if label[0] == name]
        if parts:
            by_finding[name] = sum(parts, Counts())
    return Scores(
        n_pairs=len(pairs),
        micro=sum(by_label.values(), Counts()),
        macro=macro(by_label.values(), label_space(domain, level, changed_only=changed_only)),
        by_label=by_label,
        by_finding=by_finding,
    )


def macro(counts: Iterable[Counts], n_labels: int) -> Macro:
    """Means over labels, `n_labels` being the size of the vocabulary they come from."""
    supported = [item for item in counts if item.support]
    return Macro(
        precision=_mean([item.precision for item in supported]),
        recall=_mean([item.recall for item in supported]),
        f1=_mean([item.f1 for item in supported]),
        supported=len(supported),
        left_out=n_labels - len(supported),
        f1_published=sum(item.f1 or 0.0 for item in supported) / n_labels,
    )


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return ratio(sum(known), len(known))


def has_change(findings: Iterable[Finding]) -> bool:
    """Whether at least one finding is new, worse, improved or resolved."""
    return any(item.change in CHANGED for item in findings)


@dataclass(frozen=True)
class ChangeDetection:
    """Does a pair have any change at all? Reference against prediction, whatever the finding.

    Attributes:
        tp: Changed pairs called changed.
        fp: Stable pairs called changed.
        fn: Changed pairs called stable.
        tn: Stable pairs called stable.
        false_alarms: Changed findings that were predicted on stable pairs.

    Source: "change accuracy" of arXiv 2606.04433, appendix F. It is high for a constant answer, so read it beside
        `always_changed`, `specificity` and `balanced_accuracy`.
    """

    tp: int
    fp: int
    fn: int
    tn: int
    false_alarms: int

    @property
    def n_pairs(self) -> int:
        """All pairs."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def accuracy(self) -> float | None:
        """Share of pairs whose answer is right: the published change accuracy."""
        return ratio(self.tp + self.tn, self.n_pairs)

    @property
    def always_changed(self) -> float | None:
        """Accuracy of answering "changed" to everything."""
        return ratio(self.tp + self.fn, self.n_pairs)

    @property
    def sensitivity(self) -> float | None:
        """Share of changed pairs called changed."""
        return ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float | None:
        """Share of stable pairs called stable."""
        return ratio(self.tn, self.tn + self.fp)

    @property
    def balanced_accuracy(self) -> float | None:
        """Mean of sensitivity and specificity; a constant answer has 0.5."""
        if self.sensitivity is None or self.specificity is None:
            return None
        return (self.sensitivity + self.specificity) / 2

    @property
    def false_alarms_per_stable_pair(self) -> float | None:
        """Invented changes on a stable pair, on average."""
        return ratio(self.false_alarms, self.tn + self.fp)


def detect_change(pairs: Iterable[PairFindings]) -> ChangeDetection:
    """Pair-level change detection."""
    table = {(wanted, found): 0 for wanted in (True, False) for found in (True, False)}
    false_alarms = 0
    for pair in pairs:
        wanted, found = has_change(pair.reference), has_change(pair.predicted)
        table[wanted, found] += 1
        if not wanted:
            false_alarms += sum(item.change in CHANGED for item in pair.predicted)
    return ChangeDetection(
        tp=table[True, True],
        fp=table[False, True],
        fn=table[True, False],
        tn=table[False, False],
        false_alarms=false_alarms,
    )


@dataclass(frozen=True)
class ChangeCodes:
    """Change codes of findings whose name and place agree.

    Attributes:
        matched: Findings with agreeing name and place, both with a code of `PROGRESSION`.
        right: Those whose code agrees too.
        confusion: How often (reference code, predicted code) met.
    """

    matched: int
    right: int
    confusion: dict[tuple[Change, Change], int]

    @property
    def accuracy(self) -> float | None:
        """Share of matched findings with the right code."""
        return ratio(self.right, self.matched)


def compare_codes(pairs: Iterable[PairFindings]) -> ChangeCodes:
    """Change codes of the findings that prediction and reference share."""
    confusion: dict[tuple[Change, Change], int] = {}
    for pair in pairs:
        found = {(item.finding, item.place): item.change for item in pair.predicted}
        for item in pair.reference:
            change = found.get((item.finding, item.place))
            if change in PROGRESSION and item.change in PROGRESSION:
                confusion[item.change, change] = confusion.get((item.change, change), 0) + 1
    return ChangeCodes(
        matched=sum(confusion.values()),
        right=sum(number for (wanted, found_code), number in confusion.items() if wanted is found_code),
        confusion={key: confusion[key] for key in sorted(confusion)},
    )
