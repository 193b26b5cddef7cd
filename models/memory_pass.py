"""What do the retrieval branches need during one forward of the decoder?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from models.memory_cache import NEVER, MemoryState

if TYPE_CHECKING:
    from models.branch import GatedBranch

#: Added to the score of a slot that may not be read; its weight is then exactly 0, scores being bounded by the norms of
#: queries and keys. Not minus infinity, nor the least number of a wide type, which autocast turns into it: a filler row
#: may read nothing at all, and would become NaN.
UNSEEN: Final = torch.finfo(torch.float16).min


@dataclass(frozen=True, kw_only=True)
class MemoryPass:
    """What the retrieval branches need during one forward of the decoder; it lives no longer than that.

    Attributes:
        visual: (B, M, E) visual tokens that are new in this forward, or None.
        position: (B, M) their places in the sequence.
        ragged: Whether slots of `visual` are padding.
        past: Memories of earlier forwards, by decoder layer.
        mask: Additive, (B, 1, A, M of past and new), or None.
        rows: (B * A) the positions that read, as rows of the flattened (B, S), or None for all.
        reads: (B, A, 1) 1 where a position reads and 0 where it is filler, or None for all.
        made: Where new memories are put for the cache, or None when they are not to be kept.
    """

    visual: Tensor | None
    position: Tensor | None
    ragged: bool
    past: dict[int, MemoryState]
    mask: Tensor | None
    rows: Tensor | None
    reads: Tensor | None
    made: dict[int, MemoryState] | None = field(default=None)

    def inject(self, output: Tensor, hidden: Tensor, memory: GatedBranch, layer: int) -> Tensor:
        """`output` plus the injection of one layer, both (B, S, E); other positions stay as they are, bit for bit."""
        state = self._state(memory, layer)
        batch, _, width = hidden.shape
        reading = hidden
        if self.rows is not None:
            reading = hidden.flatten(0, 1).index_select(0, self.rows).view(batch, -1, width)
        # Autocast computes the norm of the injection in single precision.
        injected: Tensor = memory(reading, state.key, state.value, self.mask).to(output.dtype)
        if self.reads is not None:
            injected = injected * self.reads
        if self.rows is None:
            return output + injected
        return output.flatten(0, 1).index_add(0, self.rows, injected.flatten(0, 1)).view_as(output)

    def _state(self, memory: GatedBranch, layer: int) -> MemoryState:
        past = self.past.get(layer)
        if self.visual is None or self.position is None:
            return self.past[layer]
        state = MemoryState(*memory.encode(self.visual), self.position, self.ragged)
        if (change := _change.get()) is not None:
            state = change(state)
        if past is not None:
            state = past.append(state)
        if self.made is not None:
            self.made[layer] = state
        return state


_current: ContextVar[MemoryPass | None] = ContextVar("interval_memory_pass", default=None)


def current_pass() -> MemoryPass | None:
    """The pass that holds at this point of the program, or None where there is nothing to read."""
    return _current.get()


@contextmanager
def memory_pass(active: MemoryPass | None) -> Iterator[None]:
    """Makes `active` hold for all decoder layers within."""
    token = _current.set(active)
    try:
        yield
    finally:
        _current.reset(token)


_change: ContextVar[Callable[[MemoryState], MemoryState] | None] = ContextVar("interval_memory_change", default=None)


@contextmanager
def changed_memory(change: Callable[[MemoryState], MemoryState]) -> Iterator[None]:
    """Has every memory that is made within replaced by what `change` makes of it, for controls."""
    token = _change.set(change)
    try:
        yield
    finally:
        _change.reset(token)


_visual: ContextVar[Tensor | None] = ContextVar("interval_visual_positions", default=None)


def current_visual() -> Tensor | None:
    """Where the visual tokens of the core's call are that holds at this point, (B, S) bool; None where it has none."""
    return _visual.get()


@contextmanager
def visual_positions(visual: Tensor | None) -> Iterator[None]:
    """Makes the places of visual tokens hold for the decoder's call within."""
    token = _visual.set(visual)
    try:
        yield
    finally:
        _visual.reset(token)


def pass_of(
    embeds: Tensor, visual: Tensor | None, past: dict[int, MemoryState], seen: int, *, keep: bool
) -> MemoryPass | None:
    """The pass of one forward of the decoder, or None when no position may read anything.

    A position reads the visual tokens before it, in this forward or in the cache, and none behind it. Visual positions
    themselves read nothing.

    Args:
        embeds: (B, S, E) inputs of the decoder, visual features already in their places.
        visual: (B, S) True at visual tokens, or None when this forward has none.
        past: Memories in the cache, by decoder layer.
        seen: Positions in the cache.
        keep: Whether new memories are to be kept for the cache.

    Source: arXiv 2605.00814 (code) for memory and silencing; reading only what comes before is ours.
    """
    batch, length, _ = embeds.shape
    device = embeds.device
    old = next(iter(past.values()), None)
    place = torch.arange(seen, seen + length, device=device)
    new = position = None
    new_ragged = False
    slots = None if old is None else old.position
    if visual is not None:
        visual = visual.to(device)
        counts = visual.sum(-1).tolist()
        most = max(counts)
        new_ragged = min(counts) < most
        # Stable, so the visual positions of each row come first and in order.
        order = torch.argsort(visual.logical_not(), dim=-1, stable=True)[:, :most]
        offset = torch.arange(batch, device=device)[:, None] * length
        new = embeds.flatten(0, 1).index_select(0, (order + offset).flatten()).view(batch, most, -1)
        position = order + seen
        if new_ragged:
            filled = torch.arange(most, device=device) < visual.sum(-1, keepdim=True)
            position = position.masked_fill(filled.logical_not(), NEVER)
        slots = position if slots is None else torch.cat((slots, position), dim=1)
    if slots is None:
        return None
    ragged = new_ragged or (old is not None and old.ragged)
    made: dict[int, MemoryState] | None = {} if keep else None
    everyone = MemoryPass(
        visual=new, position=position, ragged=new_ragged, past=past, mask=None, rows=None, reads=None, made=made
    )
    if visual is None and not ragged:
        return everyone  # a decoding step: every position comes after every slot

    reading = slots.amin(-1, keepdim=True) < place  # (B, S)
    if visual is not None:
        reading = reading & visual.logical_not()
    counts = reading.sum(-1).tolist()
    most = max(counts)
    rows = None
    places = place.expand(batch, length)
    if most < length:
        order = torch.argsort(reading.logical_not(), dim=-1, stable=True)[:, :most]
        offset = torch.arange(batch, device=device)[:, None] * length
        rows = (order + offset).flatten()
        places = places.gather(1, order)
        reading = reading.gather(1, order)
    reads = None if min(counts) == most else reading[..., None]
    hidden = slots[:, None, None, :] >= places[:, None, :, None]  # (B, 1, A, M)
    mask = torch.zeros(hidden.shape, dtype=embeds.dtype, device=device)
    mask = mask.masked_fill(hidden, UNSEEN)
    return replace(everyone, mask=mask, rows=rows, reads=reads)
