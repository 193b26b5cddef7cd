"""How are the results written down? As docs/persistence.md and its figure, whole, by the command that made them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from training.persistence.experiment import THIRDS, VARIANTS, Result, Settings
from training.persistence.task import CELLS

#: Sentences that share a point of the figure.
GROUP: Final = 7

_NAMES: Final = {"host": "host alone", "mlp": "host with the MLP control", "memory": "host with PVM"}

_HEAD: Final = """# Does a persistent visual memory keep late findings right?

Written by the command, not edited by hand. Each generated image has 49 cells, most of them with a finding of one of six
kinds, and its report has 49 sentences, one a cell, from the cell on that the prompt names. So where a finding stands in
the report says nothing about where it is in the image. A small host first learns short reports, of images that differ
in which findings are frequent. From that one start each variant is fine-tuned on whole reports, all parameters, with
the same steps, images and learning rate; a seed decides the images, which are the same for all variants. All report on
the same test images, greedily. A finding counts as right when cell and kind are. The control has as many parameters as
PVM and does not look at the image.
"""


def write_page(results: Sequence[Result], settings: Settings, command: str, figure: str) -> str:
    """The page: what was done, a row for each variant, and each run.

    F1 in hundredths, as means over the seeds with the sample standard deviation (n - 1).

    Args:
        results: Of all variants and seeds.
        settings: Of the run.
        command: That makes the page.
        figure: Path of the figure, as the page has it.
    """
    of = {variant: [result for result in results if result.variant == variant] for variant in VARIANTS}
    seeds = sorted({result.seed for result in results})
    names = [f"{title} ({ranks.start + 1} to {ranks.stop})" for title, ranks in zip(_THIRDS, THIRDS, strict=True)]
    lines = [
        _HEAD,
        f"Micro F1 of the findings, in hundredths, by the sentence's place in the report; mean and standard deviation "
        f"over the seeds {', '.join(map(str, seeds))}.",
        "",
        f"| variant | {' | '.join(names)} | all | late less early | parameters |",
        "|---|---|---|---|---|---|---|",
    ]
    for variant, runs in of.items():
        cells = [_spread(runs, lambda run, ranks=ranks: run.f1(ranks)) for ranks in (*THIRDS, range(CELLS))]  # type: ignore[misc]
        fall = _spread(runs, lambda run: run.f1(THIRDS[-1]) - run.f1(THIRDS[0]))
        lines.append(f"| {_NAMES[variant]} | {' | '.join(cells)} | {fall} | {runs[0].parameters / 1e6:.3f} M |")
    lines += ["", *_differences(of), "", f"![F1 by place in the report]({figure})", ""]
    lines += ["Each run, early / middle / late, and the mean loss of the last tenth of its steps:", ""]
    lines += ["| variant | " + " | ".join(f"seed {seed}" for seed in seeds) + " |", "|---" * (len(seeds) + 1) + "|"]
    for variant, runs in of.items():
        cells = [" / ".join(f"{100 * run.f1(r):.1f}" for r in THIRDS) + f", {run.loss:.3f}" for run in runs]
        lines.append(f"| {_NAMES[variant]} | " + " | ".join(cells) + " |")
    gates = "; ".join(
        f"{_NAMES[variant]}, seed {run.seed}: {', '.join(f'{gate:.3f}' for gate in run.gates)}"
        for variant in ("mlp", "memory")
        for run in of[variant]
    )
    whole = min(result.whole for result in results)
    lines += [
        "",
        f"Gates at the end, by layer: {gates}.",
        "",
        "## How it was made",
        "",
        f"- Command: `{command}`; it goes on where it was stopped.",
        f"- Revision: {', '.join(sorted({result.revision for result in results}))}.",
        f"- Hardware: {', '.join(sorted({result.hardware for result in results}))}; one thread a run.",
        f"- Processor time of all fine-tuning and measuring: {sum(r.seconds for r in results) / 60:.0f} min.",
        f"- Settings: {', '.join(f'{key} {value}' for key, value in asdict(settings).items())}.",
        f"- Reports that speak of every cell in the order asked for: {100 * whole:.1f} % at least, in each run.",
    ]
    return "\n".join(lines) + "\n"


_THIRDS: Final = ("early", "middle", "late")


def _differences(of: Mapping[str, Sequence[Result]]) -> list[str]:
    """What the memory gives over host and control, seed by seed."""
    lines = []
    for other in ("host", "mlp"):
        pairs = list(zip(of["memory"], of[other], strict=True))
        gains = []
        for title, ranks in zip(_THIRDS, THIRDS, strict=True):
            values = [100 * (ours.f1(ranks) - theirs.f1(ranks)) for ours, theirs in pairs]
            gains.append(f"{title} {statistics.fmean(values):+.1f} ({min(values):+.1f} to {max(values):+.1f})")
        lines.append(f"PVM over the {_NAMES[other]}, pairwise by seed, mean and range: {', '.join(gains)}.")
        lines.append("")
    return lines[:-1]


def _spread(runs: Sequence[Result], value: Callable[[Result], float]) -> str:
    values = [100 * value(run) for run in runs]
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}"


def draw_figure(results: Sequence[Result], path: Path) -> None:
    """F1 by the sentence's place in the report: a line for each variant, a band over its seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context({"svg.hashsalt": "interval", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = pyplot.subplots(figsize=(6, 3.4), layout="constrained")
        groups = [range(first, first + GROUP) for first in range(0, CELLS, GROUP)]
        middles = [(group.start + group.stop + 1) / 2 for group in groups]
        for variant, colour in zip(VARIANTS, ("#555555", "#d95f02", "#1b6ca8"), strict=True):
            runs = [[run.f1(group) for group in groups] for run in results if run.variant == variant]
            columns = list(zip(*runs, strict=True))
            axes.plot(middles, [statistics.fmean(c) for c in columns], "o-", color=colour, label=_NAMES[variant], ms=3)
            axes.fill_between(middles, [min(c) for c in columns], [max(c) for c in columns], color=colour, alpha=0.15)
        axes.set(xlabel="place of the sentence in the report", ylabel="F1 of findings", xlim=(1, CELLS))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})
        pyplot.close(figure)
