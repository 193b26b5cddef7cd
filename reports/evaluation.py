"""How do a run's answers score on a labelled data set, beside a constant answer and beside another run?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reports.audit_table import aligned
from reports.bootstrap import RESAMPLES, Interval
from reports.errors import UnusableAudit
from reports.f1 import Counts
from reports.measure import Comparison, Estimate, compare, estimate
from reports.protocols import Protocol, Reference
from reports.section import Label, Section

#: Version of the layout of `Evaluation.to_dict`.
FORMAT: Final = 1


@dataclass(frozen=True)
class SectionScores:
    """The figures of one section.

    Attributes:
        title: What is counted.
        n_pairs: How many pairs take part.
        own: Figures of the run, in [0, 1]; CIDEr in [0, 10].
        constant: Those of the constant answer.
        other: Those of the other run, if there is one.
        against: The run against the other one.
        missing: What could not be computed, with the reason.
        by_label: Counts of the run for each label that occurs, where labels are counted.
    """

    title: str
    n_pairs: int
    own: Mapping[str, Estimate]
    constant: Mapping[str, Estimate]
    other: Mapping[str, Estimate]
    against: Mapping[str, Comparison]
    missing: Mapping[str, str]
    by_label: Mapping[Label, Counts]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """An evaluation.

    Attributes:
        data_set: Its name.
        split: Which part of it.
        n_pairs: Pairs, that is answers.
        n_subjects: Patients or areas.
        constant: The constant answer.
        sections: The figures.
        seed: Seed of the bootstrap.
        resamples: Resamples of the bootstrap.
    """

    data_set: str
    split: str
    n_pairs: int
    n_subjects: int
    constant: str
    sections: tuple[SectionScores, ...]
    seed: int
    resamples: int

    def to_dict(self) -> dict[str, Any]:
        """The whole as JSON values; undefined figures are null."""
        return {
            "format": FORMAT,
            "data_set": self.data_set,
            "split": self.split,
            "pairs": self.n_pairs,
            "subjects": self.n_subjects,
            "constant_answer": self.constant,
            "bootstrap": {"seed": self.seed, "resamples": self.resamples, "cluster": "subject"},
            "sections": [_section_dict(one) for one in self.sections],
        }

    def table(self) -> str:
        """The evaluation as plain text for a terminal; figures times 100, as papers print them."""
        lines = [
            f"{self.data_set}, {self.split}: {self.n_pairs} answers of {self.n_subjects} patients or areas",
            f'constant answer: "{self.constant}"',
        ]
        for section in self.sections:
            lines += ["", f"{section.title} ({section.n_pairs} pairs)", *_section_lines(section)]
        return "\n".join(lines)


def evaluate(
    references: Sequence[Reference],
    answers: Sequence[str],
    protocol: Protocol,
    *,
    data_set: str,
    split: str,
    others: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """Scores of answers by a protocol, with 95 % intervals that resample whole subjects.

    Args:
        references: What is known about each pair.
        answers: The run's text for each pair.
        protocol: How to score.
        data_set: Name, for the result.
        split: Name, for the result.
        others: The texts of another run on the same pairs, to be compared with.
        seed: Equal seeds give equal intervals.
        resamples: Number of resamples.

    Raises:
        UnusableAudit: There is no pair, or the numbers differ.
    """
    runs = [answers, [protocol.constant] * len(references), *([] if others is None else [others])]
    if not references or any(len(run) != len(references) for run in runs):
        raise UnusableAudit("Each pair needs one answer of each run, and there must be at least one pair.")
    subjects = [one.subject for one in references]
    scored = []
    for section in protocol.sections(references, runs):
        own, constant, *other = (
            estimate(columns, subjects, section.measures, seed=seed, resamples=resamples) for columns in section.columns
        )
        against = {}
        if others is not None:
            against = compare(
                section.columns[0], section.columns[2], subjects, section.measures, seed=seed, resamples=resamples
            )
        scored.append(
            SectionScores(
                section.title,
                section.n_pairs,
                own,
                constant,
                other[0] if other else {},
                against,
                section.missing,
                _by_label(section),
            )
        )
    return Evaluation(
        data_set=data_set,
        split=split,
        n_pairs=len(references),
        n_subjects=len(set(subjects)),
        constant=protocol.constant,
        sections=tuple(scored),
        seed=seed,
        resamples=resamples,
    )


def _by_label(section: Section) -> dict[Label, Counts]:
    sums = section.columns[0].sum(axis=0).astype(int).reshape(-1, 3) if section.labels else ()
    found = {label: Counts(*map(int, row)) for label, row in zip(section.labels, sums, strict=True)}
    return {label: counts for label, counts in found.items() if counts != Counts()}


def _section_lines(section: SectionScores) -> list[str]:
    header = ["", "this run", "95 % interval", "constant"]
    if section.against:
        header += ["other run", "difference", "95 % interval", "better : worse : equal", "sign test"]
    rows = [header]
    for name, own in section.own.items():
        row = [name, _percent(own.value), _span(own.interval), _percent(section.constant[name].value)]
        if section.against:
            one = section.against[name]
            signs = one.signs
            row += [
                _percent(section.other[name].value),
                _percent(one.difference, signed=True),
                _span(one.interval),
                f"{signs.better} : {signs.worse} : {signs.tied}",
                f"p = {signs.p:.3g}",
            ]
        rows.append(row)
    return [*aligned(rows), *(f"  {name}: {reason}" for name, reason in section.missing.items())]


def _percent(value: float | None, *, signed: bool = False) -> str:
    return "n/a" if value is None else f"{100 * value:+.2f}" if signed else f"{100 * value:.2f}"


def _span(interval: Interval | None) -> str:
    return "" if interval is None else f"{100 * interval.low:.2f} to {100 * interval.high:.2f}"


def _section_dict(section: SectionScores) -> dict[str, Any]:
    return {
        "title": section.title,
        "pairs": section.n_pairs,
        "figures": {
            name: {
                "value": own.value,
                "interval": _interval(own.interval),
                "constant_answer": section.constant[name].value,
                **_against(section, name),
            }
            for name, own in section.own.items()
        },
        "not_computed": dict(section.missing),
        "by_label": [
            {
                "label": list(label),
                "support": counts.support,
                "tp": counts.tp,
                "fp": counts.fp,
                "fn": counts.fn,
                "f1": counts.f1,
            }
            for label, counts in section.by_label.items()
        ],
    }


def _against(section: SectionScores, name: str) -> dict[str, Any]:
    if not section.against:
        return {}
    one = section.against[name]
    return {
        "other_run": section.other[name].value,
        "difference": one.difference,
        "difference_interval": _interval(one.interval),
        "subjects": {"better": one.signs.better, "worse": one.signs.worse, "equal": one.signs.tied, "p": one.signs.p},
    }


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else vars(interval)
