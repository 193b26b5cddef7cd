"""Which image is whose prior?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

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
        found = (self.input_ids == self.image_token).cpu()
        # A run of placeholders ends where the next position is none.
        ends = found & ~torch.nn.functional.pad(found[:, 1:], (0, 1))
        totals = found.cumsum(-1)
        rows = [row[at].diff(prepend=row.new_zeros(1)).tolist() for row, at in zip(totals, ends, strict=True)]
        return priors_of_rows(rows, tokens)


def priors_of_rows(placeholders: Sequence[Sequence[int]], tokens: Sequence[int]) -> tuple[int, ...]:
    """Each image's prior, when images fill the samples' runs of placeholders one after the other.

    Args:
        placeholders: Lengths of the runs of placeholder tokens in each sample; a run is one image.
        tokens: Number of tokens of each image, in conversation order over all samples.

    Raises:
        UnresolvedPrior: The images do not fill the runs exactly.
    """
    priors: list[int] = []
    for row, runs in enumerate(placeholders):
        first = len(priors)
        for run in runs:
            image = len(priors)
            if image == len(tokens):
                raise UnresolvedPrior(
                    f"Row {row} has placeholders for more than the {len(tokens)} images that are given; give all "
                    "images of a sample together, or an explicit prior_index."
                )
            if tokens[image] != run:
                raise UnresolvedPrior(
                    f"Row {row} has a run of {run} image placeholders, but the next image has {tokens[image]} tokens; "
                    "give all images of a sample together and in conversation order, each as one tile, or an explicit "
                    "prior_index."
                )
            priors.append(NO_PRIOR if image == first else image - 1)
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
