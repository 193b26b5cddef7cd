"""What does each image of one tower call read, and where does that lie?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.errors import UnresolvedPrior
from models.predecessor import NO_PRIOR, current_order

Rotary = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Source:
    """One run of keys and values.

    Attributes:
        image: The image that they are made from, or `NO_PRIOR` for the learned null token; images encoded in an earlier
            call are counted on after those of this one.
        live: Whether gradients flow back into the image.
    """

    image: int
    live: bool


class Reading:
    """The keys and values that the images of one tower call need, each made once, and who reads which.

    Attributes:
        sources: What is projected, in this order.
        rows: For each image the source that it reads.
        lengths: Tokens of each image.
        source_lengths: Tokens of each source.
        even: Whether all images and all sources have the same number of tokens.
    """

    def __init__(self, lengths: Sequence[int], reads: Sequence[Source], outside: Sequence[int] = ()) -> None:
        order: dict[Source, int] = {}
        self.rows = [order.setdefault(source, len(order)) for source in reads]
        self.sources = list(order)
        self.lengths = list(lengths)
        known = [*lengths, *outside]
        self.source_lengths = [1 if s.image == NO_PRIOR else known[s.image] for s in self.sources]
        self.even = len({*self.lengths, *self.source_lengths}) <= 1
        self.in_order = self.rows == list(range(len(self.sources)))
        self._index: Tensor | None = None
        self._rotary: Rotary | None = None

    def tokens(self, hidden: Tensor, null: Tensor | None = None, outside: Sequence[Tensor] = ()) -> Tensor:
        """Tokens (M, E) of all sources one after the other, out of those of all images (N, E); a view where it can be.

        Args:
            hidden: (N, E).
            null: (E) the null token, when a source is made from it.
            outside: (n, E) of each image that was encoded in an earlier call.
        """
        images = [source.image for source in self.sources]
        alike = len({source.live for source in self.sources}) == 1
        if len(images) == 1 and images[0] >= len(self.lengths):
            return outside[images[0] - len(self.lengths)]
        if (
            alike
            and not outside
            and NO_PRIOR not in images
            and images == list(range(images[0], images[0] + len(images)))
        ):
            start = sum(self.lengths[: images[0]])
            tokens = hidden.narrow(0, start, sum(self.source_lengths))
            return tokens if self.sources[0].live else tokens.detach()
        live = (*torch.split(hidden, self.lengths), *outside)
        stopped = (*torch.split(hidden.detach(), self.lengths), *outside)
        parts = []
        for source in self.sources:
            if source.image == NO_PRIOR:
                assert null is not None
                parts.append(null[None].to(hidden.dtype))
            else:
                parts.append((live if source.live else stopped)[source.image])
        return torch.cat(parts)

    def rotary(self, rotary: Rotary, outside: Sequence[Rotary] = ()) -> Rotary:
        """Cosines and sines of the sources' own places; the same for all blocks, so gathered once."""
        if self._rotary is None:
            cos, sin = (
                (*torch.split(part, self.lengths), *(other[which] for other in outside))
                for which, part in enumerate(rotary)
            )
            # The null token has no place: it is not turned.
            one, zero = torch.ones_like(rotary[0][:1]), torch.zeros_like(rotary[1][:1])
            self._rotary = (
                torch.cat([one if s.image == NO_PRIOR else cos[s.image] for s in self.sources]),
                torch.cat([zero if s.image == NO_PRIOR else sin[s.image] for s in self.sources]),
            )
        return self._rotary

    def index(self, device: torch.device) -> Tensor:
        """`rows` on a device, brought there once."""
        if self._index is None:
            self._index = torch.tensor(self.rows, device=device)
        return self._index


@dataclass(frozen=True)
class Trace:
    """What an image was at the entrance of every block: all that later images can read of it.

    Attributes:
        inputs: (n, E) for each block, in order.
        rotary: Cosines and sines of its patches' places, (n, E / K) each, or None where the tokens hold them.
    """

    inputs: list[Tensor]
    rotary: Rotary | None = None


