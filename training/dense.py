"""What are the vision tokens taught beside the report? Which findings cover them, of which place, grade and change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from reports.change import PROGRESSION
from training.compact_host import IMAGE_SIZE, PATCH_SIZE, WIDTH
from training.generated import CLASSES, LEVELS

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Vision tokens a side.
TOKENS: Final = IMAGE_SIZE // PATCH_SIZE

#: Beside the weights of a run, for the run that goes on from it; a model that reports does without.
HEADS_FILE: Final = "dense_heads.safetensors"


def dense_heads(start: Path | None = None) -> torch.nn.ModuleDict:
    """Linear heads on vision tokens: "presence" for every image, "change" for the current one.

    Their biases start at the rarity of the targets.

    Args:
        start: Folder of an earlier run; its heads are taken over where it has kept them. New heads would send noise
            through a trained tower.
    """
    import torch
    from safetensors.torch import load_file

    heads = torch.nn.ModuleDict(
        {
            "presence": torch.nn.Linear(WIDTH, len(CLASSES) * LEVELS),
            "change": torch.nn.Linear(WIDTH, len(CLASSES) * len(PROGRESSION)),
        }
    )
    for head in heads.values():
        torch.nn.init.constant_(cast("torch.nn.Linear", head).bias, -4.0)
    if start is not None and (start / HEADS_FILE).is_file():
        heads.load_state_dict(load_file(start / HEADS_FILE))
    return heads


def save_heads(heads: torch.nn.ModuleDict, folder: Path) -> None:
    """Keeps the heads for a run that goes on from this one, in fp32."""
    from safetensors.torch import save_file

    save_file(heads.state_dict(), folder / HEADS_FILE)


def presence_loss(heads: torch.nn.ModuleDict, tokens: Tensor, presence: Tensor) -> Tensor:
    """Loss of the presence head on images by themselves.

    Args:
        heads: Of `dense_heads`.
        tokens: (I, N, E) vision tokens of I images, row-major.
        presence: (I, classes * LEVELS, rows, columns).
    """
    return _loss(heads["presence"](tokens), presence)


def change_loss(heads: torch.nn.ModuleDict, tokens: Tensor, change: Tensor) -> Tensor:
    """Loss of the change head on current images: tokens (B, N, E), targets (B, classes * changes, rows, columns)."""
    return _loss(heads["change"](tokens), change)


def _loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy summed over classes, averaged over tokens."""
    import torch

    flat = target.flatten(2).transpose(1, 2)  # (B, N, classes), row-major like the tokens
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), flat, reduction="none")
    return loss.sum(-1).mean()
