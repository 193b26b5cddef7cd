"""How does one of our modules stand in for a host's block, under gradient checkpointing too?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class WrappedBlock(nn.Module):
    """A host block inside one of our modules; the original is `base_layer`, and stays what hooks and PEFT see.

    It has no checkpointing flag of its own: when the host's block is to be recomputed in backward, the whole of this
    module is, as one unit. So only its input is kept, and what the block needs beside its input travels in the closure
    and not on any module, where a later forward would have overwritten it by then.
    """

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer

    @property
    def recomputes(self) -> bool:
        """Whether the next call keeps only its input and is computed again in backward."""
        return bool(getattr(self.base_layer, "gradient_checkpointing", False)) and self.base_layer.training

    def run_unit(self, run: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        """`run(*tensors)`, as one checkpoint when the host's block is set to recompute.

        Args:
            run: The whole computation, `base_layer` included.
            tensors: All that gradients have to reach: reentrant checkpoints lose those to tensors in a closure.
        """
        if not self.recomputes:
            return run(*tensors)
        base: Any = self.base_layer

        def once(*inputs: Tensor) -> Tensor:
            base.gradient_checkpointing = False  # else the block would be recomputed within the recomputation
            try:
                return run(*inputs)
            finally:
                base.gradient_checkpointing = True

        result: Tensor = base._gradient_checkpointing_func(once, *tensors)
        return result
