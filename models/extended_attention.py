"""How does a block's own attention read the prior's tokens beside the image's?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from models.cross_image import rotate
from models.cross_plan import CrossPlan, Rotary, current_plan
from models.errors import UnsupportedInput
from models.hosts import Tower
from models.parts import at


class ExtendedAttention(nn.Module):
    """Stands in for a block's self-attention: keys and values of image and prior in one softmax; adds no parameters.

    Every token keeps the place in its own image. Without a prior this is the block's own attention.

    Source: arXiv 2606.04433, appendix E (Self-Ext); stop-gradient on the prior's normed tokens and places are ours, as
    the paper does not say.
    """

    def __init__(self, base_layer: nn.Module, tower: Tower, *, heads: int, stop_gradient: bool) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.tower = tower
        self.heads = heads
        self.stop_gradient = stop_gradient

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """What the block's attention would give for (N, E) or (T, tokens, E), and of that shape."""
        plan = current_plan()
        if not plan.has_priors:
            return self.base_layer(hidden_states, *args, **kwargs)
        if plan.outside:
            raise UnsupportedInput("self_ext cannot read a prior that was encoded before; encode the two together.")
        rotary = None if self.tower.rotary is None else kwargs[self.tower.rotary]
        mixed: Tensor = self._attend(hidden_states.flatten(0, -2), rotary, plan).view_as(hidden_states)
        for path in self.tower.output:
            mixed = at(self.base_layer, path)(mixed)
        return (mixed, None) if self.tower.with_weights else mixed

    def _attend(self, hidden: Tensor, rotary: Rotary | None, plan: CrossPlan) -> Tensor:
        query, key, value = self._project(hidden, rotary)
        prior_key, prior_value = key, value
        if self.stop_gradient and torch.is_grad_enabled():
            _, prior_key, prior_value = self._project(hidden.detach(), rotary)
        parts = [torch.split(part.transpose(0, 1), plan.lengths, dim=1) for part in (query, key, value)]
        priors = [torch.split(part.transpose(0, 1), plan.lengths, dim=1) for part in (prior_key, prior_value)]
        mixed = []
        for image, (q, k, v) in enumerate(zip(*parts, strict=True)):
            if plan.has_prior(image):
                k, v = (torch.cat((own, of[plan.priors[image]]), dim=1) for own, of in zip((k, v), priors, strict=True))
            mixed.append(scaled_dot_product_attention(q[None], k[None], v[None])[0])
        return torch.cat(mixed, dim=1).transpose(0, 1).flatten(1)

    def _project(self, hidden: Tensor, rotary: Rotary | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (N, K, D) by the host's own weights."""
        linears = [at(self.base_layer, path) for path in self.tower.qkv]
        query, key, value = linears[0](hidden).chunk(3, -1) if len(linears) == 1 else (f(hidden) for f in linears)
        if self.tower.qk_norms:
            q_norm, k_norm = (at(self.base_layer, path) for path in self.tower.qk_norms)
            query, key = q_norm(query), k_norm(key)
        query, key, value = (part.unflatten(-1, (self.heads, -1)) for part in (query, key, value))
        return (query, key, value) if rotary is None else (rotate(query, rotary), rotate(key, rotary), value)
