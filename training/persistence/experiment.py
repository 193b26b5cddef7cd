"""How is each variant trained and measured?

1. A small host learns to report: its vision tower and its words first, densely; they are frozen from then on, as in the
   paper. Then its decoder learns short reports.
2. From that one start every variant is fine-tuned, on reports as short or on whole ones: the decoder and what is
   attached, the same steps, batches and learning rate for each; a seed decides the images, which are the same for all
   variants, and the start of what is new.
3. Each is measured on the same test images, which nothing was trained on: greedy decoding of whole reports, whose end
   is not chosen before the last sentence.

Every trained thing is one file in the folder of the run, written when it is done: a run that was killed goes on with
what is missing.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from training.experiment import train
from training.persistence.host import HEAD, build_small_host
from training.persistence.task import (
    CELL_OF,
    CELLS,
    CLASSES,
    ID,
    Case,
    batch,
    counts,
    draw_case,
    read_report,
    report_ids,
)
from training.whole_file import write_whole

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Qwen3VLForConditionalGeneration

logger = logging.getLogger(__name__)

Draws = Iterator[list[Case]]

#: What is compared: the host as it is, the control of the memory's capacity, the memory.
VARIANTS: Final = ("host", "mlp", "memory")

#: What is fine-tuned on: reports as long as those of the start, or as those of the test.
LENGTHS: Final = ("short", "whole")

#: Ranks in the report of early, middle and late sentences.
THIRDS: Final = (range(0, 17), range(17, 33), range(33, CELLS))

START_FILE: Final = "start.safetensors"

#: Streams of random numbers: what is drawn in one is never drawn in another.
_TOWER, _START, _TUNE, _TEST = 1, 2, 3, 4


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides the result beside the code.

    Attributes:
        seed: Of the start's weights and images, and of the test images.
        tower_steps: Steps of the vision tower alone.
        start_steps: Steps of the host on short reports.
        start_sentences: Sentences of a short report.
        tune_steps: Steps of each variant.
        batch: Images a step.
        start_rate: Peak learning rate of the start.
        tune_rate: Peak learning rate of the variants.
        weight_decay: Of AdamW, on matrices only.
        latent: Width of the memory's branch.
        test_images: What each variant is measured on.
    """

    seed: int = 0
    tower_steps: int = 200
    start_steps: int = 60
    start_sentences: int = 16
    tune_steps: int = 160
    batch: int = 16
    start_rate: float = 2e-3
    tune_rate: float = 2e-3
    weight_decay: float = 0.05
    latent: int = HEAD
    test_images: int = 128


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one variant reached with one seed.

    Attributes:
        variant: One of `VARIANTS`.
        length: One of `LENGTHS`.
        seed: Decides the images that it was trained on.
        counts: For each rank in the report the findings that are right, that were said, and that are there.
        looked_up: For each rank the share of images whose cell is named rightly when all before it is as it should be.
        whole: Share of the reports with a sentence about every cell in the order that was asked for.
        loss: Mean cross-entropy of the reports' tokens in the last tenth of the training.
        parameters: All that were trained.
        gates: The memory's or the control's gates at the end, by layer; none for the host.
        seconds: Processor time of training and measuring.
        revision: Of the code, with "+" when files were changed since.
        hardware: What it ran on.
    """

    variant: str
    length: str
    seed: int
    counts: list[tuple[int, int, int]]
    looked_up: list[float]
    whole: float
    loss: float
    parameters: int
    gates: list[float]
    seconds: float
    revision: str
    hardware: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """The result in a file."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def f1(self, ranks: range = range(CELLS)) -> float:
        """Micro F1 of the findings at these ranks, cell and kind both right."""
        right, said, there = (sum(self.counts[rank][part] for rank in ranks) for part in range(3))
        return 2 * right / (said + there) if said + there else math.nan


def result_file(folder: Path, variant: str, length: str, seed: int) -> Path:
    """Where a variant's result with one seed is kept."""
    return folder / f"{variant}-{length}-{seed}.json"


def make_start(folder: Path, settings: Settings) -> None:
    """Trains the host on short reports, unless that was done, and keeps its weights."""
    import torch
    from safetensors.torch import save_model

    path = folder / START_FILE
    if path.exists():
        return
    torch.manual_seed(settings.seed)
    host = build_small_host(seed=settings.seed)
    _train_tower(host, settings)
    _freeze(host)
    # Where images differ in what is frequent, a glance at all cells helps before single cells can be found.
    draws = _draws((settings.seed, _START), settings.start_steps, settings.batch, is_uneven=True)
    _train_reports(
        host, draws, settings.start_sentences, settings.start_steps, settings.start_rate, settings, name="start"
    )
    write_whole(path, lambda part: save_model(host, str(part)))


def make_result(
    folder: Path, settings: Settings, variant: str, length: str, seed: int, *, revision: str, hardware: str
) -> None:
    """Fine-tunes and measures a variant with one seed, unless that was done, and keeps the result."""
    import torch

    from models.gates import gate_values

    path = result_file(folder, variant, length, seed)
    if path.exists():
        return
    started = time.process_time()
    torch.manual_seed(seed)
    model = started_model(folder, settings, variant)
    draws = _draws((settings.seed, _TUNE, seed), settings.tune_steps, settings.batch)
    name = f"{variant} {length} {seed}"
    sentences = settings.start_sentences if length == "short" else CELLS
    loss = _train_reports(model, draws, sentences, settings.tune_steps, settings.tune_rate, settings, name=name)
    found, looked_up, whole = measure(model, settings)
    result = Result(
        variant=variant,
        length=length,
        seed=seed,
        counts=found,
        looked_up=looked_up,
        whole=whole,
        loss=loss,
        parameters=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        gates=list(gate_values(model).values()),
        seconds=time.process_time() - started,
        revision=revision,
        hardware=hardware,
    )
    write_whole(path, lambda part: part.write_text(json.dumps(asdict(result)) + "\n", encoding="utf-8"))
    thirds = ", ".join(f"{result.f1(ranks):.3f}" for ranks in THIRDS)
    logger.info("%s: F1 %s (early, middle, late), %.0f s of processor time", name, thirds, result.seconds)


