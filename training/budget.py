"""How are the samples of a step dealt to processes and micro-batches, and which samples does a step take?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from training.errors import TrainingError


class BatchTooSmall(TrainingError, ValueError):
    """A step has fewer samples than processes; raise `batch` or start fewer processes."""


def samples_of_step(step: int, *, batch: int, size: int, seed: int) -> list[tuple[int, int]]:
    """(pass, index) of the samples of a step, counted from 0; each pass over the data has an order of its own.

    The order depends on these numbers alone, so a run that goes on takes the samples that it would have taken.
    """
    taken = (divmod(number, size) for number in range(step * batch, (step + 1) * batch))
    return [(passes, _order(size, seed, passes)[place]) for passes, place in taken]


@lru_cache(maxsize=2)
def _order(size: int, seed: int, passes: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng([seed, passes]).permutation(size).tolist())


def micro_batches(
    lengths: Sequence[int], *, samples: int, tokens: int | None, ranks: int
) -> list[list[tuple[int, ...]]]:
    """Positions of the samples of each micro-batch of each process, long ones with long ones.

    Every process gets equally many micro-batches, since all of them must take part in each exchange of gradients. Where
    that is not possible, the last micro-batch of some is empty: they take part with nothing of their own.

    Args:
        lengths: Tokens of each sample.
        samples: Most samples of a micro-batch.
        tokens: Most tokens of one, padding included; None for no limit.
        ranks: Number of processes.

    Raises:
        BatchTooSmall: There are fewer samples than processes.
    """
    if len(lengths) < ranks:
        raise BatchTooSmall(f"A step has {len(lengths)} samples for {ranks} processes; raise `batch`.")
    found: list[list[int]] = []
    for position in sorted(range(len(lengths)), key=lambda one: (-lengths[one], one)):
        longest = lengths[found[-1][0]] if found else 0
        is_full = not found or len(found[-1]) == samples
        if is_full or (tokens is not None and longest * (len(found[-1]) + 1) > tokens):
            found.append([])
        found[-1].append(position)
    while len(found) % ranks:
        largest = max(range(len(found)), key=lambda one: len(found[one]))
        whole = found[largest]
        if len(whole) == 1:
            found.append([])
            continue
        found[largest : largest + 1] = [whole[: len(whole) // 2], whole[len(whole) // 2 :]]
    return [[tuple(one) for one in found[rank::ranks]] for rank in range(ranks)]
