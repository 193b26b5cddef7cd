"""How much of its attention does each decoder layer give to the images, token by token, while decoding?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import UnsupportedInput
from models.parts import parts_of


@dataclass(frozen=True)
class AttentionMass:
    """The visual attention mass of each layer at each step of decoding.

    Attributes:
        mass: (layers, steps) share of the attention that goes to visual positions, the mean over heads; NaN in layers
            without attention. All that is not visual counts as text: prompt, question and answer.
        answer: (steps) the generated tokens; step t's mass is that of the token before it, from which it was chosen.
    """

    mass: Tensor
    answer: Tensor

    @property
    def text_to_visual(self) -> Tensor:
        """(layers, steps) text-to-visual ratio, (1 - mass) / mass; the formula is not stated in the paper."""
        return (1 - self.mass) / self.mass


def attention_mass(model: nn.Module, inputs: Mapping[str, Tensor], *, steps: int) -> AttentionMass:
    """Decodes greedily and records each layer's visual attention mass; the end token is never chosen.

    Args:
        model: A host with or without our modules.
        inputs: One sample as `generate` takes it.
        steps: Tokens to decode.

    Raises:
        UnsupportedInput: There is more than one sample, or the sample has no image.

    Source: arXiv 2605.00814, section 3 (Omega_V, TVR).
    """
    parts = parts_of(model)
    ids = inputs["input_ids"]
    is_visual = ids[0].eq(parts.image_token or -1).float()
    if len(ids) != 1 or not is_visual.any():
        raise UnsupportedInput("The attention mass is measured on one sample with an image; give one.")
    rows: list[list[float]] = [[] for _ in parts.layers]

    def hook(index: int) -> Any:
        def note(_module: nn.Module, _args: Any, output: tuple[Tensor, Tensor | None]) -> None:
            weights = output[1]
            if weights is None:
                raise UnsupportedInput("The host's attention gives no weights; use a host with eager attention.")
            last = weights[0, :, -1].float()  # (K, positions); a sliding window has the latest only
            total = len(is_visual) + len(rows[index])
            first = total - last.shape[-1]
            visual = is_visual[max(first, 0) :].to(last.device)
            start = max(-first, 0)  # static caches are longer than what is in them
            rows[index].append(float((last[:, start : start + len(visual)] @ visual).mean()))

        return note

    handles = []
    for index, layer in enumerate(parts.layers):
        attention = getattr(getattr(layer, "base_layer", layer), parts.decoder_names.attention, None)
        if attention is not None:
            handles.append(attention.register_forward_hook(hook(index)))
    host: Any = model
    try:
        with eager_attention(model), torch.no_grad():
            sequences = host.generate(**inputs, do_sample=False, min_new_tokens=steps, max_new_tokens=steps)
    finally:
        for handle in handles:
            handle.remove()
    mass = torch.full((len(rows), steps), torch.nan)
    for index, values in enumerate(rows):
        if values:
            mass[index] = torch.tensor(values)
    return AttentionMass(mass, sequences[0, ids.shape[1] :])


@contextmanager
def eager_attention(model: nn.Module) -> Iterator[None]:
    """Has all attention of the host written out, so that its weights can be seen, and restores what it was."""
    configs = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}.values()
    before = [(config, config._attn_implementation) for config in configs if hasattr(config, "_attn_implementation")]
    try:
        for config, _ in before:
            config._attn_implementation = "eager"
        yield
    finally:
        for config, name in before:
            config._attn_implementation = name
