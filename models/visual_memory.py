"""How does a text token look at the images again, late in a long text?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

from models.memory_pass import current_pass, memory_pass
from models.wrapping import WrappedBlock


@dataclass(frozen=True, kw_only=True)
class MemoryShape:
    """Widths of a retrieval branch.

    Attributes:
        width: Width E of the decoder.
        latent: Width of the branch.
        inner: Inner width of the branch's SwiGLU.
        head: Size of a head, that of the decoder.
        heads: Query heads.
        kv_heads: Key and value heads.
        eps: Of all norms.
    """

    width: int
    latent: int
    inner: int
    head: int
    heads: int
    kv_heads: int
    eps: float


class SingleRMSNorm(nn.RMSNorm):
    """RMSNorm that computes in single precision and gives back the input's type, under autocast too."""

    def forward(self, x: Tensor) -> Tensor:
        """The normalised states, of the shape and type of `x`."""
        return rms_norm(x.float(), self.normalized_shape, self.weight.float(), self.eps).to(x.dtype)


class VisualMemory(nn.Module):
    """The retrieval branch of one decoder layer: gated attention over the visual tokens of the prompt.

    The residual stream enters unnormalised and nothing but what attention found comes out, with a root mean square of
    |gate| in every position. There are no positions on either side. The gate starts at exactly 0 and all matrices at
    N(0, `init_std`), `output_expander` included: with both at zero the branch could never leave that point.

    Source: arXiv 2605.00814, as the authors' code has it (commit 8d784fe); the paper's equations differ.
    """

    def __init__(self, shape: MemoryShape, *, init_std: float, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.shape = shape

        def linear(inputs: int, outputs: int) -> nn.Linear:
            layer = nn.Linear(inputs, outputs, bias=False, device=device, dtype=dtype)
            nn.init.normal_(layer.weight, std=init_std)
            return layer

        def norm(size: int) -> nn.RMSNorm:
            return SingleRMSNorm(size, eps=shape.eps, device=device, dtype=dtype)

        self.text_reducer = linear(shape.width, shape.latent)
        self.vision_reducer = linear(shape.width, shape.latent)
        self.input_norm = norm(shape.latent)
        self.q_proj = linear(shape.latent, shape.heads * shape.head)
        self.k_proj = linear(shape.latent, shape.kv_heads * shape.head)
        self.v_proj = linear(shape.latent, shape.kv_heads * shape.head)
        self.q_norm = norm(shape.head)
        self.k_norm = norm(shape.head)
        self.o_proj = linear(shape.heads * shape.head, shape.latent)
        self.post_attn_norm = norm(shape.latent)
        self.gate_proj = linear(shape.latent, shape.inner)
        self.up_proj = linear(shape.latent, shape.inner)
        self.down_proj = linear(shape.inner, shape.latent)
        self.output_expander = linear(shape.latent, shape.width)
        self.gate_alpha = nn.Parameter(torch.zeros(1, device=device, dtype=dtype))

    def encode(self, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, K, M, D) of visual tokens (B, M, E)."""
        latent = self.vision_reducer(visual)
        heads = (self.shape.kv_heads, self.shape.head)
        key = self.k_norm(self.k_proj(latent).unflatten(-1, heads)).transpose(1, 2)
        return key, self.v_proj(latent).unflatten(-1, heads).transpose(1, 2)

    def forward(self, hidden: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """The injection (B, S, E) for residual-stream states `hidden` (B, S, E) before the decoder's FFN norm.

        Args:
            hidden: (B, S, E), not normalised.
            key: (B, K, M, D) of `encode`.
            value: (B, K, M, D) of `encode`.
            mask: Additive, (B, 1, S, M), or None when every position may read every slot.
        """
        latent = self.input_norm(self.text_reducer(hidden))
        query = self.q_norm(self.q_proj(latent).unflatten(-1, (self.shape.heads, self.shape.head))).transpose(1, 2)
        found = scaled_dot_product_attention(
            query, key, value, mask, enable_gqa=self.shape.heads != self.shape.kv_heads
        )
        mixed = self.o_proj(found.transpose(1, 2).flatten(2))
        normed = self.post_attn_norm(mixed)
        mixed = mixed + self.down_proj(silu(self.gate_proj(normed)) * self.up_proj(normed))
        restored: Tensor = self.output_expander(mixed)
        return self.gate_alpha * rms_norm(restored.float(), (self.shape.width,), eps=self.shape.eps).to(restored.dtype)


class FeedForwardWithMemory(nn.Module):
    """A decoder layer's FFN with the retrieval branch beside it.

    It takes the place of the FFN and does the layer's FFN norm itself (the norm's place is taken by an identity), since
    the branch reads the residual stream before that norm: y = x + FFN(norm(x)) + PVM(x). In the same way it does the
    norm that some hosts have behind the FFN (Gemma-3, GLM), which is the FFN's and not the branch's:
    y = x + after(FFN(norm(x))) + PVM(x).
    """

    def __init__(
        self,
        base_layer: nn.Module,
        base_norm: nn.Module,
        base_after: nn.Module | None,
        memory: VisualMemory,
        layer: int,
    ) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.base_norm = base_norm
        self.base_after = base_after
        self.memory = memory
        self.layer = layer

    def forward(self, hidden: Tensor) -> Tensor:
        """What the layer adds to its residual stream `hidden` (B, S, E)."""
        output: Tensor = self.base_layer(self.base_norm(hidden))
        if self.base_after is not None:
            output = self.base_after(output)
        active = current_pass()
        return output if active is None else active.inject(output, hidden, self.memory, self.layer)


class RememberingBlock(WrappedBlock):
    """A decoder layer with a retrieval branch inside; carries the forward's memory into a recomputation in backward."""

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The layer's output (B, S, E)."""
        active = current_pass()
        if not self.recomputes or active is None:
            result: Tensor = self.base_layer(hidden_states, *args, **kwargs)
            return result
        kwargs["past_key_values"] = None  # as the host's own recomputed layers do

        def run(hidden: Tensor, *visual: Tensor) -> Tensor:
            with memory_pass(replace(active, visual=visual[0]) if visual else active):
                result: Tensor = self.base_layer(hidden, *args, **kwargs)
                return result

        return self.run_unit(run, hidden_states, *(() if active.visual is None else (active.visual,)))
