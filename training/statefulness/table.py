"""How are the results written down? As docs/statefulness.md, whole, by the command that made them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

from training.statefulness.experiment import VARIANTS, Result, Settings
from training.statefulness.task import IMAGE_SIZE, MERGE_SIZE, PATCH_SIZE

#: What is expected of cross_ffn: its error below this share of the stateless host's, and below self_ffn's.
EXPECTED_SHARE: Final = 0.8

_HEAD: Final = """# Does the stateful encoder learn what a stateless one does not?

Written by the command, not edited by hand. The task is the paper's dot distance (arXiv 2606.04433, appendix C.1) on
generated images: a red dot lies on each of two different backgrounds, and the answer is their distance with two
decimals, 1 between opposite corners. A small host first learns on single images to say where a dot is and, where there
are two in one image, how far apart they are. From that one start each variant is fine-tuned on pairs, all parameters,
with the same steps, pairs and learning rate; a seed decides the pairs, and each seed's pairs are the same for all
variants. Every variant answers the same test pairs, greedily. `self_ffn` has the modules of `cross_ffn`, but each image
reads itself: it shows what the added parameters alone are worth.
"""

_WHY_THIS_HOST: Final = """## What the host has to be like

Three pilots, one seed each (11), led to these settings; their figures are MAE in hundredths.

- A decoder of two layers and a start on one dot an image: after 6,000 steps the stateless host is at 0.42, near the
  0.25 that two decimals leave, and `cross_ffn` learns no faster (loss after 3,300 steps 0.35, stateless 0.32). Each
  token of the tower says where its image's dot is, and such a decoder compares two places itself: the task is too easy
  for it.
- The same decoder, and a start with distances within an image, 800 steps each for tower and host: 1.35 for both after
  1,500 steps. The tower knew distances to 3.8 only, less than the decoder learned by itself.
- A decoder of one layer, which can read but hardly compute, and a start of 4,000 and 1,500 steps, whose tower knows
  distances within an image to 1.2, so that its attention is worth cloning: 4.05 stateless, 1.17 with `cross_ffn`. This
  is what is measured here with other seeds.

So the gain is that of a host whose tower compares better than its decoder, and is not to be expected of another.
"""


def write_table(results: Sequence[Result], settings: Settings, command: str) -> str:
    """The page: what was done, a row for each variant, and whether it came out as expected.

    Errors are means over the seeds with the sample standard deviation (n - 1), in hundredths of the image's diagonal.
    """
    of = {variant: [result for result in results if result.variant == variant] for variant in VARIANTS}
    seeds = sorted({result.seed for result in results})
    stateless = _mean(of["stateless"], "mae")
    lines = [
        _HEAD,
        f"Seeds {', '.join(map(str, seeds))}; mean and standard deviation over them, in hundredths of the diagonal.",
        "",
        "| variant | MAE | RMSE | MAE over stateless | parameters | processor time of a run |",
        "|---|---|---|---|---|---|",
    ]
    for variant, runs in of.items():
        share = _mean(runs, "mae") / stateless
        lines.append(
            f"| {variant} | {_spread(runs, 'mae')} | {_spread(runs, 'rmse')} | {share:.2f} | "
            f"{runs[0].parameters / 1e6:.2f} M | {_mean(runs, 'seconds'):.0f} s |"
        )
    lines += ["", *_verdict(of), "", "Each run, MAE / RMSE, and the mean loss of its last tenth of the steps:", ""]
    lines += ["| variant | " + " | ".join(f"seed {seed}" for seed in seeds) + " |", "|---" * (len(seeds) + 1) + "|"]
    for variant, runs in of.items():
        cells = [f"{run.mae * 100:.2f} / {run.rmse * 100:.2f}, {run.loss:.3f}" for run in runs]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    unread = sum(result.unread for result in results)
    tokens = (IMAGE_SIZE // PATCH_SIZE // MERGE_SIZE) ** 2
    lines += [
        "",
        _WHY_THIS_HOST,
        "## How it was made",
        "",
        f"- Command: `{command}`; it goes on where it was stopped.",
        f"- Revision: {', '.join(sorted({result.revision for result in results}))}.",
        f"- Hardware: {', '.join(sorted({result.hardware for result in results}))}; one thread a run.",
        f"- Processor time of all fine-tuning and measuring: {sum(r.seconds for r in results) / 60:.0f} min.",
        f"- Images: {IMAGE_SIZE} pixels a side, patches of {PATCH_SIZE}, {tokens} tokens each for the decoder.",
        f"- Settings: {', '.join(f'{key} {value}' for key, value in asdict(settings).items())}.",
        f"- Answers without a number, which count as the distance 0: {unread} of {len(results) * settings.test_pairs}.",
    ]
    return "\n".join(lines) + "\n"


def _verdict(of: Mapping[str, Sequence[Result]]) -> list[str]:
    """What was expected, and whether it came out."""
    ours, stateless, control = (_mean(of[variant], "mae") for variant in ("cross_ffn", "stateless", "self_ffn"))
    return [
        f"Expected: cross_ffn's MAE below {EXPECTED_SHARE} of the stateless host's, and below self_ffn's.",
        f"Measured: {ours / stateless:.2f} of the stateless host's ({_yes(ours < EXPECTED_SHARE * stateless)}), and "
        f"{ours / control:.2f} of self_ffn's ({_yes(ours < control)}).",
    ]


def _yes(holds: bool) -> str:
    return "as expected" if holds else "not as expected"


def _mean(runs: Sequence[Result], name: str) -> float:
    return statistics.fmean(getattr(run, name) for run in runs)


def _spread(runs: Sequence[Result], name: str) -> str:
    values = [getattr(run, name) * 100 for run in runs]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"
