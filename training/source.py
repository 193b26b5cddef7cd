"""Where does a step's batch of labelled pairs come from?"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from training.batch import PairSample
from training.readers.sample import Sample


class Source(Protocol):
    """Pairs with answers, by number: those of a data set, or generated ones."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def messages(self, index: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The dialogue of a pair without and with its answer; no image is loaded for it."""
        ...

    def load(self, index: int, rng: np.random.Generator) -> PairSample:
        """The pair with its images; what is random in it comes from `rng`."""
        ...


@dataclass(frozen=True)
class LabelledPairs:
    """The pairs of a data set, each as often as it has answers.

    Attributes:
        pairs: Sample and answer.
        image_size: Side of the model's images.
        augment: Whether images are changed at random.
    """

    pairs: Sequence[tuple[Sample, str]]
    image_size: int
    augment: bool = False

    def __len__(self) -> int:
        """How many there are."""
        return len(self.pairs)

    def messages(self, index: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The dialogue of a pair without and with its answer."""
        from training.prompt import pair_messages

        sample, answer = self.pairs[index]
        asked, answered = (
            pair_messages(sample.domain, one, wording=sample.wording, question=sample.question)
            for one in (None, answer)
        )
        return asked, answered

    def load(self, index: int, rng: np.random.Generator) -> PairSample:
        """The pair with its images, changed at random if asked for."""
        sample, answer = self.pairs[index]
        pair = sample.pair_sample(self.image_size, answer=answer)
        if not self.augment:
            return pair
        from training.augment import augmented

        return augmented(pair, rng)


def with_answers(samples: Sequence[Sample]) -> list[tuple[Sample, str]]:
    """Each sample with each of its answers."""
    return [(sample, answer) for sample in samples for answer in sample.answers]


class Loader:
    """Loads pairs in threads; those of the next step while this one is computed.

    Args:
        source: Where they come from.
        seed: With the pass over the data and the number of the pair it decides what is random in it.
        workers: Threads.
    """

    def __init__(self, source: Source, *, seed: int, workers: int) -> None:
        self._source = source
        self._seed = seed
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="pairs")
        self._ahead: dict[tuple[int, int], Future[PairSample]] = {}

    def load(self, taken: Sequence[tuple[int, int]], following: Sequence[tuple[int, int]] = ()) -> list[PairSample]:
        """The pairs (pass, index), in this order; `following` ones are begun."""
        now = [self._begun(one) for one in taken]
        self._ahead = {one: self._begun(one) for one in following}
        return [one.result() for one in now]

    def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown(cancel_futures=True)

    def _begun(self, one: tuple[int, int]) -> Future[PairSample]:
        if one in self._ahead:
            return self._ahead[one]
        passes, index = one
        rng = np.random.default_rng([self._seed, passes, index])
        return self._threads.submit(self._source.load, index, rng)
