"""What would as many parameters give without any look at the images?"""

from __future__ import annotations

import torch
from torch import Tensor

from models.branch import GatedBranch, MemoryShape
from models.config import PVMConfig


class ParallelMLP(GatedBranch):
    """The capacity control: a branch of the retrieval branch's size that reads the token alone.

    It has the reducer, the expander, norm and gate of the retrieval branch, and works on the same positions; in the
    place of the attention it has a wider SwiGLU, so that the parameters agree to within 1.5 times `latent`.

    Source: arXiv 2605.00814, ablation "iso-parameter MLP", whose shape is not stated; this one is ours.
    """

    def __init__(self, shape: MemoryShape, config: PVMConfig, *, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(shape, config, device=device, dtype=dtype)
        self.text_reducer = self.linear(shape.width, shape.latent)
        self.input_norm = self.norm(shape.latent)
        self.add_swiglu(_inner_width(shape))
        self.add_output()

    def encode(self, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Nothing of the visual tokens but how many there are, (B, 1, M, 0)."""
        nothing = visual[:, None, :, :0]
        return nothing, nothing

    def forward(self, hidden: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """The injection (B, S, E) for the states (B, S, E); keys, values and mask are not read."""
        state = self.input_norm(self.text_reducer(hidden))
        return self.output(state + self.swiglu(state), state)


def _inner_width(shape: MemoryShape) -> int:
    """Inner width with which the control has as many parameters as the retrieval branch, as nearly as it goes."""
    attention = shape.latent * shape.head * 2 * (shape.heads + shape.kv_heads)
    norms = shape.latent + 2 * shape.head
    return shape.inner + round((shape.width * shape.latent + attention + norms) / (3 * shape.latent))
