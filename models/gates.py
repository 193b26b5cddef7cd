"""How far are the gates of the visual memory open?"""

from __future__ import annotations

from torch import nn

from models.attach import own_parameters


def gate_values(model: nn.Module) -> dict[str, float]:
    """The gate of each layer with a branch, by its name ("pvm.8"); of token-wise gates the part shared by all."""
    return {
        name.removesuffix(".gate_alpha"): parameter.detach().float().item()
        for name, parameter in own_parameters(model).items()
        if name.endswith(".gate_alpha")
    }
