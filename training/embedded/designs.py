"""What do the stateful encoder and the memory give? Three designs, fine-tuned from one host on equal budget."""

from __future__ import annotations

import json
import logging
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from reports.vocabulary import Domain
from training.embedded.held_out import HeldOutPair
from training.embedded.measure import audited
from training.errors import TrainingError
from training.predict import Predictor
from training.recipe import DESIGNS, RECIPE_FILE, RecipeConfig, make_compact
from training.whole_file import write_whole

logger = logging.getLogger(__name__)

RESULT_FILE: Final = "figures.json"

#: What is compared, by the keys of the table's columns.
FIGURES: Final = {
    "f1": "micro F1",
    "detection": "micro F1, whatever the change",
    "codes": "change codes right",
    "change": "change accuracy, balanced",
}


@dataclass(frozen=True, kw_only=True)
class DesignResult:
    """One fine-tuned model on the held-out pairs.

    Attributes:
        design: One of `DESIGNS`.
        seed: Of the pairs that it was fine-tuned on, and of its new weights.
        steps: Of the fine-tuning.
        batch: Pairs a step.
        start: Hash of the plain host.
        pairs: Held-out pairs a domain.
        figures: By domain, then by `FIGURES`.
    """

    design: str
    seed: int
    steps: int
    batch: int
    start: str
    pairs: int
    figures: dict[str, dict[str, float]]


def fine_tune(design: str, config: RecipeConfig, *, start: Path, out: Path) -> Path:
    """The folder of the model that the design gives from the start; one that is there already is not made again.

    Raises:
        TrainingError: The folder's model was made with other settings.
    """
    folder = out / f"{design}-seed{config.seed}"
    config = replace(config, design=design, dense_steps=0)
    path = folder / RECIPE_FILE
    if path.is_file():
        last = json.loads(path.read_text(encoding="utf-8"))[-1]
        if last["saved_at_step"] == config.pair_steps and last["saved_at_stage"] == "pairs":
            if any(last[key] != value for key, value in json.loads(json.dumps(asdict(config))).items()):
                raise TrainingError(f"{folder} was made with other settings: give another folder, or remove it.")
            return folder
    logger.info("%s, seed %d: %d steps", design, config.seed, config.pair_steps)
    make_compact(config, folder, start=start)
    return folder


def compare(
    seeds: Iterable[int],
    config: RecipeConfig,
    *,
    start: Path,
    out: Path,
    pairs: Mapping[Domain, Sequence[HeldOutPair]],
) -> list[DesignResult]:
    """Fine-tunes each design with each seed and measures it; what `out` has already is taken from there.

    Args:
        seeds: One fine-tuning of each design for each.
        config: Of the fine-tuning; design and seed are set here.
        start: Folder of the plain host.
        out: A folder for each model, with its figures.
        pairs: Held-out pairs by domain.
    """
    results = []
    host = Predictor.load(start, cache_bytes=0).model_hash
    for seed in seeds:
        for design in DESIGNS:
            folder = fine_tune(design, replace(config, seed=seed), start=start, out=out)
            path = folder / RESULT_FILE
            if not path.is_file():
                result = DesignResult(
                    design=design,
                    seed=seed,
                    steps=config.pair_steps,
                    batch=config.pair_batch,
                    start=host,
                    pairs=min(map(len, pairs.values())),
                    figures=_figures(folder, pairs),
                )
                _write(path, asdict(result))
            results.append(DesignResult(**json.loads(path.read_text(encoding="utf-8"))))
    return results


def _write(path: Path, content: object) -> None:
    text = json.dumps(content, indent=2) + "\n"
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_results(results: Sequence[DesignResult], path: Path) -> None:
    """The figures of all runs as JSON, which the page is written from."""
    _write(path, [asdict(one) for one in results])


def read_results(path: Path) -> list[DesignResult]:
    """Figures that `write_results` wrote."""
    return [DesignResult(**one) for one in json.loads(path.read_text(encoding="utf-8"))]


def design_section(results: Sequence[DesignResult], *, command: str) -> list[str]:
    """The page's part on the designs: mean and spread over the seeds, and how many seeds each gain holds for."""
    first = results[0]
    seeds = sorted({one.seed for one in results})
    lines = [
        "## What the stateful encoder and the memory give",
        "",
        f"One plain host ({first.start[:12]}) fine-tuned on pairs in three designs, {first.steps} steps of "
        f"{first.batch} pairs each, the same pairs and losses for all, {len(seeds)} seeds: `plain` reads the two "
        "images as they are, in `self_ffn` the current's tokens read themselves in the prior's stead with the same "
        f"parameters, `cross_ffn_pvm` has SVE and PVM. Measured on {first.pairs} held-out pairs a domain; mean and "
        f"standard deviation over the seeds, made by `{command}`. These are shorter runs than the embedded model's, "
        "equal in pairs and steps, not in time: `docs/measurements.md` has what a step takes.",
        "",
    ]
    for domain in Domain:
        lines += [
            f"### {domain.value.capitalize()}",
            "",
            "| design | " + " | ".join(FIGURES.values()) + " |",
            "|" + "---|" * (len(FIGURES) + 1),
        ]
        for design in DESIGNS:
            runs = [one.figures[domain.value] for one in results if one.design == design]
            cells = (_spread([run[key] for run in runs]) for key in FIGURES)
            lines.append(f"| {design} | " + " | ".join(cells) + " |")
        lines.append("")
        gains = (_gain(results, domain, peer) for peer in DESIGNS if peer != DESIGNS[-1])
        lines += [f"Micro F1 of {DESIGNS[-1]}: " + "; ".join(gains) + ".", ""]
    return lines


def _figures(folder: Path, pairs: Mapping[Domain, Sequence[HeldOutPair]]) -> dict[str, dict[str, float]]:
    predictor = Predictor.load(folder, cache_bytes=0)
    figures = {}
    for domain, held_out in pairs.items():
        _, result = audited(held_out, predictor)
        values = {
            "f1": result.headline.all_pairs.micro.f1,
            "detection": result.views["detection"].all_pairs.micro.f1,
            "codes": result.codes.accuracy,
            "change": result.change.balanced_accuracy,
        }
        figures[domain.value] = {key: float("nan") if value is None else value for key, value in values.items()}
    return figures


def _spread(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def _gain(results: Sequence[DesignResult], domain: Domain, peer: str) -> str:
    f1 = {(one.design, one.seed): one.figures[domain.value]["f1"] for one in results}
    gains = [value - f1[peer, seed] for (design, seed), value in f1.items() if design == DESIGNS[-1]]
    above = sum(gain > 0 for gain in gains)
    return f"{statistics.mean(gains):+.3f} beside {peer}, above it with {above} of {len(gains)} seeds"
