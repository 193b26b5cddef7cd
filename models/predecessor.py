"""Which image is whose prior?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from models.errors import UnresolvedPrior

#: Stands in a prior index for an image that has no prior.
NO_PRIOR = -1


class ImageOrder(Protocol):
    """Something that tells each image's prior, once the images' token counts are known."""

    def priors(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """For each image the index of its prior, or `NO_PRIOR`; `tokens` are the images' token counts."""
        ...


@dataclass(frozen=True)
class GivenOrder:
    """The caller named each image's prior."""

    prior_index: tuple[int, ...]

    @classmethod
    def of(cls, prior_index: Tensor | Sequence[int]) -> GivenOrder:
        """From a tensor or sequence with one entry per image: the prior's index, or -1 for none."""
        values = prior_index.tolist() if isinstance(prior_index, Tensor) else prior_index
        return cls(tuple(int(value) for value in values))

    def priors(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """The given index, after a check of its length and that no image reads itself or a later one."""
        if len(self.prior_index) != len(tokens):
            raise UnresolvedPrior(
                f"prior_index has {len(self.prior_index)} entries for {len(tokens)} images; give one for each image."
            )
        for image, prior in enumerate(self.prior_index):
            if not NO_PRIOR <= prior < image:
                raise UnresolvedPrior(
                    f"prior_index[{image}] is {prior}; a prior comes before its image, and -1 stands for none."
                )
        return self.prior_index


@dataclass(frozen=True)
class PromptOrder:
    """Each row of the prompt is one sample, and the image before in the row is the prior.

    Attributes:
        input_ids: (B, S), or None when only embeddings are known.
        image_token: Id of the placeholder, one for each visual token.
    """

    input_ids: Tensor | None
    image_token: int

    def priors(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """Priors by walking over the rows; placeholders and token counts must match exactly."""
        if self.input_ids is None:
            if len(tokens) == 1:
                return (NO_PRIOR,)
            raise UnresolvedPrior()
        rows = (self.input_ids == self.image_token).sum(-1).tolist()
        return priors_of_rows(rows, tokens)


def priors_of_rows(placeholders: Sequence[int], tokens: Sequence[int]) -> tuple[int, ...]:
    """Each image's prior, when images fill the samples' placeholders one after the other.

    Args:
        placeholders: Number of placeholder tokens of each sample.
        tokens: Number of tokens of each image, in conversation order over all samples.

    Raises:
        UnresolvedPrior: The images do not fill the samples exactly.
    """
    priors: list[int] = []
    for row, wanted in enumerate(placeholders):
        first, filled = len(priors), 0
        while filled < wanted and len(priors) < len(tokens):
            image = len(priors)
            filled += tokens[image]
            priors.append(NO_PRIOR if image == first else image - 1)
        if filled != wanted:
            raise UnresolvedPrior(
                f"Row {row} has {wanted} image placeholders, but the next images fill {filled}; give all images of a "
                "sample together and in conversation order, or an explicit prior_index."
            )
    if len(priors) != len(tokens):
        raise UnresolvedPrior(
            f"{len(tokens)} images are given, but the prompts have placeholders for {len(priors)} only; give all "
            "images of a sample together, or an explicit prior_index."
        )
    return tuple(priors)


_current: ContextVar[ImageOrder | None] = ContextVar("interval_image_order", default=None)


def current_order() -> ImageOrder | None:
    """The order that holds for tower calls at this point of the program, or None outside of any."""
    return _current.get()


@contextmanager
def image_order(order: ImageOrder | None) -> Iterator[None]:
    """Makes `order` hold for all tower calls within."""
    token = _current.set(order)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def use_priors(prior_index: Tensor | Sequence[int]) -> Iterator[None]:
    """Makes an explicit prior index hold for all calls of the host within, `get_image_features` included.

    Args:
        prior_index: One entry per image: the index of its prior, or -1 for none.
    """
    with image_order(GivenOrder.of(prior_index)):
        yield


class CrossPlan:
    """Which keys and values each image of one tower call reads; made once a call and handed to every block.

    A source is an image whose keys and values are needed, either detached, because another image reads it as its
    prior, or live, because it has no prior and reads itself. Without gradients the two are the same and shared.

    Attributes:
        lengths: Tokens of each image in the tower, before merging.
        priors: Each image's prior, or `NO_PRIOR`.
        even: Whether all images have the same number of tokens.
    """

    def __init__(self, lengths: Sequence[int], priors: Sequence[int]) -> None:
        self.lengths = list(lengths)
        self.priors = tuple(priors)
        self.even = len(set(self.lengths)) <= 1
        self._rotary: dict[bool, tuple[Tensor, Tensor]] = {}
        self._sources = {grad: self._collect(grad) for grad in (False, True)}

    def _collect(self, grad: bool) -> tuple[list[tuple[int, bool]], list[int]]:
        rows: dict[tuple[int, bool], int] = {}
        reads: list[int] = []
        for image, prior in enumerate(self.priors):
            source = (image, grad) if prior == NO_PRIOR else (prior, False)
            reads.append(rows.setdefault(source, len(rows)))
        return list(rows), reads

    def reads(self, grad: bool) -> list[int]:
        """For each image the row of its source among `sources`."""
        return self._sources[grad][1]

    def source_lengths(self, grad: bool) -> list[int]:
        """Tokens of each source."""
        return [self.lengths[image] for image, _ in self._sources[grad][0]]

    def sources(self, hidden: Tensor, grad: bool) -> Tensor:
        """Tokens (N, E) of all sources, one after the other; those read as a prior carry no gradient."""
        live = torch.split(hidden, self.lengths)
        stopped = torch.split(hidden.detach(), self.lengths)
        return torch.cat([(live if is_live else stopped)[image] for image, is_live in self._sources[grad][0]])

    def rotary(self, rotary: tuple[Tensor, Tensor], grad: bool) -> tuple[Tensor, Tensor]:
        """Cosines and sines of the sources' own coordinates; the same for all blocks, so gathered once."""
        if grad not in self._rotary:
            order = [image for image, _ in self._sources[grad][0]]
            cos, sin = (torch.split(part, self.lengths) for part in rotary)
            self._rotary[grad] = torch.cat([cos[i] for i in order]), torch.cat([sin[i] for i in order])
        return self._rotary[grad]


def plan_of(grid_thw: Any, merge_size: int) -> CrossPlan:
    """The plan of a tower call, by the order that holds at this point.

    Args:
        grid_thw: (T, 3), frames, rows and columns of patches of each image.
        merge_size: Side of the square of patches that become one token.

    Raises:
        UnresolvedPrior: No order holds, or it does not fit the images.
    """
    order = current_order()
    if order is None:
        raise UnresolvedPrior(
            "The vision tower was called outside of the model's forward or generate, so no image's prior is known; "
            "call it within `models.predecessor.use_priors(prior_index)`."
        )
    grid = grid_thw.tolist() if isinstance(grid_thw, Tensor) else [list(row) for row in grid_thw]
    if any(frames != 1 for frames, _, _ in grid):
        raise UnresolvedPrior("An image of several frames is a video, which has no prior; give still images.")
    lengths = [rows * columns for _, rows, columns in grid]
    return CrossPlan(lengths, order.priors([length // merge_size**2 for length in lengths]))
