"""How was the embedded model made? `python -P -m training.recipe --seed 7 --out FOLDER` makes it again.

Two stages on generated archives, none of which has the seed of the sample archive:

1. The host's vision tower learns densely on single images: for every vision token, which findings cover it, of which
   place and grade.
   Trained on pairs alone, a host of this size stays at the marginal distribution of the reports.
2. SVE and PVM enter the host (their projections clone the trained tower), and everything is trained on pairs: the
   report's cross-entropy, beside it the dense targets, for the current image with the change code of each finding.

The dense heads are thrown away; host and adapter are saved.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from reports.vocabulary import Domain
from training.batch import training_batch
from training.compact_host import IMAGE_SIZE, PATCH_SIZE, WIDTH, build_host, build_processor
from training.errors import TrainingError
from training.metrics import append_metrics
from training.predict import CARD_FILE, ModelCard, load_model
from training.schedule import adamw_with_cosine

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import Qwen3VLForConditionalGeneration, Qwen3VLProcessor

logger = logging.getLogger(__name__)

#: Vision tokens a side.
TOKENS = IMAGE_SIZE // PATCH_SIZE

_CARD = ModelCard(
    name="compact",
    trained_on_real_images=False,
    supported_views=("PA", "AP"),
    image_size=IMAGE_SIZE,
    # the scenes of the sample archive, which it was trained on whole, have up to 280 pixels
    chip_size=320,
)

#: The settings of the runs that made a model, in their order.
RECIPE_FILE = "recipe.json"

#: Losses and gates of stage 2; `interval analyse gates` draws them.
METRICS_FILE = "metrics.jsonl"

#: Steps of stage 2 between two saves, so that a run that was cut off is not lost.
SAVE_EVERY = 200


@dataclass(frozen=True, kw_only=True)
class RecipeConfig:
    """Everything that decides the result beside the code.

    Attributes:
        seed: Seed of weights and of every generated pair; pair i of stage s is drawn from (seed, s, i).
        dense_steps: Steps of stage 1.
        dense_batch: Pairs a step in stage 1; each gives two single images.
        dense_rate: Peak learning rate of stage 1.
        pair_steps: Steps of stage 2.
        pair_batch: Pairs a step in stage 2.
        pair_rate: Peak learning rate of stage 2.
        dense_weight: Weight of the dense losses beside the cross-entropy in stage 2.
        weight_decay: Of AdamW, on matrices only.
        pvm_layers: Decoder layers with a retrieval branch.
        pvm_latent: Width of the retrieval branch.
        workers: Processes that draw pairs.
        threads: Threads of torch.
    """

    seed: int
    dense_steps: int = 350
    dense_batch: int = 32
    dense_rate: float = 1.5e-3
    pair_steps: int = 1250
    pair_batch: int = 32
    pair_rate: float = 8e-4
    dense_weight: float = 0.5
    weight_decay: float = 0.05
    pvm_layers: tuple[int, ...] = (1, 2, 3)
    pvm_latent: int = 128
    workers: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        if self.seed == SAMPLE_SEED:
            raise TrainingError(f"Seed {self.seed} is the sample archive's: train on another one.")
        if self.seed == HELD_OUT_SEED:
            raise TrainingError(f"Seed {self.seed} is that of the held-out archives: train on another one.")


#: Seed of the archives that `interval demo` writes and the figures in the README are measured on; never trained on.
SAMPLE_SEED = 2026

#: Seed of the archives that `make embedded-model` measures the model on; never trained on, never tuned on.
HELD_OUT_SEED = 20_270


def _loader(config: RecipeConfig, processor: Qwen3VLProcessor, *, stage: int, steps: int, batch: int) -> Any:
    """Batches of generated pairs, half radiographs and half scenes, in an order that depends on the seed alone.

    In stage 2 every pair is shown as it is and with prior and current swapped, one after the other: a step then holds
    both answers to the same two images, and half as many need be drawn.
    """
    from torch.utils.data import DataLoader, Dataset

    from training.generated import GeneratedPair, generated_pair, swapped

    @lru_cache(maxsize=1)
    def drawn(number: int) -> GeneratedPair:
        rng = np.random.default_rng([config.seed, stage, number])
        domain = Domain.RADIOLOGY if number % 2 == 0 else Domain.SATELLITE
        return generated_pair(domain, rng, image_size=IMAGE_SIZE, tokens=TOKENS)

    class Pairs(Dataset[GeneratedPair]):
        def __len__(self) -> int:
            return steps * batch

        def __getitem__(self, index: int) -> GeneratedPair:
            if stage == 1:  # single images: swapped, they are the same
                return drawn(index)
            pair = drawn(index // 2)
            return swapped(pair) if index % 2 else pair

    def collate(pairs: list[GeneratedPair]) -> dict[str, Tensor]:
        import torch

        tensors = training_batch(processor, [pair.sample for pair in pairs])
        tensors["presence"] = torch.from_numpy(np.stack([pair.presence for pair in pairs]))
        tensors["change"] = torch.from_numpy(np.stack([pair.change for pair in pairs]))
        return tensors

    return DataLoader(
        Pairs(),
        batch_size=batch,
        collate_fn=collate,
        num_workers=config.workers,
        multiprocessing_context="fork" if config.workers else None,
        prefetch_factor=4 if config.workers else None,
    )


def _dense_head(width: int, outputs: int) -> torch.nn.Linear:
    """Linear head on vision tokens; its bias starts at the rarity of the targets."""
    import torch

    head = torch.nn.Linear(width, outputs)
    torch.nn.init.constant_(head.bias, -4.0)
    return head


def _dense_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy summed over classes, averaged over tokens; target (B, classes, rows, columns)."""
    import torch

    flat = target.flatten(2).transpose(1, 2)  # (B, N, classes), row-major like the tokens
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), flat, reduction="none")
    return loss.sum(-1).mean()


