"""How was the embedded model made? `python -P -m training.recipe --seed 7 --out FOLDER` makes one; its card says how.

Two stages on generated archives, none of which has the seed of the sample archive:

1. The host's vision tower learns densely on single images: for every vision token, which findings cover it, of which
   place and grade.
   Trained on pairs alone, a host of this size stays at the marginal distribution of the reports.
2. Everything is trained on pairs: the report's cross-entropy, beside it the dense targets, for the current image with
   the change code of each finding. The host may be left plain, so that it learns to name and place what it sees, or
   SVE and PVM enter it first (their projections clone the trained tower).

A run can go on from an earlier one with either stage. Host and adapter are saved, and beside them the dense heads.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from training.compact_host import IMAGE_SIZE, WIDTH, build_host, build_processor
from training.dense import TOKENS, change_loss, dense_heads, presence_loss, save_heads
from training.errors import TrainingError
from training.generated_batches import generated_batches
from training.metrics import append_metrics
from training.predict import CARD_FILE, ModelCard, load_model
from training.schedule import adamw_with_cosine

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import Qwen3VLForConditionalGeneration, Qwen3VLProcessor

logger = logging.getLogger(__name__)

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

#: Steps between two saves, so that a run that was cut off is not lost.
SAVE_EVERY = 200

#: What stage 2 trains: the plain host; the control whose current reads itself in the prior's stead; SVE and PVM.
DESIGNS = ("plain", "self_ffn", "cross_ffn_pvm")


@dataclass(frozen=True, kw_only=True)
class RecipeConfig:
    """Everything that decides the result beside the code.

    Attributes:
        seed: Seed of weights and of every generated pair; pair i of stage s is drawn from (seed, s, i).
        design: What stage 2 trains, one of `DESIGNS`.
        dense_steps: Steps of stage 1; 0 leaves it out.
        dense_batch: Pairs a step in stage 1; each gives two single images.
        dense_rate: Peak learning rate of stage 1.
        pair_steps: Steps of stage 2; 0 leaves it out.
        pair_batch: Pairs a step in stage 2.
        pair_rate: Peak learning rate of stage 2.
        dense_weight: Weight of the dense losses beside the cross-entropy in stage 2.
        weight_decay: Of AdamW, on matrices only.
        pvm_layers: Decoder layers with a retrieval branch.
        pvm_latent: Width of the retrieval branch.
        workers: Processes that draw pairs.
        threads: Threads of torch.
        compiled: Whether torch compiles the decoder's layers: a third less time a step, but a C++ compiler is needed.
    """

    seed: int
    design: str = "cross_ffn_pvm"
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
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.design not in DESIGNS:
            raise TrainingError(f"{self.design!r} is none of the designs {', '.join(DESIGNS)}.")
        if self.seed == SAMPLE_SEED:
            raise TrainingError(f"Seed {self.seed} is the sample archive's: train on another one.")
        if self.seed == HELD_OUT_SEED:
            raise TrainingError(f"Seed {self.seed} is that of the held-out archives: train on another one.")


#: Seed of the archives that `interval demo` writes and the figures in the README are measured on; never trained on.
SAMPLE_SEED = 2026

#: Seed of the archives that `make embedded-model` measures the model on; never trained on, never tuned on.
HELD_OUT_SEED = 20_270


def train_tower(
    host: Qwen3VLForConditionalGeneration,
    heads: torch.nn.ModuleDict,
    processor: Qwen3VLProcessor,
    config: RecipeConfig,
    *,
    save: Callable[[int], None],
) -> None:
    """Stage 1: the vision tower learns which findings cover each token of a single image; `save` as in stage 2."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    tower = host.model.visual
    modules = [tower, heads["presence"]]
    batches, optimizer, schedule = _prepared(
        modules,
        processor,
        config,
        stage=1,
        steps=config.dense_steps,
        batch=config.dense_batch,
        rate=config.dense_rate,
    )
    host.set_attn_implementation("eager")
    started = time.monotonic()
    for step, batch in enumerate(batches):
        with torch.autocast("cpu", dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            tokens = tower(batch["pixel_values"], grid_thw=batch["image_grid_thw"]).pooler_output
            tokens = tokens.view(-1, TOKENS * TOKENS, WIDTH)
            loss = presence_loss(heads, tokens, batch["presence"].flatten(0, 1))
        _step(loss, modules, optimizer, schedule)
        if step % 25 == 0:
            logger.info("dense step %d loss %.4f (%.0f s)", step, loss.item(), time.monotonic() - started)
        if step and step % SAVE_EVERY == 0:
            save(step)


def train_pairs(
    model: Qwen3VLForConditionalGeneration,
    heads: torch.nn.ModuleDict,
    processor: Qwen3VLProcessor,
    config: RecipeConfig,
    *,
    save: Callable[[int], None],
    metrics: Path,
) -> None:
    """Stage 2: the model learns reports of pairs, in place; `save` is called now and then.

    Losses and gates go to `metrics`, a line every 25 steps.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    captured: list[Tensor] = []
    hook = model.model.visual.register_forward_hook(
        lambda _module, _inputs, output: captured.append(output.pooler_output)
    )
    modules = [model, heads]
    batches, optimizer, schedule = _prepared(
        modules, processor, config, stage=2, steps=config.pair_steps, batch=config.pair_batch, rate=config.pair_rate
    )
    started = time.monotonic()
    model.train()
    # The plain attention: at these lengths the fused kernel's backward takes longer on a CPU.
    model.set_attn_implementation("eager")
    if config.compiled:
        for layer in model.model.language_model.layers:
            layer.compile(dynamic=True)
    for step, batch in enumerate(batches):
        presence, change = batch.pop("presence"), batch.pop("change")
        captured.clear()
        with torch.autocast("cpu", dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            text_loss = model(**batch).loss
            tokens = captured[0].view(-1, 2, TOKENS * TOKENS, WIDTH)  # (B, T, N, E)
            dense = presence_loss(heads, tokens.flatten(0, 1), presence.flatten(0, 1))
            dense = dense + change_loss(heads, tokens[:, 1], change)
        _step(text_loss + config.dense_weight * dense, modules, optimizer, schedule)
        if step % 25 == 0:
            seconds = time.monotonic() - started
            logger.info("pair step %d text %.4f dense %.4f (%.0f s)", step, text_loss.item(), dense.item(), seconds)
            append_metrics(metrics, step, model, text_loss=text_loss.item(), dense_loss=dense.item())
        if step and step % SAVE_EVERY == 0:
            save(step)
    hook.remove()


def _prepared(
    modules: list[torch.nn.Module],
    processor: Qwen3VLProcessor,
    config: RecipeConfig,
    *,
    stage: int,
    steps: int,
    batch: int,
    rate: float,
) -> tuple[Any, torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """Batches, optimizer and schedule of a stage that trains these modules."""
    import torch

    optimizer, schedule = adamw_with_cosine(
        torch.nn.ModuleList(modules).parameters(), rate=rate, weight_decay=config.weight_decay, steps=steps
    )
    batches = generated_batches(
        processor, seed=config.seed, stage=stage, steps=steps, batch=batch, workers=config.workers
    )
    return batches, optimizer, schedule


def _step(loss: Tensor, modules: list[torch.nn.Module], optimizer: Any, schedule: Any) -> None:
    import torch

    if not torch.isfinite(loss):
        raise TrainingError("The loss is not finite: lower the learning rate or start from another seed.")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_([p for module in modules for p in module.parameters()], 1.0)
    optimizer.step()
    schedule.step()


def _is_attached(model: Qwen3VLForConditionalGeneration) -> bool:
    from models.parts import parts_of

    return parts_of(model).attachment is not None


def _attach(host: Qwen3VLForConditionalGeneration, config: RecipeConfig) -> Qwen3VLForConditionalGeneration:
    """The host as the design asks: plain, with the control that reads no prior, or with SVE and PVM."""
    from models.attach import attach
    from models.config import PVMConfig, SVEConfig

    match config.design:
        case "plain":
            return host
        case "self_ffn":
            return attach(host, sve=SVEConfig(design="self_ffn"))
        case _:
            return attach(host, sve=SVEConfig(), pvm=PVMConfig(layers=config.pvm_layers, latent_dim=config.pvm_latent))


def _save(
    model: Qwen3VLForConditionalGeneration,
    heads: torch.nn.ModuleDict,
    processor: Qwen3VLProcessor,
    config: RecipeConfig,
    out: Path,
    runs: list[dict[str, Any]],
) -> None:
    """Host, adapter, heads and the recipes of all runs in `out`, weights in bf16; the model itself stays in fp32."""
    import torch

    from models.attach import detach
    from models.checkpoint import save_adapter

    twin = build_host(processor, seed=config.seed)
    if _is_attached(model):
        _attach(twin, config)
    twin.load_state_dict(model.state_dict())
    torch.nn.Module.to(twin, torch.bfloat16)
    if _is_attached(twin):
        save_adapter(twin, out)
        detach(twin)
    twin.save_pretrained(out)
    save_heads(heads, out)
    processor.save_pretrained(out)
    (out / CARD_FILE).write_text(_CARD.to_json(), encoding="utf-8")
    (out / RECIPE_FILE).write_text(json.dumps(runs, indent=2) + "\n", encoding="utf-8")


def make_compact(config: RecipeConfig, out: Path, *, start: Path | None = None) -> None:
    """Trains a model and writes it to `out`: a transformers folder, the adapter if it has one, both in bf16, and the
    dense heads.

    A run's recipe says after how many steps of which stage the weights were saved: a run that was cut off has fewer
    than it asked.

    Args:
        config: What decides the result.
        out: Made if it does not exist.
        start: Result of an earlier run, on pairs of another seed, to go on from. What it has of SVE and PVM is dropped
            before stage 1, which is the plain host's, and where the design is another.

    Raises:
        TrainingError: The earlier run, or one before it, drew the same pairs.
        OSError: `start` holds no such result.
    """
    import torch

    from models.attach import detach

    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    processor = build_processor()
    earlier: list[dict[str, Any]] = []
    if start is None:
        model = build_host(processor, seed=config.seed)
    else:
        earlier = json.loads((start / RECIPE_FILE).read_text(encoding="utf-8"))
        if config.seed in {run["seed"] for run in earlier}:
            raise TrainingError(f"Seed {config.seed} gave the pairs of the earlier run: go on with another one.")
        model = cast("Qwen3VLForConditionalGeneration", load_model(start))
        if _is_attached(model) and (config.dense_steps or earlier[-1].get("design", DESIGNS[-1]) != config.design):
            detach(model)
    heads = dense_heads(start)

    def save(stage: str, step: int) -> None:
        run = {**asdict(config), "saved_at_stage": stage, "saved_at_step": step}
        _save(model, heads, processor, config, out, [*earlier, run])

    if config.dense_steps:
        train_tower(model, heads, processor, config, save=lambda step: save("dense", step))
        save("dense", config.dense_steps)
    if config.pair_steps:
        if not _is_attached(model):
            _attach(model, config)
        metrics = out / METRICS_FILE
        train_pairs(model, heads, processor, config, save=lambda step: save("pairs", step), metrics=metrics)
        save("pairs", config.pair_steps)


def main() -> None:
    """Command line of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="folder of an earlier run to go on from")
    for name, default in asdict(RecipeConfig(seed=0)).items():
        if isinstance(default, int | float | str):
            flag = f"--{name.replace('_', '-')}"
            if isinstance(default, bool):
                parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=default)
            else:
                parser.add_argument(flag, type=type(default), default=None if name == "seed" else default)
    arguments = vars(parser.parse_args())
    if arguments["seed"] is None:
        parser.error("--seed is required")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    out, start = arguments.pop("out"), arguments.pop("start")
    make_compact(RecipeConfig(**arguments), out, start=start)


if __name__ == "__main__":
    main()