def started_model(folder: Path, settings: Settings, variant: str) -> Qwen3VLForConditionalGeneration:
    """The host with the weights of the start, and a variant's modules in it."""
    from safetensors.torch import load_model

    from models.attach import attach
    from models.config import PVMConfig

    host = build_small_host(seed=settings.seed)
    load_model(host, str(folder / START_FILE))
    _freeze(host)
    return host if variant == "host" else attach(host, pvm=PVMConfig(latent_dim=settings.latent, branch=variant))


def _freeze(host: Qwen3VLForConditionalGeneration) -> None:
    """Vision tower and words stay: the first steps of a decoder that finds nothing yet would spoil them."""
    host.model.visual.requires_grad_(False)
    host.model.language_model.embed_tokens.requires_grad_(False)


def measure(
    model: Qwen3VLForConditionalGeneration, settings: Settings
) -> tuple[list[tuple[int, int, int]], list[float], float]:
    """`Result.counts`, `Result.looked_up` and `Result.whole` on the test images."""
    import torch

    model.train(False)
    loose: Any = model  # the type of its `generate` is not its own
    totals = np.zeros((CELLS, 3), dtype=np.int64)
    looked_up = np.zeros(CELLS)
    whole = seen = 0
    for cases in _draws((settings.seed, _TEST), math.ceil(settings.test_images / 64), 64):
        inputs, answered = batch(cases), batch(cases, CELLS)
        labels = answered.pop("labels")
        with torch.no_grad():
            ids = loose.generate(**inputs, min_new_tokens=3 * CELLS, max_new_tokens=3 * CELLS, do_sample=False)
            given = model(**answered).logits.argmax(-1)
        first = inputs["input_ids"].shape[1] + 1  # the second word of the first sentence
        kinds = slice(first, first + 3 * CELLS, 3)
        looked_up += (given[:, first - 1 : first - 1 + 3 * CELLS : 3] == labels[:, kinds]).sum(0).numpy()
        for case, row in zip(cases, ids[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
            said, reference = read_report(row, case), case.findings()
            totals += [counts(said, reference, range(rank, rank + 1)) for rank in range(CELLS)]
            whole += _places(row) == _places(report_ids(case, CELLS))
            seen += 1
    found = [(int(right), int(said), int(there)) for right, said, there in totals]
    return found, [float(share) for share in looked_up / seen], whole / seen


def _places(ids: list[int]) -> list[int]:
    """Which cells a report speaks of, in its order."""
    return [CELL_OF[index] for index in ids if index in CELL_OF]


def _draws(stream: tuple[int, ...], steps: int, size: int, *, is_uneven: bool = False) -> Draws:
    """The cases of each step, each step's from a generator of its own."""
    for step in range(steps):
        rng = np.random.default_rng([*stream, step])
        yield [draw_case(rng, is_uneven=is_uneven) for _ in range(size)]


def _train_tower(host: Qwen3VLForConditionalGeneration, settings: Settings) -> None:
    """The vision tower learns to say in each of its tokens, in the host's own words, what is where, in place.

    Without it the decoder has nothing to find, and stays at the reports' marginal distribution for many hundred steps.
    """
    import torch
    from torch.nn.functional import cross_entropy

    tower, embedding = host.model.visual, host.model.language_model.embed_tokens
    places, kinds = [ID[f"cell {cell}"] for cell in range(CELLS)], [ID[kind] for kind in CLASSES]
    cells = torch.arange(CELLS)

    def loss_of(cases: list[Case]) -> Tensor:
        inputs = batch(cases)
        tokens = tower(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"]).pooler_output
        where, what = ((tokens @ embedding.weight[ids].T).float() for ids in (places, kinds))
        classes = torch.from_numpy(np.concatenate([case.classes for case in cases]))
        return cross_entropy(where, cells.repeat(len(cases))) + cross_entropy(what, classes)

    draws = _draws((settings.seed, _TOWER), settings.tower_steps, settings.batch)
    modules = torch.nn.ModuleList([tower, embedding])
    train(
        modules,
        loss_of,
        draws,
        steps=settings.tower_steps,
        rate=settings.start_rate,
        weight_decay=settings.weight_decay,
        name="tower",
    )


def _train_reports(
    model: Qwen3VLForConditionalGeneration,
    draws: Draws,
    sentences: int,
    steps: int,
    rate: float,
    settings: Settings,
    *,
    name: str,
) -> float:
    """The model learns reports of that many sentences, in place; gives the mean loss of the last tenth of the steps."""

    def loss_of(cases: list[Case]) -> Tensor:
        loss: Tensor = model(**batch(cases, sentences)).loss
        return loss

    return train(model, loss_of, draws, steps=steps, rate=rate, weight_decay=settings.weight_decay, name=name)
