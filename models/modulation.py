"""How does the prior's mean token shift, scale and gate a block?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu
from torch.utils.hooks import RemovableHandle

from models.config import SVEConfig
from models.cross_plan import CrossPlan, Rotary, current_plan
from models.hosts import Tower
from models.parts import at
from models.predecessor import NO_PRIOR


class Modulation(nn.Module):
    """Six vectors for each image out of its prior's mean token: shift, scale and gate of self-attention and of FFN.

    Gates and scales are 1 + what is learned: with everything at zero the block is the host's, where gates of zero
    would switch it off. An image without a prior has the zero vector for a mean.

    Source: arXiv 2606.04433, appendix E (AdaLN-Zero); SiLU before the linear as in DiT, arXiv 2212.09748; the mean as
    pooling and the gates' 1 are ours, as the paper does not say.
    """

    def __init__(self, block: nn.Module, tower: Tower, config: SVEConfig) -> None:
        super().__init__()
        weight = at(at(block, tower.ffn), tower.ffn_out).weight
        width = weight.shape[0]
        self.stop_gradient = config.stop_gradient
        self.linear = nn.Linear(width, 6 * width, device=weight.device, dtype=weight.dtype)
        with torch.no_grad():
            self.linear.weight.normal_(std=config.init_std) if config.init_std else self.linear.weight.zero_()
            self.linear.bias.zero_()

    def forward(self, hidden: Tensor, rotary: Rotary | None, plan: CrossPlan) -> Tensor:
        """The block's input (N, E) as it came; the six vectors go into the plan, where the block's hooks find them."""
        means = plan.means(hidden.detach() if self.stop_gradient else hidden)
        nothing = torch.zeros_like(means[0])
        of_priors = torch.stack([nothing if prior == NO_PRIOR else means[prior] for prior in plan.priors])
        plan.modulation = self.linear(silu(of_priors)).unflatten(-1, (6, -1))
        return hidden


class Modulate:
    """Hook on a part of a block: changes its output by some of the six vectors."""

    def __init__(self, *, scale: int, shift: int | None = None) -> None:
        self.scale = scale
        self.shift = shift

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        """The output, or the first of several, times 1 + scale, plus shift."""
        states: Tensor = output[0] if isinstance(output, tuple) else output
        changed = states * (1 + self._vectors(self.scale, states))
        if self.shift is not None:
            changed = changed + self._vectors(self.shift, states)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    def _vectors(self, which: int, like: Tensor) -> Tensor:
        plan = current_plan()
        assert plan.modulation is not None
        return plan.spread(plan.modulation[:, which]).view_as(like).to(like.dtype)


def install_modulation(block: nn.Module, tower: Tower) -> list[RemovableHandle]:
    """Puts the hooks on the parts of a block; the handles take them off."""
    hooks = {
        tower.norms[0]: Modulate(scale=0, shift=1),
        tower.attention: Modulate(scale=2),
        tower.norms[1]: Modulate(scale=3, shift=4),
        tower.ffn: Modulate(scale=5),
    }
    return [at(block, path).register_forward_hook(hook) for path, hook in hooks.items()]
