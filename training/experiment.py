"""What do the experiments share? The folder of a run, the training loop, and what is noted of where they were made."""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from training.errors import TrainingError
from training.schedule import adamw_with_cosine
from training.whole_file import write_whole

if TYPE_CHECKING:
    import torch
    from _typeshed import DataclassInstance
    from torch import Tensor

logger = logging.getLogger(__name__)

Batch = TypeVar("Batch")

SETTINGS_FILE: Final = "settings.json"

LOG_FORMAT: Final = "%(asctime)s %(message)s"

_REPORT_STEPS: Final = 100


def experiment_parser(description: str, settings: DataclassInstance) -> argparse.ArgumentParser:
    """Command line of an experiment: folder of the run, page, seeds, and a flag for each of the settings."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run: the start, and a file a result")
    parser.add_argument("--doc", type=Path, required=True, help="where the page goes; a figure beside it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    for name, default in asdict(settings).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return parser


def claim(folder: Path, settings: DataclassInstance) -> None:
    """Makes the folder of a run with these settings, or goes on with one.

    Raises:
        TrainingError: The folder's files were made with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / SETTINGS_FILE
    text = json.dumps(asdict(settings), indent=2) + "\n"
    if not path.exists():
        write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))
    elif path.read_text(encoding="utf-8") != text:
        raise TrainingError(
            f"{path.name} in {folder.name}/ says other settings than this run's: remove the folder or give another one."
        )


def train(
    module: torch.nn.Module,
    loss_of: Callable[[Batch], Tensor],
    draws: Iterable[Batch],
    *,
    steps: int,
    rate: float,
    weight_decay: float,
    name: str,
) -> float:
    """All parameters that are not frozen, in place, in bf16 autocast over fp32 weights.

    AdamW with decay on matrices only, 5 % linear warm-up, then cosine to zero; gradients are clipped at norm 1.

    Args:
        module: What is trained.
        loss_of: Loss of a step's batch.
        draws: The batches.
        steps: How many there are.
        rate: Peak learning rate.
        weight_decay: On matrices.
        name: For the log and for errors.

    Returns:
        Mean loss of the last tenth of the steps.

    Raises:
        TrainingError: A loss is not finite.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    optimizer, schedule = adamw_with_cosine(module.parameters(), rate=rate, weight_decay=weight_decay, steps=steps)
    losses = []
    module.train()
    for step, drawn in enumerate(draws):
        # The attention written out: at these lengths the backward of the CPU's fused kernel takes longer.
        with torch.autocast("cpu", dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            loss = loss_of(drawn)
        if not torch.isfinite(loss):
            raise TrainingError(f"The loss of {name} is not finite at step {step}: lower the learning rate.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if (step + 1) % _REPORT_STEPS == 0:
            logger.info("%s: step %d of %d, loss %.3f", name, step + 1, steps, np.mean(losses[-_REPORT_STEPS:]))
    return float(np.mean(losses[-max(1, steps // 10) :]))


def code_revision(*paths: str) -> str:
    """Short hash of the code's commit, with "+" when files in these paths were changed since.

    "unknown" outside a repository.
    """
    root = Path(__file__).parents[1]
    try:
        head, changed = (
            subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
            for arguments in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--", *paths))
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+" if changed else head


def hardware() -> str:
    """Processor, its number, system and torch."""
    import torch

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    return f"{os.cpu_count()} x {cpu}, {platform.system()}, torch {torch.__version__}"
