"""How probable does a model find the last tokens of its input?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def log_probabilities(model: Any, inputs: Mapping[str, Tensor], last: int, *, temperature: float = 1.0) -> Tensor:
    """(B, last) float32: the logarithm of the probability of each of the last tokens, given what stands before it.

    Only their logits are computed: of prompts with hundreds of image tokens the others would fill the memory.
    """
    import torch

    logits = model(**inputs, use_cache=False, logits_to_keep=last + 1).logits[:, :-1].float() / temperature
    targets = inputs["input_ids"][:, -last:]
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return -losses.view(targets.shape)
