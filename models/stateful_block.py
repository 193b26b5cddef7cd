"""How do the designs of the stateful encoder enter the blocks of a vision tower, and leave them?"""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from models.config import SVEConfig
from models.cross_image import CrossImage
from models.cross_plan import cross_plan, current_plan, holds
from models.errors import AttachmentError
from models.extended_attention import ExtendedAttention
from models.modulation import Modulation, install_modulation
from models.parts import Parts, at, require
from models.wrapping import WrappedBlock


class StatefulBlock(WrappedBlock):
    """A vision block that reads the prior; `cross_image` has the weights for it, if the design has any."""

    def __init__(
        self, base_layer: nn.Module, cross_image: CrossImage | Modulation | None, *, rotary: str | None, index: int
    ) -> None:
        super().__init__(base_layer)
        self.cross_image = cross_image
        self.rotary = rotary
        self.index = index

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The block's output, of the shape of `hidden_states`: (N, E), or (T, tokens, E)."""
        plan = current_plan()
        rotary = None if self.rotary is None else kwargs[self.rotary]

        def read(hidden: Tensor) -> Tensor:
            plan.enter(self.index, hidden, rotary)
            if self.cross_image is not None:
                hidden = self.cross_image(hidden.flatten(0, -2), rotary, plan).view_as(hidden)
            result: Tensor = self.base_layer(hidden, *args, **kwargs)
            return result

        def run(hidden: Tensor) -> Tensor:
            if holds(plan):
                return read(hidden)
            with cross_plan(plan):  # computed again in backward, when the tower's call is long over
                return read(hidden)

        return self.run_unit(run, hidden_states)


def stateful_blocks(parts: Parts, config: SVEConfig) -> list[StatefulBlock]:
    """One stateful block for each vision block, with nothing put into the host yet.

    Raises:
        AttachmentError: The blocks are not as models/hosts.py has them, or their weights are not here.
    """
    names = parts.host.tower
    heads = int(getattr(parts.vision_config, names.heads))
    dropout = 0.0 if names.dropout is None else float(getattr(parts.vision_config, names.dropout))
    if config.design == "self_ext" and dropout:
        raise AttachmentError(f"self_ext has no dropout of attention weights, the host has {dropout}; set it to 0.")
    found = []
    for index, block in enumerate(parts.blocks):
        what = f"Vision block {index}"
        if names.rotary and names.rotary not in inspect.signature(block.forward).parameters:
            raise AttachmentError(
                f"{what} does not take {names.rotary}; this release of transformers calls its blocks in another way "
                "than models/hosts.py knows."
            )
        require(block, (*names.norms, names.attention, names.ffn), what)
        attention, ffn = at(block, names.attention), at(block, names.ffn)
        require(attention, (*names.qkv, *names.qk_norms, *names.output), f"The attention of vision block {index}")
        require(ffn, (*names.ffn_in, names.activation, names.ffn_out), f"The FFN of vision block {index}")
        if any(parameter.numel() == 0 for parameter in block.parameters()):
            raise AttachmentError(
                f"{what} has no weights here, as if ZeRO-3 had split them over processes; attach before "
                "`deepspeed.initialize`, or within `deepspeed.zero.GatheredParameters`."
            )
        module: CrossImage | Modulation | None = None
        if config.design == "adaln_zero":
            module = Modulation(block, names, config)
        elif config.design != "self_ext":
            module = CrossImage(block, names, config, heads=heads)
        found.append(StatefulBlock(block, module, rotary=names.rotary, index=index))
    return found


def insert_blocks(parts: Parts, blocks: list[StatefulBlock], config: SVEConfig) -> list[RemovableHandle]:
    """Puts the blocks into the tower; the handles are of what they need beside them."""
    names = parts.host.tower
    handles = []
    for index, stateful in enumerate(blocks):
        parts.blocks[index] = stateful
        block = stateful.base_layer
        if config.design == "adaln_zero":
            handles += install_modulation(block, names)
        elif config.design == "self_ext":
            heads = int(getattr(parts.vision_config, names.heads))
            extended = ExtendedAttention(
                at(block, names.attention), names, heads=heads, stop_gradient=config.stop_gradient
            )
            setattr(block, names.attention, extended)
    return handles


def remove_blocks(parts: Parts) -> None:
    """Puts the host's own blocks back into the tower."""
    name = parts.host.tower.attention
    for index, stateful in enumerate(parts.blocks):
        if isinstance(stateful, StatefulBlock):
            block = stateful.base_layer
            attention = getattr(block, name)
            if isinstance(attention, ExtendedAttention):
                setattr(block, name, attention.base_layer)
            parts.blocks[index] = block