class CrossPlan:
    """Which image is whose prior in one tower call; made once a call and read by every block.

    Attributes:
        priors: Each image's prior, or `NO_PRIOR`.
        lengths: Tokens of each image in the tower, before merging; empty until the first block knows them, in towers
            that take a batch of images.
        outside: Images that were encoded in an earlier call; as priors they are counted on after those of this one.
        traces: What each image of this call is for later ones that will read it; None where nothing is kept.
        block: The block that runs now.
        modulation: Of that block, (T, 6, E); see models/modulation.py.
    """

    def __init__(
        self,
        priors: Sequence[int],
        lengths: Sequence[int] = (),
        *,
        outside: Sequence[Trace] = (),
        traces: list[Trace] | None = None,
    ) -> None:
        self.priors = tuple(priors)
        self.lengths = list(lengths)
        self.outside = list(outside)
        self.traces = traces
        self.block = 0
        self.modulation: Tensor | None = None
        self._readings: dict[tuple[bool, bool, bool], Reading] = {}
        self._images: Tensor | None = None

    @property
    def has_priors(self) -> bool:
        """Whether any image reads another."""
        return any(prior != NO_PRIOR for prior in self.priors)

    def has_prior(self, image: int) -> bool:
        """Whether an image reads another."""
        return self.priors[image] != NO_PRIOR

    def enter(self, block: int, hidden: Tensor, rotary: Rotary | None) -> None:
        """Notes which block runs now, and what it gets: packed (N, E), or a batch (T, tokens, E)."""
        self.block = block
        if not self.lengths:  # a packed tower's are known before
            self.lengths = [hidden.shape[1]] * len(self.priors)
        if self.traces is not None:
            if block == 0:
                self.traces += _empty_traces(self.lengths, rotary)
            parts = torch.split(hidden.detach().flatten(0, -2), self.lengths)
            for trace, tokens in zip(self.traces, parts, strict=True):
                # Of several images each gets storage of its own, or one that is kept would keep them all.
                trace.inputs.append(tokens if len(parts) == 1 else tokens.clone())

    def outside_tokens(self) -> list[Tensor]:
        """What the images of earlier calls were at the entrance of the block that runs now, (n, E) each."""
        return [trace.inputs[self.block] for trace in self.outside]

    def outside_rotary(self) -> list[Rotary]:
        """Cosines and sines of the images of earlier calls."""
        return [trace.rotary for trace in self.outside if trace.rotary is not None]

    def reading(self, *, itself: bool = False, null: bool = False, stopped: bool = True) -> Reading:
        """Who reads which keys and values.

        Without gradients, or without stopping any, an image's own reading and that of its successor share theirs.

        Args:
            itself: Whether every image reads itself, prior or not.
            null: Whether an image without a prior reads the null token, not itself.
            stopped: Whether gradients stop on the way into a prior.
        """
        stopped = stopped and torch.is_grad_enabled()
        key = (itself, null, stopped)
        if key not in self._readings:
            reads = []
            for image, prior in enumerate(self.priors):
                if prior != NO_PRIOR and not itself:
                    reads.append(Source(prior, live=not stopped))
                else:
                    reads.append(Source(NO_PRIOR if null and not itself else image, live=True))
            outside = [len(trace.inputs[0]) for trace in self.outside]
            self._readings[key] = Reading(self.lengths, reads, outside)
        return self._readings[key]

    def means(self, hidden: Tensor) -> Tensor:
        """Mean token of each image, out of all tokens (N, E); (T, E), and on for images of earlier calls."""
        parts = [*torch.split(hidden, self.lengths), *self.outside_tokens()]
        return torch.stack([part.mean(0) for part in parts])

    def spread(self, values: Tensor) -> Tensor:
        """One row for each token, (N, E), out of one for each image, (T, E)."""
        if self._images is None:
            images = [image for image, length in enumerate(self.lengths) for _ in range(length)]
            self._images = torch.tensor(images, device=values.device)
        return values.index_select(0, self._images)


def _empty_traces(lengths: Sequence[int], rotary: Rotary | None) -> list[Trace]:
    if rotary is None:
        return [Trace([]) for _ in lengths]
    cos, sin = (torch.split(part, list(lengths)) for part in rotary)
    return [Trace([], (c.clone(), s.clone())) for c, s in zip(cos, sin, strict=True)]


_current: ContextVar[CrossPlan | None] = ContextVar("interval_cross_plan", default=None)


def current_plan() -> CrossPlan:
    """The plan of the tower call that runs at this point.

    Raises:
        UnresolvedPrior: A block was called outside of its tower.
    """
    plan = _current.get()
    if plan is None:
        raise UnresolvedPrior(
            "A vision block was called outside of its tower's forward, so no image's prior is known; call the tower."
        )
    return plan


def holds(plan: CrossPlan) -> bool:
    """Whether `plan` is the current one."""
    return _current.get() is plan


@contextmanager
def cross_plan(plan: CrossPlan) -> Iterator[None]:
    """Makes `plan` hold for all blocks within."""
    token = _current.set(plan)
    try:
        yield
    finally:
        _current.reset(token)


def packed_plan(grid_thw: Any, merge_size: int) -> CrossPlan:
    """The plan of a tower call with packed images, by the order that holds at this point.

    Args:
        grid_thw: (T, 3), frames, rows and columns of patches of each image.
        merge_size: Side of the square of patches that become one token.

    Raises:
        UnresolvedPrior: No order holds, or it does not fit the images.
    """
    grid = grid_thw.tolist() if isinstance(grid_thw, Tensor) else [list(row) for row in grid_thw]
    if any(frames != 1 for frames, _, _ in grid):
        raise UnresolvedPrior("An image of several frames is a video, which has no prior; give still images.")
    lengths = [rows * columns for _, rows, columns in grid]
    return _plan([length // merge_size**2 for length in lengths], lengths)


def batch_plan(images: int, image_length: int) -> CrossPlan:
    """The plan of a tower call with a batch of images of one size, by the order that holds at this point.

    Args:
        images: Number of images.
        image_length: Tokens that each image becomes.

    Raises:
        UnresolvedPrior: No order holds, or it does not fit the images.
    """
    return _plan([image_length] * images, ())


@dataclass(frozen=True)
class TracedOrder:
    """An order for images that read what earlier calls made, and are traced for later ones.

    Attributes:
        outside: What each image reads, or None for none.
        traces: Gets what each image is, in the images' order.
    """

    outside: Sequence[Trace | None]
    traces: list[Trace]

    def priors(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """Each image's prior: those of earlier calls are counted on after the images of this one."""
        if len(tokens) != len(self.outside):
            raise UnresolvedPrior(
                f"{len(tokens)} images were given where {len(self.outside)} belong; give them one at a time."
            )
        places = iter(range(len(tokens), 2 * len(tokens)))
        return tuple(NO_PRIOR if prior is None else next(places) for prior in self.outside)


def _plan(tokens: Sequence[int], lengths: Sequence[int]) -> CrossPlan:
    order = current_order()
    if order is None:
        raise UnresolvedPrior(
            "The vision tower was called outside of the model's forward or generate, so no image's prior is known; "
            "call it within `models.predecessor.use_priors(prior_index)`."
        )
    if isinstance(order, TracedOrder):
        outside = [trace for trace in order.outside if trace is not None]
        return CrossPlan(order.priors(tokens), lengths, outside=outside, traces=order.traces)
    return CrossPlan(order.priors(tokens), lengths)
