"""How is the visual memory kept with a generation's own cache?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor

from models.errors import ModelsError

#: Position of a memory slot that nobody may read: padding, or a token that was cropped from the cache.
NEVER: Final = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class MemoryState:
    """Latent keys and values of one decoder layer's visual memory.

    Attributes:
        key: (B, K, M, D), normalised.
        value: (B, K, M, D).
        position: (B, M), each slot's place in the sequence, or `NEVER`.
        ragged: Whether some slot may be `NEVER`.
    """

    key: Tensor
    value: Tensor
    position: Tensor
    ragged: bool

    def rows(self, index: Tensor) -> MemoryState:
        """The memories of the given samples, in that order."""
        index = index.to(self.key.device)
        return MemoryState(self.key[index], self.value[index], self.position[index], self.ragged)

    def repeated(self, times: int) -> MemoryState:
        """Every sample's memory `times` times, copies next to each other."""
        return self.rows(torch.arange(len(self.key), device=self.key.device).repeat_interleave(times))

    def append(self, later: MemoryState) -> MemoryState:
        """This memory followed by the images of a later turn."""
        return MemoryState(
            torch.cat((self.key, later.key), dim=2),
            torch.cat((self.value, later.value), dim=2),
            torch.cat((self.position, later.position), dim=1),
            self.ragged or later.ragged,
        )

    def cropped(self, length: int) -> MemoryState:
        """The memory of the first `length` positions."""
        position = self.position.masked_fill(self.position >= length, NEVER)
        return MemoryState(self.key, self.value, position, ragged=True)


@cache
def _remembering(layer_class: Any) -> Any:
    """Subclass of a cache layer's own class: what happens to its keys and values happens to the visual memory too."""

    class RememberingLayer(layer_class):  # type: ignore[misc]
        visual_memory: MemoryState | None = None
        was_cropped = False

        def _keep(self, change: Callable[[MemoryState], MemoryState]) -> None:
            if self.visual_memory is not None:
                self.visual_memory = change(self.visual_memory)

        def reorder_cache(self, beam_idx: Tensor) -> None:
            super().reorder_cache(beam_idx)
            self._keep(lambda memory: memory.rows(beam_idx))

        def batch_select_indices(self, indices: Tensor) -> None:
            super().batch_select_indices(indices)
            self._keep(lambda memory: memory.rows(indices))

        def batch_repeat_interleave(self, repeats: int) -> None:
            super().batch_repeat_interleave(repeats)
            self._keep(lambda memory: memory.repeated(repeats))

        def crop(self, tokens_to_remove: int) -> None:
            super().crop(tokens_to_remove)
            self.was_cropped = True  # to which length only the whole cache knows: a layer without attention does not

        def reset(self) -> None:
            super().reset()
            self.visual_memory = None

    return RememberingLayer


def remember(cache_object: Any, states: Mapping[int, MemoryState]) -> None:
    """Puts memories into the layers of a generation's cache; copying the cache copies them.

    The layers change their class to a subclass that keeps the memory in step with reordering, repetition, cropping
    and reset. So nothing of a generation lies on the model.
    """
    for index, state in states.items():
        layer = cache_object.layers[index]
        if not hasattr(layer, "visual_memory"):
            layer.__class__ = _remembering(type(layer))  # type: ignore[arg-type]
        layer.visual_memory = state


def recall(cache_object: Any, layers: tuple[int, ...]) -> dict[int, MemoryState]:
    """The memories that `remember` put into a cache, by decoder layer; empty when it never saw an image.

    Raises:
        ModelsError: Only some of the layers have a memory: the cache was made under another configuration.
    """
    held = cache_object.layers
    for layer in held:
        if getattr(layer, "was_cropped", False):
            layer._keep(lambda memory: memory.cropped(int(cache_object.get_seq_length())))
            layer.was_cropped = False
    found = {
        index: state
        for index in layers
        if index < len(held) and (state := getattr(held[index], "visual_memory", None)) is not None
    }
    if found and len(found) != len(layers):
        raise ModelsError(
            f"The cache has visual memory for the decoder layers {sorted(found)}, the model has it in {list(layers)}; "
            "start the generation again with the model as it is now."
        )
    return found
