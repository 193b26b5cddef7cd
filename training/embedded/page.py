"""How are the figures of the embedded model written down? As docs/embedded-model.md, by `make embedded-model`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from reports.change import PROGRESSION
from reports.vocabulary import CHANGE_WORDS, FINDINGS
from training.embedded.errors import Errors
from training.embedded.measure import Measured

_HEAD: Final = """# What is the embedded model worth?

Written by the command, not edited by hand. The model reports on the first {pairs} labelled pairs of a generated archive
of each domain, read, paired and aligned as `interval run` does it. Their seed, {seed}, is never trained on. Pairs are
drawn from the same generator as the training pairs, so this says how well the model learned its task and nothing about
real images.
"""

_ERRORS: Final = """
Every finding of reference and report is counted once, under the reference's name where it has one. A wrong place is a
finding said where it is not, in the place of the one where it is; a wrong finding is another one said at that place.
"""


_KINDS: Final = ("right", "wrong change", "wrong place", "wrong finding", "missed", "invented")


class _Row(NamedTuple):
    """A line of the first table."""

    title: str
    value: Callable[[Measured], float | None]
    target: float | None
    digits: int = 3
    at_most: bool = False


_ROWS: Final = (
    _Row("micro F1 (finding, place, change)", lambda one: one.audit.headline.all_pairs.micro.f1, 0.80),
    _Row("precision", lambda one: one.audit.headline.all_pairs.micro.precision, None),
    _Row("recall", lambda one: one.audit.headline.all_pairs.micro.recall, None),
    _Row(
        "micro F1 (finding, place), whatever the change",
        lambda one: one.audit.views["detection"].all_pairs.micro.f1,
        None,
    ),
    _Row("change codes right, where finding and place are", lambda one: one.audit.codes.accuracy, None),
    _Row("change accuracy, balanced", lambda one: one.audit.change.balanced_accuracy, 0.90),
    _Row("swapped: new and resolved turn round", lambda one: one.mirrored.come_share, 0.90),
    _Row("swapped: worse and improved turn round", lambda one: one.mirrored.grow_share, 0.90),
    _Row("prior replaced by the current: no change", lambda one: one.unchanged, 0.95),
    _Row("seconds a report, pairs one by one (median)", lambda one: one.seconds, 1.0, 2, at_most=True),
)


def write_page(
    results: Sequence[Measured],
    *,
    command: str,
    pairs: int,
    seed: int,
    model: str,
    size: float,
    hardware: str,
    designs: Sequence[str] = (),
) -> str:
    """The page.

    Args:
        results: One a domain.
        command: That makes the page.
        pairs: Pairs a domain.
        seed: Of the archives.
        model: Hash of the model.
        size: Of its weights, in 10^6 bytes.
        hardware: What the times were measured on.
        designs: The part on the designs, by lines.
    """
    lines = [
        _HEAD.format(pairs=pairs, seed=seed),
        f"Made by `{command}` on {hardware}. Model {model[:12]}, {size:.1f} MB of weights (target: at most 20).",
        "",
        *_table(
            ["", *(one.domain.value for one in results), "target"],
            ([row.title, *(_value(row, one) for one in results), _target(row)] for row in _ROWS),
        ),
        "",
        "The 95 % intervals of micro F1, resampled by subject: "
        + ", ".join(f"{one.domain.value} {_interval(one)}" for one in results)
        + ".",
        "",
        *designs,
        "## Where the errors come from",
        _ERRORS,
    ]
    for one in results:
        lines += [f"### {one.domain.value.capitalize()}", "", *_errors(one), "", *_confusion(one), ""]
    return "\n".join(lines)


def missed_targets(results: Iterable[Measured]) -> list[str]:
    """A sentence for each target that a domain misses, with by how much."""
    sentences = []
    for one in results:
        for row in _ROWS:
            value = row.value(one)
            if row.target is None or value is None or (value <= row.target if row.at_most else value >= row.target):
                continue
            sentences.append(f"{one.domain.value}, {row.title}: {_value(row, one)}, {_target(row)} was asked for")
    return sentences


def _value(row: _Row, one: Measured) -> str:
    value = row.value(one)
    return "-" if value is None else f"{value:.{row.digits}f}"


def _target(row: _Row) -> str:
    if row.target is None:
        return ""
    return f"at {'most' if row.at_most else 'least'} {row.target:.2f}"


def _interval(one: Measured) -> str:
    interval = one.audit.headline.all_interval
    return "-" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"


def _errors(one: Measured) -> list[str]:
    names = [name for name in FINDINGS[one.domain] if name in one.errors]
    found = one.audit.headline.all_pairs.by_finding
    rows = [(name, found[name].f1 if name in found else None, one.errors[name]) for name in names]
    rows.append(("all", one.audit.headline.all_pairs.micro.f1, sum(one.errors.values(), Errors())))
    return _table(
        [
            "finding",
            "in reference",
            "F1",
            "right",
            "wrong change",
            "wrong place",
            "wrong finding",
            "missed",
            "invented",
        ],
        (
            [
                name,
                f"{errors.reference}",
                "-" if f1 is None else f"{f1:.3f}",
                *(f"{getattr(errors, kind.replace(' ', '_'))}" for kind in _KINDS),
            ]
            for name, f1, errors in rows
        ),
    )


def _confusion(one: Measured) -> list[str]:
    words = CHANGE_WORDS[one.domain]
    counts = one.audit.codes.confusion
    return _table(
        ["reference \\ report", *(words[change] for change in PROGRESSION)],
        ([words[wanted], *(f"{counts.get((wanted, said), 0)}" for said in PROGRESSION)] for wanted in PROGRESSION),
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
