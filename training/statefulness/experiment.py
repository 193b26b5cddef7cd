"""How is each variant trained and measured?

1. A small host learns on single images to say where a dot is, and how far apart two dots are, its vision tower first,
   densely.
2. From that one start every variant is fine-tuned on pairs to say how far apart the dots are: all parameters, the same
   steps, batches and learning rate for each; a seed decides the pairs, which are the same for all variants.
3. Each is measured on the same test pairs, which nothing was trained on, with greedy decoding.

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
from typing import TYPE_CHECKING, Any, Final, Self, cast

import numpy as np

from training.experiment import train
from training.statefulness.host import WIDTH, build_small_host
from training.statefulness.task import (
    IMAGE_SIZE,
    MERGE_SIZE,
    PATCH_SIZE,
    DotImage,
    batch,
    decode,
    dot_distance,
    dot_image,
    dots_of,
    read_distance,
)
from training.whole_file import write_whole

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import InternVLForConditionalGeneration

logger = logging.getLogger(__name__)

Samples = list[tuple[DotImage, ...]]
Draws = Iterator[Samples]

#: Kinds of samples: the dots in each image of a sample.
Kinds = tuple[tuple[int, ...], ...]
_SINGLE: Final[Kinds] = ((1,), (2,))
_PAIRS: Final[Kinds] = ((1, 1),)

#: What is compared; the first is the host as it is.
VARIANTS: Final = ("stateless", "self_ext", "adaln_zero", "cross", "cross_ffn", "self_ffn")

START_FILE: Final = "start.safetensors"

#: Streams of random numbers: what is drawn in one is never drawn in another.
_TOWER, _START, _TUNE, _TEST = 1, 2, 3, 4


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides the result beside the code.

    Attributes:
        seed: Of the start's weights and images, and of the test pairs.
        decoder_layers: Of the host.
        tower_steps: Steps of the vision tower alone, on single images.
        tower_batch: Images a step.
        tower_rate: Peak learning rate.
        start_steps: Steps of the host on single images.
        start_batch: Images a step.
        start_rate: Peak learning rate.
        tune_steps: Steps on pairs.
        tune_batch: Pairs a step.
        tune_rate: Peak learning rate.
        weight_decay: Of AdamW, on matrices only.
        test_pairs: What each variant is measured on.
    """

    seed: int = 0
    decoder_layers: int = 1
    tower_steps: int = 4000
    tower_batch: int = 64
    tower_rate: float = 3e-3
    start_steps: int = 1500
    start_batch: int = 32
    start_rate: float = 1e-3
    tune_steps: int = 1500
    tune_batch: int = 32
    tune_rate: float = 1e-3
    weight_decay: float = 0.05
    test_pairs: int = 1000


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one variant reached with one seed.

    Attributes:
        variant: One of `VARIANTS`.
        seed: Decides the pairs that it was trained on.
        mae: Mean absolute error of the distance, 0 to 1.
        rmse: Root of the mean squared error.
        unread: Answers without a number; each counts as the distance 0.
        loss: Mean cross-entropy of the answers' tokens in the last tenth of the training.
        parameters: All that were trained.
        seconds: Processor time of training and measuring.
        revision: Of the code, with "+" when files were changed since.
        hardware: What it ran on.
    """

    variant: str
    seed: int
    mae: float
    rmse: float
    unread: int
    loss: float
    parameters: int
    seconds: float
    revision: str
    hardware: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """The result in a file."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def result_file(folder: Path, variant: str, seed: int) -> Path:
    """Where a variant's result with one seed is kept."""
    return folder / f"{variant}-{seed}.json"


def make_start(folder: Path, settings: Settings) -> None:
    """Trains the host on single images, unless that was done, and keeps its weights."""
    import torch
    from safetensors.torch import save_model

    path = folder / START_FILE
    if path.exists():
        return
    torch.manual_seed(settings.seed)
    host = build_small_host(seed=settings.seed, decoder_layers=settings.decoder_layers)
    draws = _draws((settings.seed, _TOWER), settings.tower_steps, settings.tower_batch, _SINGLE)
    _train_tower(host, draws, settings)
    draws = _draws((settings.seed, _START), settings.start_steps, settings.start_batch, _SINGLE)
    _train_answers(host, draws, settings.start_steps, settings.start_rate, settings, name="start")
    write_whole(path, lambda part: save_model(host, str(part)))


