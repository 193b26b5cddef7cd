"""How early in the decoder is it settled which token comes next?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.parts import at, parts_of


@torch.no_grad()
def logit_lens(model: nn.Module, inputs: Mapping[str, Tensor], chosen: Tensor) -> Tensor:
    """KL(last layer || layer), in nats, of the next token's distribution read off each layer, the mean over positions.

    Each layer's states go through the decoder's last norm and the unembedding. Entry 0 is the decoder's input, entry l
    the output of layer l; the last one is 0.

    Args:
        model: A host with or without our modules.
        inputs: A batch as `forward` takes it, answers included.
        chosen: (B, S) bool, the positions that count; those before each token of an answer, say.

    Returns:
        (layers + 1) float32.

    Source: arXiv 2605.00814, figure 6 (LogitLens); whether the norm is applied is not stated, here it is.
    """
    parts = parts_of(model)
    states: list[Tensor] = []

    def note(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        if not states:
            states.append((args[0] if args else kwargs["hidden_states"])[chosen])
        states.append(output[chosen])

    handles = [layer.register_forward_hook(note, with_kwargs=True) for layer in parts.layers]
    host: Any = model
    try:
        host(**inputs, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    norm, unembed = at(parts.decoder, parts.decoder_names.last_norm), host.get_output_embeddings()

    def log_probabilities(hidden: Tensor) -> Tensor:
        logits: Tensor = unembed(norm(hidden))
        return logits.float().log_softmax(-1)

    last = log_probabilities(states[-1])
    return torch.stack([(last.exp() * (last - log_probabilities(hidden))).sum(-1).mean() for hidden in states]).cpu()
