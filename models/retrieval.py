"""Which place of which image was a sentence read from?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from models.attach import own_modules
from models.errors import AttachmentError, UnsupportedInput
from models.memory_cache import MemoryState
from models.memory_pass import changed_memory, current_pass
from models.parts import Parts, parts_of
from models.visual_memory import VisualMemory


@torch.no_grad()
def retrieval_maps(model: nn.Module, inputs: Mapping[str, Tensor], spans: Sequence[slice]) -> list[list[Tensor]]:
    """Where the visual memory was read for each span of tokens: for each span a map (rows, columns) of each image.

    The attention of the retrieval branches, the mean over their layers, heads and the span's positions; the maps of one
    span sum to 1 over all images. A position reads for the token that comes after it, so to ask where a token was read
    from give the position before it.

    Args:
        model: A host with the visual memory attached.
        inputs: One sample as `forward` takes it, with the answer.
        spans: Positions in the sequence; each has one at least that comes after an image.

    Raises:
        AttachmentError: No visual memory is attached.
        UnsupportedInput: There is more than one sample, or a span reads no image.
    """
    memories = {name: module for name, module in own_modules(model).items() if isinstance(module, VisualMemory)}
    if not memories:
        raise AttachmentError("There is no visual memory on this model, so nothing is read; attach one.")
    parts = parts_of(model)
    ids = inputs["input_ids"]
    if len(ids) != 1:
        raise UnsupportedInput("Retrieval maps are of one sample; give one.")
    total = torch.zeros(ids.shape[1], int(ids.eq(parts.image_token or -1).sum()))

    def note(module: nn.Module, args: tuple[Tensor, Tensor, Tensor, Tensor | None]) -> None:
        assert isinstance(module, VisualMemory)
        active = current_pass()
        weights = module.weights(args[0], args[1], args[3])[0].mean(0).float().cpu()  # (A, M)
        rows = slice(None) if active is None or active.rows is None else active.rows.cpu()
        total[rows] += weights / len(memories)

    handles = [module.register_forward_pre_hook(note) for module in memories.values()]
    try:
        model(**inputs, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    found = []
    for span in spans:
        read = total[span].sum(0)
        if not read.any():
            raise UnsupportedInput(f"Positions {span.start} to {span.stop} come before every image and read none.")
        grids = _grids(parts, inputs)
        maps = torch.split(read / read.sum(), [rows * columns for rows, columns in grids])
        found.append([one.view(grid) for one, grid in zip(maps, grids, strict=True)])
    return found


def _grids(parts: Parts, inputs: Mapping[str, Tensor]) -> list[tuple[int, int]]:
    """Rows and columns of each image's tokens."""
    if parts.merge_size is not None:
        return [(r // parts.merge_size, c // parts.merge_size) for _, r, c in inputs["image_grid_thw"].tolist()]
    side = round((parts.image_length or 0) ** 0.5)
    return [(side, side)] * len(inputs["pixel_values"])


@contextmanager
def shuffled_memory(seed: int) -> Iterator[None]:
    """Within, what stands in the memory is dealt out anew over its slots, keys staying: a control of the retrieval.

    The branch looks in the right places and finds what belongs elsewhere in the same images. Permuting keys and values
    together would change nothing. Holds for memories that are made within; read them with their cache.
    """

    def deal(state: MemoryState) -> MemoryState:
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(state.value.shape[2], generator=generator).to(state.value.device)
        return MemoryState(state.key, state.value[:, :, order], state.position, state.ragged)

    with changed_memory(deal):
        yield


@contextmanager
def wrong_image() -> Iterator[None]:
    """Within, each sample of a batch reads the memory of the one before it: a control of the retrieval.

    The host itself sees the right images. A gain that survives this is capacity, not retrieval.

    Raises:
        UnsupportedInput: While it holds, when a batch has one sample, or samples of unequal memories.
    """

    def pass_on(state: MemoryState) -> MemoryState:
        if len(state.key) < 2 or state.ragged:
            raise UnsupportedInput("The wrong-image control needs a batch of two or more samples of equal images.")
        return MemoryState(state.key.roll(1, 0), state.value.roll(1, 0), state.position, state.ragged)

    with changed_memory(pass_on):
        yield
