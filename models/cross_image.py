"""How does an image read its prior inside the vision tower?"""

from __future__ import annotations

import copy
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from models.hosts import Host
from models.predecessor import CrossPlan
from models.wrapping import WrappedBlock


class CrossFFN(nn.Module):
    """Cross-attention to the prior's tokens and an FFN, both residual; enters before a vision block.

    Queries come from the current image, keys and values from the same layer's input of the prior, without gradient into
    the prior. An image without a prior reads its own tokens, with gradient. The weights start as copies of the block's
    own, so make it after the host's weights are loaded; W_O and W_2 start at `init_std`, their biases at 0.

    Source: arXiv 2606.04433, section 3.2 and appendix A; stop-gradient before the norm as in the authors' release.
    """

    def __init__(self, block: nn.Module, host: Host, *, heads: int, init_std: float) -> None:
        super().__init__()
        norm_attention, norm_ffn = (attrgetter(path)(block) for path in host.block_norms)
        qkv: nn.Linear = attrgetter(host.block_qkv)(block)
        fc1, activation, fc2 = (attrgetter(path)(block) for path in host.block_ffn)
        width = qkv.in_features
        self.heads = heads
        self.norm_q = copy.deepcopy(norm_attention)
        self.norm_kv = copy.deepcopy(norm_attention)
        self.q_proj = _slice_linear(qkv, slice(0, width))
        self.kv_proj = _slice_linear(qkv, slice(width, 3 * width))
        self.o_proj = _fresh_linear(qkv, width, width, init_std)
        self.norm_ffn = copy.deepcopy(norm_ffn)
        self.fc1 = copy.deepcopy(fc1)
        self.activation = copy.deepcopy(activation)
        self.fc2 = _fresh_linear(fc2, fc2.in_features, fc2.out_features, init_std)
        self.requires_grad_(True)  # the host may be frozen

    def forward(self, hidden: Tensor, rotary: tuple[Tensor, Tensor], plan: CrossPlan) -> Tensor:
        """The block's new input.

        Args:
            hidden: (N, E), the block's input for all images, one after the other.
            rotary: Cosines and sines of the patches' coordinates, (N, E / K) each.
            plan: Which image reads which.
        """
        grad = torch.is_grad_enabled()
        query = self.q_proj(self.norm_q(hidden)).unflatten(-1, (self.heads, -1))  # (N, K, E / K)
        key, value = (
            self.kv_proj(self.norm_kv(plan.sources(hidden, grad))).unflatten(-1, (2, self.heads, -1)).unbind(-3)
        )
        query = rotate(query, rotary)
        key = rotate(key, plan.rotary(rotary, grad))
        hidden = hidden + self.o_proj(_attend(query, key, value, plan, grad))
        added: Tensor = self.fc2(self.activation(self.fc1(self.norm_ffn(hidden))))
        return hidden + added


class StatefulBlock(WrappedBlock):
    """A vision block that reads the prior first."""

    def __init__(self, base_layer: nn.Module, cross_image: CrossFFN) -> None:
        super().__init__(base_layer)
        self.cross_image = cross_image

    def forward(self, hidden_states: Tensor, *args: Any, cross_plan: CrossPlan, **kwargs: Any) -> Tensor:
        """The block's output (N, E); `cross_plan` comes from the hook of the tower."""

        def run(hidden: Tensor) -> Tensor:
            hidden = self.cross_image(hidden, kwargs["position_embeddings"], cross_plan)
            result: Tensor = self.base_layer(hidden, *args, **kwargs)
            return result

        return self.run_unit(run, hidden_states)


def rotate(states: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary position embedding of (N, K, D) in single precision; the two halves of D turn by the same angles."""
    half = states.shape[-1] // 2
    cos, sin = (part[:, None, :half].float() for part in rotary)
    first, second = torch.split(states.float(), half, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(states.dtype)


def _attend(query: Tensor, key: Tensor, value: Tensor, plan: CrossPlan, grad: bool) -> Tensor:
    """Attention (N, E) of each image's tokens over all tokens of its source, without a mask."""
    reads = plan.reads(grad)
    if plan.even:
        tokens = plan.lengths[0]
        query, key, value = (part.view(-1, tokens, *part.shape[1:]).transpose(1, 2) for part in (query, key, value))
        if reads != list(range(len(reads))):
            rows = torch.tensor(reads, device=key.device)
            key, value = key.index_select(0, rows), value.index_select(0, rows)
        mixed = scaled_dot_product_attention(query, key, value)  # (T, K, tokens, D)
        return mixed.transpose(1, 2).flatten(2).flatten(0, 1)
    queries = torch.split(query.transpose(0, 1), plan.lengths, dim=1)
    keys, values = (torch.split(part.transpose(0, 1), plan.source_lengths(grad), dim=1) for part in (key, value))
    mixed = torch.cat(
        [
            scaled_dot_product_attention(q[None], keys[row][None], values[row][None])[0]
            for q, row in zip(queries, reads, strict=True)
        ],
        dim=1,
    )
    return mixed.transpose(0, 1).flatten(1)


def _slice_linear(linear: nn.Linear, rows: slice) -> nn.Linear:
    """A linear with copies of some output rows of another."""
    part = _fresh_linear(linear, linear.in_features, rows.stop - rows.start, 0.0)
    with torch.no_grad():
        part.weight.copy_(linear.weight[rows])
        if linear.bias is not None:
            part.bias.copy_(linear.bias[rows])
    return part


def _fresh_linear(like: nn.Linear, inputs: int, outputs: int, std: float) -> nn.Linear:
    """A linear of another's type, device and bias, with weights N(0, std) and bias 0."""
    linear = nn.Linear(inputs, outputs, bias=like.bias is not None, device=like.weight.device, dtype=like.weight.dtype)
    with torch.no_grad():
        linear.weight.normal_(std=std) if std else linear.weight.zero_()
        if linear.bias is not None:
            linear.bias.zero_()
    return linear
