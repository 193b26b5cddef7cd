"""How does an audit read on a terminal?"""

from typing import TYPE_CHECKING

from reports.bootstrap import FEW, Interval
from reports.f1 import Counts

if TYPE_CHECKING:
    from reports.audit import Audit, DomainAudit

#: What stands for a figure that is undefined.
UNDEFINED = "n/a"
#: What stands for an interval that is not given.
TOO_FEW = "too few"


def figure(value: float | None) -> str:
    """A ratio with three digits, or `UNDEFINED`."""
    return UNDEFINED if value is None else f"{value:.3f}"


def percent(value: float | None) -> str:
    """A share in percent with one digit, or `UNDEFINED`."""
    return UNDEFINED if value is None else f"{100 * value:.1f} %"


def span(interval: Interval | None) -> str:
    """The two ends of an interval, or `TOO_FEW`."""
    return TOO_FEW if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"


def audit_table(audit: "Audit") -> str:
    """All domains, one under the other, with a closing line on how to read them; no trailing newline."""
    if not audit.domains:
        return "No pair has labels; nothing to audit."
    parts = [_domain_table(part) for part in audit.domains]
    parts.append(
        f"Intervals: 95 %, {audit.resamples} bootstrap resamples of whole subjects (seed {audit.seed}).\n"
        f"{UNDEFINED}: nothing to divide by. {TOO_FEW}: the reference has it under {FEW} times, or one subject only."
    )
    return "\n\n".join(parts)


def _domain_table(part: "DomainAudit") -> str:
    change, codes = part.change, part.codes
    views = [["agreement in", "precision", "recall", "F1", "95 % interval", "macro F1", "F1, changed pairs"]]
    for scores in part.views.values():
        micro, macro = scores.all_pairs.micro, scores.all_pairs.macro
        views.append(
            [
                scores.view.title,
                figure(micro.precision),
                figure(micro.recall),
                figure(micro.f1),
                span(scores.all_interval),
                f"{figure(macro.f1)} ({macro.supported} labels)",
                figure(scores.changed_pairs.micro.f1),
            ]
        )
    findings = [["finding", "support", "TP", "FP", "FN", "precision", "recall", "F1", "95 % interval"]]
    for name, counts in part.headline.all_pairs.by_finding.items():
        findings.append([name, *_row(counts), span(part.finding_intervals[name])])
    macro = part.headline.all_pairs.macro
    lines = [
        f"{part.domain.value.upper()}: {part.n_pairs} pairs of {part.n_subjects} subjects, "
        f"{change.tp + change.fn} with a change; "
        f"reports with unparsed sentences: {part.unparsed_pairs} ({percent(part.unparsed_share)})",
        "",
        *aligned(views),
        f"  Macro: mean over labels with support; {macro.left_out} of {macro.supported + macro.left_out} labels of the "
        f"first row have none. With 0 for them, as published: {figure(macro.f1_published)}.",
        "",
        *aligned(findings),
        "",
        f"  Pair changed or not: accuracy {percent(change.accuracy)} (always \"changed\": "
        f"{percent(change.always_changed)}), balanced accuracy {percent(change.balanced_accuracy)}",
        f"    sensitivity {percent(change.sensitivity)}, specificity on stable pairs {percent(change.specificity)}, "
        f"false alarms per stable pair {figure(change.false_alarms_per_stable_pair)}",
        f"  Change code where finding and place agree: {codes.right} of {codes.matched} right "
        f"({percent(codes.accuracy)})",
        f"  Pairs with a disagreement: {len(part.disagreements)} of {part.n_pairs}",
    ]  # fmt: skip
    return "\n".join(lines)


def _row(counts: Counts) -> list[str]:
    return [
        str(counts.support),
        str(counts.tp),
        str(counts.fp),
        str(counts.fn),
        figure(counts.precision),
        figure(counts.recall),
        figure(counts.f1),
    ]


def aligned(rows: list[list[str]]) -> list[str]:
    """Columns under each other, the first to the left, the others to the right, indented by two."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    lines.insert(1, "  " + "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return lines
