"""How does a text token look at the images again, late in a long text?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from models.branch import GatedBranch, MemoryShape
from models.config import PVMConfig
from models.memory_pass import current_pass, memory_pass
from models.wrapping import WrappedBlock


class VisualMemory(GatedBranch):
    """The retrieval branch of one decoder layer: gated attention over the visual tokens of the prompt.

    The residual stream enters unnormalised and nothing but what attention found comes out, with a root mean square of
    |gate| in every position. There are no positions on either side.

    Source: arXiv 2605.00814, as the authors' code has it (commit 8d784fe); the paper's equations differ, and are there
    as settings of `PVMConfig`.
    """

    def __init__(self, shape: MemoryShape, config: PVMConfig, *, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(shape, config, device=device, dtype=dtype)
        latent, heads = shape.latent, shape.heads * shape.head
        self.text_reducer = self.linear(shape.width, latent)
        self.vision_reducer = self.linear(shape.width, latent)
        self.q_proj = self.linear(latent, heads)
        self.q_norm = self.norm(shape.head)
        if not config.normed_query:
            self.input_norm = self.norm(latent)
        if not config.shared_kv:
            self.k_proj = self.linear(latent, shape.kv_heads * shape.head)
            self.v_proj = self.linear(latent, shape.kv_heads * shape.head)
            self.k_norm = self.norm(shape.head)
        self.o_proj = self.linear(heads, latent)
        self.post_attn_norm = self.norm(latent)
        self.add_swiglu(shape.inner)
        self.add_output()

    def encode(self, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, K, M, D) of visual tokens (B, M, E)."""
        latent = self.vision_reducer(visual)
        if self.config.shared_kv:
            both = latent.unflatten(-1, (self.shape.heads, self.shape.head)).transpose(1, 2)
            return both, both
        heads = (self.shape.kv_heads, self.shape.head)
        key = self.k_norm(self.k_proj(latent).unflatten(-1, heads)).transpose(1, 2)
        return key, self.v_proj(latent).unflatten(-1, heads).transpose(1, 2)

    def query(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, K, S, D) and the states (B, S, latent) that they come from."""
        state = self.text_reducer(hidden)
        if not self.config.normed_query:
            state = self.input_norm(state)
        return self.q_norm(self.q_proj(state).unflatten(-1, (self.shape.heads, self.shape.head))).transpose(1, 2), state

    def weights(self, hidden: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor:
        """The attention (B, K, S, M) that `forward` mixes values with, for looking at it."""
        query, _ = self.query(hidden)
        key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
        scores = query.float() @ key.float().transpose(-1, -2) / query.shape[-1] ** 0.5
        found: Tensor = (scores if mask is None else scores + mask.float()).softmax(-1)
        return found

    def forward(self, hidden: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """The injection (B, S, E) for residual-stream states `hidden` (B, S, E) before the decoder's FFN norm.

        Args:
            hidden: (B, S, E), not normalised; behind the FFN's norm with the setting `normed_query`.
            key: (B, K, M, D) of `encode`.
            value: (B, K, M, D) of `encode`.
            mask: Additive, (B, 1, S, M), or None when every position may read every slot.
        """
        query, state = self.query(hidden)
        mixed = self.o_proj(_attend(query, key, value, mask).transpose(1, 2).flatten(2))
        return self.output(mixed + self.swiglu(self.post_attn_norm(mixed)), state)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """What queries (B, H, S, D) find in keys and values (B, K, M, D), where H / K heads share a key; (B, H, S, D)."""
    shared = query.shape[1] // key.shape[1]
    if shared > 1 and query.shape[2] == 1:
        # A decoding step: the heads that share a key go in as positions. The kernel for shared keys would read them
        # once a head, ten times as long for four heads on 4,096 visual tokens on a CPU.
        folded = query.reshape(query.shape[0], key.shape[1], shared, query.shape[3])
        return scaled_dot_product_attention(folded, key, value, mask).reshape(query.shape)
    return scaled_dot_product_attention(query, key, value, mask, enable_gqa=shared > 1)


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
        memory: GatedBranch,
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
        normed = self.base_norm(hidden)
        output: Tensor = self.base_layer(normed)
        if self.base_after is not None:
            output = self.base_after(output)
        active = current_pass()
        if active is None:
            return output
        return active.inject(output, normed if self.memory.config.normed_query else hidden, self.memory, self.layer)


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
