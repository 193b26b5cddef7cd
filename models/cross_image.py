"""How does an image read its prior inside the vision tower, with modules of its own?"""

from __future__ import annotations

import copy
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from models.config import SVEConfig
from models.cross_plan import CrossPlan, Reading, Rotary
from models.hosts import Tower
from models.parts import at

#: Standard deviation of weights that are not copied, and of the null token: the usual one of a Transformer.
FRESH_STD: Final = 0.02


class CrossImage(nn.Module):
    """Cross-attention to the prior's tokens and an FFN, both residual; enters before a vision block.

    Queries come from the current image, keys and values from the same layer's input of the prior, without gradient into
    the prior. An image without a prior reads its own tokens, with gradient. The weights start as copies of the block's
    own, so make it after the host's weights are loaded; W_O and W_2 start at `init_std`, their biases at 0. There is no
    layer scale on either branch, also where the block has it. `cross` leaves out the FFN; in `self_ffn` every image
    reads its own tokens, with gradient, prior or not.

    Source: arXiv 2606.04433, section 3.2 and appendix A; stop-gradient before the norm as in the authors' release.
    """

    def __init__(self, block: nn.Module, tower: Tower, config: SVEConfig, *, heads: int) -> None:
        super().__init__()
        norm_attention, norm_ffn = (at(block, path) for path in tower.norms)
        attention, ffn = at(block, tower.attention), at(block, tower.ffn)
        projections = [at(attention, path) for path in tower.qkv]
        width = projections[0].in_features
        self.heads = heads
        self.itself = config.design == "self_ffn"
        self.stop_gradient = config.stop_gradient
        self.positions = config.positions
        self.norm_q = copy.deepcopy(norm_attention)
        self.norm_kv = copy.deepcopy(norm_attention)
        self.q_proj = _joined(projections, slice(0, width), clone=config.clone)
        self.kv_proj = _joined(projections, slice(width, 3 * width), clone=config.clone)
        norms = [copy.deepcopy(at(attention, path)) for path in tower.qk_norms] or [nn.Identity(), nn.Identity()]
        self.q_norm, self.k_norm = norms
        self.o_proj = _fresh(at(attention, tower.output[0]), width, width, config.init_std)
        self.null = None
        if config.first_image == "null":
            like = self.o_proj.weight
            self.null = nn.Parameter(torch.empty(width, device=like.device, dtype=like.dtype).normal_(std=FRESH_STD))
        self.has_ffn = config.design != "cross"
        if self.has_ffn:
            inner = [at(ffn, path) for path in tower.ffn_in]
            outer = at(ffn, tower.ffn_out)
            self.gated = len(inner) == 2
            self.norm_ffn = copy.deepcopy(norm_ffn)
            self.fc1 = _joined(inner, slice(0, sum(part.out_features for part in inner)), clone=config.clone)
            self.activation = copy.deepcopy(at(ffn, tower.activation))
            self.fc2 = _fresh(outer, outer.in_features, outer.out_features, config.init_std)
        self.requires_grad_(True)  # the host may be frozen

    def forward(self, hidden: Tensor, rotary: Rotary | None, plan: CrossPlan) -> Tensor:
        """The block's new input.

        Args:
            hidden: (N, E), the block's input for all images, one after the other.
            rotary: Cosines and sines of the patches' places, (N, E / K) each, or None.
            plan: Which image is whose prior.
        """
        reading = plan.reading(itself=self.itself, null=self.null is not None, stopped=self.stop_gradient)
        query = self.q_norm(self.q_proj(self.norm_q(hidden))).unflatten(-1, (self.heads, -1))  # (N, K, E / K)
        tokens = reading.tokens(hidden, self.null, plan.outside_tokens())
        key, value = self.kv_proj(self.norm_kv(tokens)).chunk(2, dim=-1)
        key, value = (part.unflatten(-1, (self.heads, -1)) for part in (self.k_norm(key), value))
        if rotary is not None and self.positions:
            query, key = rotate(query, rotary), rotate(key, reading.rotary(rotary, plan.outside_rotary()))
        hidden = hidden + self.o_proj(attend(query, key, value, reading))
        return hidden + self._feed_forward(hidden) if self.has_ffn else hidden

    def _feed_forward(self, hidden: Tensor) -> Tensor:
        inner: Tensor = self.fc1(self.norm_ffn(hidden))
        if self.gated:
            gate, inner = inner.chunk(2, dim=-1)
            result: Tensor = self.fc2(self.activation(gate) * inner)
        else:
            result = self.fc2(self.activation(inner))
        return result


def rotate(states: Tensor, rotary: Rotary) -> Tensor:
    """Rotary position embedding of (N, K, D) in single precision; the two halves of D turn by the same angles."""
    half = states.shape[-1] // 2
    cos, sin = (part[:, None, :half].float() for part in rotary)
    first, second = torch.split(states.float(), half, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(states.dtype)


def attend(query: Tensor, key: Tensor, value: Tensor, reading: Reading) -> Tensor:
    """Attention (N, E) of each image's tokens over all tokens of its source, without a mask.

    Args:
        query: (N, K, D), of all images.
        key: (M, K, D), of all sources.
        value: (M, K, D).
        reading: Who reads which.
    """
    if reading.even:
        tokens = reading.lengths[0]
        query, key, value = (part.view(-1, tokens, *part.shape[1:]).transpose(1, 2) for part in (query, key, value))
        if not reading.in_order:
            rows = reading.index(key.device)
            key, value = key.index_select(0, rows), value.index_select(0, rows)
        mixed = scaled_dot_product_attention(query, key, value)  # (T, K, tokens, D)
        return mixed.transpose(1, 2).flatten(2).flatten(0, 1)
    queries = torch.split(query.transpose(0, 1), reading.lengths, dim=1)
    keys, values = (torch.split(part.transpose(0, 1), reading.source_lengths, dim=1) for part in (key, value))
    mixed = torch.cat(
        [
            scaled_dot_product_attention(q[None], keys[row][None], values[row][None])[0]
            for q, row in zip(queries, reading.rows, strict=True)
        ],
        dim=1,
    )
    return mixed.transpose(0, 1).flatten(1)


def _joined(linears: list[nn.Linear], rows: slice, *, clone: bool) -> nn.Linear:
    """One linear with some of the output rows of several, or with fresh ones in their place."""
    joined = _fresh(linears[0], linears[0].in_features, rows.stop - rows.start, 0.0 if clone else FRESH_STD)
    if clone:
        with torch.no_grad():
            joined.weight.copy_(torch.cat([linear.weight for linear in linears])[rows])
            if joined.bias is not None:
                joined.bias.copy_(torch.cat([linear.bias for linear in linears])[rows])
    return joined


def _fresh(like: nn.Linear, inputs: int, outputs: int, std: float) -> nn.Linear:
    """A linear of another's type, device and bias, with weights N(0, std) and bias 0."""
    linear = nn.Linear(inputs, outputs, bias=like.bias is not None, device=like.weight.device, dtype=like.weight.dtype)
    with torch.no_grad():
        linear.weight.normal_(std=std) if std else linear.weight.zero_()
        if linear.bias is not None:
            linear.bias.zero_()
    return linear
