"""How are the results written down? As docs/persistence.md and its figure, whole, by the command that made them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from training.persistence.experiment import LENGTHS, THIRDS, VARIANTS, Result, Settings
from training.persistence.task import CELLS

#: Sentences that share a point of the figure.
GROUP: Final = 7

_NAMES: Final = {"host": "host alone", "mlp": "host with the MLP control", "memory": "host with PVM"}
_PARTS: Final = ("early", "middle", "late")

_HEAD: Final = """# Does a persistent visual memory keep late findings right?

Written by the command, not edited by hand. Each generated image has 49 cells, most of them with a finding of one of
six kinds, and its report has 49 sentences, one a cell, from the cell on that the prompt names. So where a finding
stands in the report says nothing about where it is in the image. A small host first learns short reports. From that one
start each variant is fine-tuned, with the same steps, images and learning rate; a seed decides the images, which are
the same for all variants. All then write whole reports on the same test images, greedily. A finding counts as right
when cell and kind are. The control has as many parameters as PVM and does not look at the image.
"""

_TITLES: Final = {
    "short": "## Fine-tuned on short reports, tested on whole ones\n\nReports of {start_sentences} sentences are all "
    "that was ever seen: what comes later stands at a length that is new.",
    "whole": "## Fine-tuned on whole reports\n\nReports as long as those of the test.",
}


def write_page(results: Sequence[Result], settings: Settings, command: str, figure: str) -> str:
    """The page: what was done, a table for each length with a row for each variant, and each run.

    F1 in hundredths, as means over the seeds with the sample standard deviation (n - 1).

    Args:
        results: Of all variants, lengths and seeds.
        settings: Of the run.
        command: That makes the page.
        figure: Path of the figure, as the page has it.
    """
    seeds = sorted({result.seed for result in results})
    lines = [
        _HEAD,
        f"F1 is micro F1 of the findings in hundredths, mean and standard deviation over the seeds "
        f"{', '.join(map(str, seeds))}, by the sentence's place in the report. Looked up is the share of cells, with "
        "findings or without, that are named rightly when all of the report before them is given as it should be: it "
        "leaves out what an earlier error does to later sentences.",
        "",
        f"![F1 by place in the report]({figure})",
        "",
    ]
    for length in LENGTHS:
        of = {name: [r for r in results if (r.variant, r.length) == (name, length)] for name in VARIANTS}
        lines += [_TITLES[length].format(**asdict(settings)), "", *_table(of), "", *_differences(of), ""]
    lines += [*_use_of_memory(results), ""]
    lines += ["## Each run", "", "F1 early / middle / late, loss of the last tenth of the steps, gates by layer.", ""]
    lines += ["| variant, reports | " + " | ".join(f"seed {seed}" for seed in seeds) + " |"]
    lines += ["|---" * (len(seeds) + 1) + "|"]
    for length in LENGTHS:
        for variant in VARIANTS:
            runs = [run for run in results if (run.variant, run.length) == (variant, length)]
            lines.append(f"| {_NAMES[variant]}, {length} | " + " | ".join(map(_cell, runs)) + " |")
    return "\n".join([*lines, "", *_origin(results, settings, command)]) + "\n"


def _table(of: Mapping[str, Sequence[Result]]) -> list[str]:
    names = [f"F1 {title}, {ranks.start + 1} to {ranks.stop}" for title, ranks in zip(_PARTS, THIRDS, strict=True)]
    rows = [
        f"| variant | {' | '.join(names)} | F1 all | late less early | looked up, early | late | parameters |",
        "|---" * 9 + "|",
    ]
    for variant, runs in of.items():
        cells = [_spread(runs, lambda run, ranks=ranks: run.f1(ranks)) for ranks in (*THIRDS, range(CELLS))]  # type: ignore[misc]
        cells.append(_spread(runs, lambda run: run.f1(THIRDS[-1]) - run.f1(THIRDS[0])))
        cells += [_spread(runs, lambda run, r=r: _looked_up(run, r)) for r in (THIRDS[0], THIRDS[-1])]  # type: ignore[misc]
        rows.append(f"| {_NAMES[variant]} | {' | '.join(cells)} | {runs[0].parameters / 1e6:.3f} M |")
    return rows


def _differences(of: Mapping[str, Sequence[Result]]) -> list[str]:
    """What the memory gives over host and control, seed by seed."""
    lines = []
    for other in ("host", "mlp"):
        pairs = list(zip(of["memory"], of[other], strict=True))
        gains = []
        for title, ranks in zip(_PARTS, THIRDS, strict=True):
            values = [100 * (ours.f1(ranks) - theirs.f1(ranks)) for ours, theirs in pairs]
            gains.append(f"{title} {statistics.fmean(values):+.1f} ({min(values):+.1f} to {max(values):+.1f})")
        lines.append(f"- F1 with PVM less {_NAMES[other]}, by seed, mean and range: {', '.join(gains)}.")
    return lines


def _use_of_memory(results: Sequence[Result]) -> list[str]:
    """How far the gates opened: what a gate of zero lets through is nothing."""
    widest = {
        variant: max(abs(gate) for run in results if run.variant == variant for gate in run.gates)
        for variant in ("memory", "mlp")
    }
    return [
        "## How much the memory is used",
        "",
        "Gates start at 0, where the branch gives nothing, and what a gate lets through has a mean square of 1 before "
        f"it. The widest that PVM's opened in any run is {widest['memory']:.3f}, the control's {widest['mlp']:.3f}. "
        "Differences between the variants are to be read beside that and beside the spread over the seeds.",
    ]


def _looked_up(run: Result, ranks: range) -> float:
    return statistics.fmean(run.looked_up[rank] for rank in ranks)


def _cell(run: Result) -> str:
    gates = f"; {', '.join(f'{gate:.3f}' for gate in run.gates)}" if run.gates else ""
    return " / ".join(f"{100 * run.f1(ranks):.1f}" for ranks in THIRDS) + f"; {run.loss:.3f}{gates}"


def _spread(runs: Sequence[Result], value: Callable[[Result], float]) -> str:
    values = [100 * value(run) for run in runs]
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}"


def _origin(results: Sequence[Result], settings: Settings, command: str) -> list[str]:
    whole = {length: [100 * run.whole for run in results if run.length == length] for length in LENGTHS}
    orders = "; ".join(f"{name} {min(shares):.0f} to {max(shares):.0f} %" for name, shares in whole.items())
    return [
        "## How it was made",
        "",
        f"- Command: `{command}`; it goes on where it was stopped.",
        f"- Revision: {', '.join(sorted({result.revision for result in results}))}.",
        f"- Hardware: {', '.join(sorted({result.hardware for result in results}))}; one thread.",
        f"- Processor time of all fine-tuning and measuring: {sum(r.seconds for r in results) / 60:.0f} min.",
        f"- Settings: {', '.join(f'{key} {value}' for key, value in asdict(settings).items())}.",
        "- Tower and words are frozen after the tower's own training. The decoder's keys start as its queries, without "
        "which a host of this size learns to look things up in hours, not minutes.",
        "- The settings were settled in about ten pilots, so that the host alone is neither at chance nor perfect.",
        f"- Reports that speak of every cell in the order that was asked for, by run: {orders}.",
    ]


def draw_figure(results: Sequence[Result], path: Path) -> None:
    """F1 by the sentence's place in the report: a panel for each length, a line a variant, a band over its seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    groups = [range(first, first + GROUP) for first in range(0, CELLS, GROUP)]
    middles = [(group.start + group.stop + 1) / 2 for group in groups]
    with pyplot.rc_context({"svg.hashsalt": "interval", "svg.fonttype": "none", "font.size": 9}):
        figure, panels = pyplot.subplots(1, len(LENGTHS), figsize=(8, 3.2), layout="constrained", sharey=True)
        for axes, length in zip(panels, LENGTHS, strict=True):
            for variant, colour in zip(VARIANTS, ("#555555", "#d95f02", "#1b6ca8"), strict=True):
                runs = [run for run in results if (run.variant, run.length) == (variant, length)]
                columns = [[run.f1(group) for run in runs] for group in groups]
                axes.plot(middles, [statistics.fmean(c) for c in columns], "o-", c=colour, label=_NAMES[variant], ms=3)
                low, high = [min(c) for c in columns], [max(c) for c in columns]
                axes.fill_between(middles, low, high, color=colour, alpha=0.15)
            axes.set(
                xlabel="place of the sentence in the report", xlim=(1, CELLS), title=f"fine-tuned on {length} reports"
            )
            axes.grid(alpha=0.3)
        panels[0].set(ylabel="F1 of findings", ylim=(0, 1.02))
        panels[0].legend(frameon=False, loc="lower left")
        figure.savefig(path, format="svg", metadata={"Date": None})
        pyplot.close(figure)