def make_result(folder: Path, settings: Settings, variant: str, seed: int, *, revision: str, hardware: str) -> None:
    """Fine-tunes and measures a variant with one seed, unless that was done, and keeps the result."""
    import torch

    path = result_file(folder, variant, seed)
    if path.exists():
        return
    started = time.process_time()
    torch.manual_seed(seed)
    model = started_model(folder, settings, variant)
    draws = _draws((settings.seed, _TUNE, seed), settings.tune_steps, settings.tune_batch, _PAIRS)
    name = f"{variant} {seed}"
    loss = _train_answers(model, draws, settings.tune_steps, settings.tune_rate, settings, name=name)
    mae, rmse, unread = measure(model, settings)
    result = Result(
        variant=variant,
        seed=seed,
        mae=mae,
        rmse=rmse,
        unread=unread,
        loss=loss,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        seconds=time.process_time() - started,
        revision=revision,
        hardware=hardware,
    )
    write_whole(path, lambda part: part.write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8"))
    logger.info("%s: MAE %.4f, RMSE %.4f, %.0f s of processor time", name, mae, rmse, result.seconds)


def started_model(folder: Path, settings: Settings, variant: str) -> InternVLForConditionalGeneration:
    """The host with the weights of the start, and a variant's modules in it."""
    from safetensors.torch import load_model

    from models.attach import attach
    from models.config import SVEConfig

    host = build_small_host(seed=settings.seed, decoder_layers=settings.decoder_layers)
    load_model(host, str(folder / START_FILE))
    return host if variant == "stateless" else attach(host, sve=SVEConfig(design=variant))


def measure(model: InternVLForConditionalGeneration, settings: Settings) -> tuple[float, float, int]:
    """Mean absolute error, root mean squared error and answers without a number, on the test pairs."""
    import torch

    model.train(False)
    generate = cast("Any", model).generate
    answers: list[tuple[float | None, float]] = []
    for samples in _draws((settings.seed, _TEST), math.ceil(settings.test_pairs / 100), 100, _PAIRS):
        inputs = batch(samples)
        with torch.no_grad():
            ids = generate(**inputs, max_new_tokens=8, do_sample=False)[:, inputs["input_ids"].shape[1] :]
        said = [read_distance(decode(row)) for row in ids.tolist()]
        answers += zip(said, map(dot_distance, samples), strict=True)
    answers = answers[: settings.test_pairs]
    errors = np.asarray([(said or 0.0) - true for said, true in answers])
    unread = sum(said is None for said, _ in answers)
    return float(np.abs(errors).mean()), float(np.sqrt(np.square(errors).mean())), unread


def _draws(stream: tuple[int, ...], steps: int, size: int, kinds: Kinds) -> Draws:
    """The samples of each step, each step's from a generator of its own; steps take turns with the kinds of samples."""
    for step in range(steps):
        rng = np.random.default_rng([*stream, step])
        dots = kinds[step % len(kinds)]
        yield [tuple(dot_image(rng, count) for count in dots) for _ in range(size)]


def _train_tower(host: InternVLForConditionalGeneration, draws: Draws, settings: Settings) -> None:
    """The vision tower learns, in place, to say with every token where the dot is, or how far apart two are.

    Trained on answers alone, a host of this size stays at their marginal distribution for many hundred steps. That
    every token must say it gives the tower what one that was trained on images has: attention that looks elsewhere.
    """
    import torch
    from torch.nn.functional import cross_entropy, mse_loss

    head = torch.nn.Linear(WIDTH, 4)
    side = IMAGE_SIZE // PATCH_SIZE // MERGE_SIZE

    def loss_of(samples: Samples) -> Tensor:
        tokens = host.model.get_image_features(batch(samples)["pixel_values"]).pooler_output
        said = head(tokens).float().view(len(samples), side * side, 4)
        # Weights that make all terms fall from the start.
        if len(dots_of(samples[0])) == 2:
            distance = torch.tensor([dot_distance(images) for images in samples])
            return 10 * mse_loss(said[..., 3], distance[:, None].expand(-1, side * side))
        place = torch.tensor([dots_of(images)[0] for images in samples])
        columns, rows = (place * side).long().unbind(1)
        which = cross_entropy(said[..., 0], rows * side + columns)
        return 0.3 * which + 10 * mse_loss(said[..., 1:3], place[:, None].expand(-1, side * side, -1))

    modules = torch.nn.ModuleList([host.model.vision_tower, host.model.multi_modal_projector, head])
    train(
        modules,
        loss_of,
        draws,
        steps=settings.tower_steps,
        rate=settings.tower_rate,
        weight_decay=settings.weight_decay,
        name="tower",
    )


def _train_answers(
    model: InternVLForConditionalGeneration, draws: Draws, steps: int, rate: float, settings: Settings, *, name: str
) -> float:
    """The model learns the answers, in place; gives the mean loss of the last tenth of the steps."""

    def loss_of(samples: Samples) -> Tensor:
        loss: Tensor = model(**batch(samples, is_answered=True)).loss
        return loss

    return train(model, loss_of, draws, steps=steps, rate=rate, weight_decay=settings.weight_decay, name=name)
