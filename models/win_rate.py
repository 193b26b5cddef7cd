"""On which examples does one model beat another that was trained beside it?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DecidedExamples:
    """Examples on which two models score differently.

    Attributes:
        wins: Examples that the first model wins.
        losses: Examples that the second model wins.
    """

    wins: int
    losses: int

    @property
    def rate(self) -> float:
        """Share of the decided examples that the first model wins, 0 to 1; NaN when none is decided."""
        decided = self.wins + self.losses
        return self.wins / decided if decided else math.nan

    @property
    def p_value(self) -> float:
        """Probability of a split at least this uneven if both models were equal: two-sided exact binomial test."""
        decided = self.wins + self.losses
        tail = sum(math.comb(decided, count) for count in range(max(self.wins, self.losses), decided + 1))
        return min(1.0, float(2 * tail / 2**decided))


def decided_win_rate(scores: Sequence[float], control: Sequence[float]) -> DecidedExamples:
    """Counts the examples on which `scores` beat those of a `control`, and the other way round; ties are left out.

    Args:
        scores: One score for each example, higher is better; of a model with the stateful encoder, say.
        control: Scores of the other model on the same examples; of the same recipe with `self_ffn`, say.

    Raises:
        ValueError: The two have not the same length, or a score is not a number.

    Source: arXiv 2606.04433, section 4 (decided-example win rate).
    """
    pairs = list(zip(scores, control, strict=True))
    if any(math.isnan(value) for pair in pairs for value in pair):
        raise ValueError("A score is not a number; give one score for each example.")
    return DecidedExamples(wins=sum(ours > other for ours, other in pairs), losses=sum(o < c for o, c in pairs))
