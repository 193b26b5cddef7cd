"""How does the learning rate rise and fall, and which parameters decay?"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def warm_cosine(step: int, *, warm: int, steps: int) -> float:
    """Share of the peak rate at a step, counted from 0: linear over the first `warm` steps, then cosine to zero."""
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def adamw_with_cosine(
    parameters: Iterable[torch.nn.Parameter], *, rate: float, weight_decay: float, steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW with decay on matrices only, and a schedule: 5 % linear warm-up, then cosine to zero.

    Args:
        parameters: Frozen ones are left out; one that comes twice counts once.
        rate: Peak learning rate.
        weight_decay: On matrices.
        steps: Of the run.
    """
    import torch

    trained = {id(one): one for one in parameters if one.requires_grad}.values()
    groups = [
        {"params": [one for one in trained if one.ndim >= 2], "weight_decay": weight_decay},
        {"params": [one for one in trained if one.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))
    warm = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_cosine(step, warm=warm, steps=steps))
    return optimizer, schedule