def train_tower(host: Qwen3VLForConditionalGeneration, processor: Qwen3VLProcessor, config: RecipeConfig) -> None:
    """Stage 1: the vision tower learns which findings cover each token of a single image, in place."""
    import torch

    from training.generated import CLASSES, LEVELS

    tower = host.model.visual
    head = _dense_head(WIDTH, len(CLASSES) * LEVELS)
    optimizer, schedule = adamw_with_cosine(
        torch.nn.ModuleList([tower, head]).parameters(),
        rate=config.dense_rate,
        weight_decay=config.weight_decay,
        steps=config.dense_steps,
    )
    loader = _loader(config, processor, stage=1, steps=config.dense_steps, batch=config.dense_batch)
    started = time.monotonic()
    for step, batch in enumerate(loader):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            tokens = tower(batch["pixel_values"], grid_thw=batch["image_grid_thw"]).pooler_output
            logits = head(tokens).view(-1, TOKENS * TOKENS, len(CLASSES) * LEVELS)
        loss = _dense_loss(logits, batch["presence"].flatten(0, 1))
        _step(loss, [tower, head], optimizer, schedule)
        if step % 25 == 0:
            logger.info("dense step %d loss %.4f (%.0f s)", step, loss.item(), time.monotonic() - started)


def train_pairs(
    model: Qwen3VLForConditionalGeneration,
    processor: Qwen3VLProcessor,
    config: RecipeConfig,
    *,
    save: Callable[[int], None],
    metrics: Path,
) -> None:
    """Stage 2: the model with SVE and PVM learns reports of pairs, in place; `save` is called now and then and last.

    Losses and gates go to `metrics`, a line every 25 steps.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from reports.change import PROGRESSION
    from training.generated import CLASSES, LEVELS

    presence_head = _dense_head(WIDTH, len(CLASSES) * LEVELS)
    change_head = _dense_head(WIDTH, len(CLASSES) * len(PROGRESSION))
    captured: list[Tensor] = []
    hook = model.model.visual.register_forward_hook(
        lambda _module, _inputs, output: captured.append(output.pooler_output)
    )
    modules = [model, presence_head, change_head]
    optimizer, schedule = adamw_with_cosine(
        torch.nn.ModuleList(modules).parameters(),
        rate=config.pair_rate,
        weight_decay=config.weight_decay,
        steps=config.pair_steps,
    )
    loader = _loader(config, processor, stage=2, steps=config.pair_steps, batch=config.pair_batch)
    started = time.monotonic()
    model.train()
    # The plain attention: at these lengths the fused kernel's backward takes longer on a CPU.
    model.set_attn_implementation("eager")
    for step, batch in enumerate(loader):
        presence, change = batch.pop("presence"), batch.pop("change")
        captured.clear()
        with torch.autocast("cpu", dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            text_loss = model(**batch).loss
            tokens = captured[0].view(-1, 2, TOKENS * TOKENS, WIDTH)  # (B, T, N, E)
            presence_logits = presence_head(tokens.flatten(0, 1))
            change_logits = change_head(tokens[:, 1])
        dense = _dense_loss(presence_logits, presence.flatten(0, 1)) + _dense_loss(change_logits, change)
        _step(text_loss + config.dense_weight * dense, modules, optimizer, schedule)
        if step % 25 == 0:
            seconds = time.monotonic() - started
            logger.info("pair step %d text %.4f dense %.4f (%.0f s)", step, text_loss.item(), dense.item(), seconds)
            append_metrics(metrics, step, model, text_loss=text_loss.item(), dense_loss=dense.item())
        if step and step % SAVE_EVERY == 0:
            save(step)
    hook.remove()
    model.train(False)
    save(config.pair_steps)


def _step(loss: Tensor, modules: list[torch.nn.Module], optimizer: Any, schedule: Any) -> None:
    import torch

    if not torch.isfinite(loss):
        raise TrainingError("The loss is not finite: lower the learning rate or start from another seed.")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_([p for module in modules for p in module.parameters()], 1.0)
    optimizer.step()
    schedule.step()


def _attach(host: Qwen3VLForConditionalGeneration, config: RecipeConfig) -> Qwen3VLForConditionalGeneration:
    from models.attach import attach
    from models.config import PVMConfig, SVEConfig

    return attach(host, sve=SVEConfig(), pvm=PVMConfig(layers=config.pvm_layers, latent_dim=config.pvm_latent))


def _save(
    model: Qwen3VLForConditionalGeneration,
    processor: Qwen3VLProcessor,
    config: RecipeConfig,
    out: Path,
    earlier: list[dict[str, Any]],
    step: int,
) -> None:
    """Host, adapter and the recipes of all runs in `out`, weights in bf16; the model itself stays in fp32.

    A run's recipe says at which step of stage 2 the weights were saved: a run that was cut off has fewer than it asked.
    """
    import torch

    from models.attach import detach
    from models.checkpoint import save_adapter

    twin = _attach(build_host(processor, seed=config.seed), config)
    twin.load_state_dict(model.state_dict())
    torch.nn.Module.to(twin, torch.bfloat16)
    save_adapter(twin, out)
    detach(twin).save_pretrained(out)
    processor.save_pretrained(out)
    (out / CARD_FILE).write_text(_CARD.to_json(), encoding="utf-8")
    runs = [*earlier, {**asdict(config), "saved_at_step": step}]
    (out / RECIPE_FILE).write_text(json.dumps(runs, indent=2) + "\n", encoding="utf-8")


def make_compact(config: RecipeConfig, out: Path, *, start: Path | None = None) -> None:
    """Trains the embedded model and writes it to `out`: a transformers folder and the adapter, both in bf16.

    Args:
        config: What decides the result.
        out: Made if it does not exist.
        start: Result of an earlier run, on pairs of another seed; stage 2 goes on from it, and stage 1 is left out.

    Raises:
        TrainingError: The earlier run, or one before it, drew the same pairs.
        OSError: `start` holds no such result.
    """
    import torch

    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    processor = build_processor()
    earlier: list[dict[str, Any]] = []
    if start is None:
        host = build_host(processor, seed=config.seed)
        train_tower(host, processor, config)
        model = _attach(host, config)
    else:
        earlier = json.loads((start / RECIPE_FILE).read_text(encoding="utf-8"))
        if config.seed in {run["seed"] for run in earlier}:
            raise TrainingError(f"Seed {config.seed} gave the pairs of the earlier run: go on with another one.")
        model = cast("Qwen3VLForConditionalGeneration", load_model(start))
    train_pairs(
        model,
        processor,
        config,
        save=lambda step: _save(model, processor, config, out, earlier, step),
        metrics=out / METRICS_FILE,
    )


def main() -> None:
    """Command line of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="folder of an earlier run to go on from")
    for name, default in asdict(RecipeConfig(seed=0)).items():
        if isinstance(default, int | float):
            flag = f"--{name.replace('_', '-')}"
            parser.add_argument(flag, type=type(default), default=None if name == "seed" else default)
    arguments = vars(parser.parse_args())
    if arguments["seed"] is None:
        parser.error("--seed is required")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    out, start = arguments.pop("out"), arguments.pop("start")
    make_compact(RecipeConfig(**arguments), out, start=start)


if __name__ == "__main__":
    main()
