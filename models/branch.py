"""What do the branches beside a decoder layer's FFN have in common: widths, start and gate?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm, silu

from models.config import PVMConfig


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


class GatedBranch(nn.Module):
    """A branch whose result enters the residual stream through a gate that starts at exactly 0.

    All matrices start at N(0, `init_std`), `output_expander` included: with it and the gate both at zero the branch
    could never leave that point. A token-wise gate is `gate_alpha` plus a linear map, from zero, of the token's state.
    """

    gate_token: nn.Linear | None

    def __init__(self, shape: MemoryShape, config: PVMConfig, *, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.shape = shape
        self.config = config
        self._where: dict[str, Any] = {"device": device, "dtype": dtype}

    def linear(self, inputs: int, outputs: int) -> nn.Linear:
        """A matrix at its start."""
        layer = nn.Linear(inputs, outputs, bias=False, **self._where)
        nn.init.normal_(layer.weight, std=self.config.init_std)
        return layer

    def norm(self, size: int) -> nn.RMSNorm:
        """A norm at its start."""
        return SingleRMSNorm(size, eps=self.shape.eps, **self._where)

    def add_swiglu(self, inner: int) -> None:
        """Adds the three matrices of `swiglu`."""
        self.gate_proj = self.linear(self.shape.latent, inner)
        self.up_proj = self.linear(self.shape.latent, inner)
        self.down_proj = self.linear(inner, self.shape.latent)

    def swiglu(self, latent: Tensor) -> Tensor:
        """The feed-forward network inside the branch, (B, S, latent) to the same."""
        result: Tensor = self.down_proj(silu(self.gate_proj(latent)) * self.up_proj(latent))
        return result

    def add_output(self) -> None:
        """Adds what `output` needs."""
        self.output_expander = self.linear(self.shape.latent, self.shape.width)
        self.gate_alpha = nn.Parameter(torch.zeros(1, **self._where))
        self.gate_token = None
        if self.config.gate == "token":
            self.gate_token = nn.Linear(self.shape.latent, 1, bias=False, **self._where)
            nn.init.zeros_(self.gate_token.weight)

    def output(self, latent: Tensor, state: Tensor) -> Tensor:
        """The injection (B, S, E) of a result `latent` for tokens of state `state`, both (B, S, latent)."""
        restored: Tensor = self.output_expander(latent)
        if self.config.output_norm:
            restored = rms_norm(restored.float(), (self.shape.width,), eps=self.shape.eps).to(restored.dtype)
        gate = self.gate_alpha if self.gate_token is None else self.gate_alpha + self.gate_token(state)
        return gate * restored

    def encode(self, visual: Tensor) -> tuple[Tensor, Tensor]:
        """What is kept of visual tokens (B, M, E) for later positions: keys and values, (B, K, M, D) each."""
        raise NotImplementedError

    def forward(self, hidden: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """The injection (B, S, E) for the states (B, S, E) of a decoder layer."""
        raise NotImplementedError
