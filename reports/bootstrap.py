"""How sure is a score, given that one subject gives many pairs?"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 1000
#: Below this support a score has no interval: resampling a handful of labels gives a far too narrow one.
FEW = 5
#: Resamples drawn at once; keeps memory flat in the number of resamples.
_CHUNK = 100


@dataclass(frozen=True)
class Interval:
    """A percentile bootstrap interval.

    Attributes:
        low: Lower end.
        high: Upper end.
        level: Nominal coverage.
        resamples: Resamples in which the score was defined; the others are left out.
        subjects: Number of clusters that were resampled.
    """

    low: float
    high: float
    level: float
    resamples: int
    subjects: int


def f1_intervals(
    counts: "NDArray[np.int64]",
    subjects: Sequence[Hashable],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> list[Interval | None]:
    """Intervals of F1 for each of K groups of labels, by resampling whole subjects.

    Args:
        counts: (pairs, K, 3) true positives, false positives, false negatives.
        subjects: The subject of each pair.
        seed: Equal seeds give equal intervals.
        resamples: Number of resamples.
        level: Coverage between 0 and 1.

    Returns:
        One interval a group; None for all where there are fewer than two subjects, and for a group whose support (true
        positives and false negatives) is below `FEW`.

    Raises:
        ValueError: Shapes do not fit.

    Source: cluster bootstrap, Field and Welsh 2007, J. R. Statist. Soc. B 69, 369-390.
    """
    import numpy as np

    if counts.ndim != 3 or counts.shape[0] != len(subjects) or counts.shape[2] != 3:
        raise ValueError(f"counts {counts.shape} do not fit {len(subjects)} pairs; expected (pairs, K, 3).")
    groups = counts.shape[1]
    summed = sums_of_subjects(counts.reshape(len(subjects), groups * 3), subjects)
    if len(summed) < 2 or not groups:
        return [None] * groups

    draws = resampled_sums(summed, seed=seed, resamples=resamples).reshape(resamples, groups, 3)
    doubled = 2 * draws[:, :, 0]
    whole = doubled + draws[:, :, 1] + draws[:, :, 2]
    with np.errstate(invalid="ignore"):
        scores = doubled / whole
    return [
        percentile_interval(scores[:, group], len(summed), level=level) if enough else None
        for group, enough in enumerate(counts[:, :, [0, 2]].sum((0, 2)) >= FEW)
    ]


def sums_of_subjects(columns: "NDArray[Any]", subjects: Sequence[Hashable]) -> "NDArray[np.float64]":
    """(subjects, C) sums of the (pairs, C) columns, subjects in the order of their first pair."""
    import numpy as np

    numbers: dict[Hashable, int] = {}
    cluster = np.array([numbers.setdefault(subject, len(numbers)) for subject in subjects], dtype=np.int64)
    summed = np.zeros((len(numbers), columns.shape[1]))
    np.add.at(summed, cluster, columns)
    return summed


def resampled_sums(summed: "NDArray[np.float64]", *, seed: int, resamples: int) -> "NDArray[np.float64]":
    """(resamples, C) sums over resampled subjects; `summed` is (subjects, C)."""
    import numpy as np

    random = np.random.default_rng(seed)
    clusters = len(summed)
    parts = []
    for start in range(0, resamples, _CHUNK):
        rows = min(_CHUNK, resamples - start)
        drawn = random.integers(clusters, size=(rows, clusters)) + clusters * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters)
        parts.append(weights.astype(np.float64) @ summed)
    return np.concatenate(parts)


def percentile_interval(scores: "NDArray[np.float64]", subjects: int, *, level: float = 0.95) -> Interval | None:
    """The middle `level` of (resamples,) scores; NaN among them is left out, and None is returned if all are NaN."""
    import numpy as np

    defined = scores[~np.isnan(scores)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), high=float(high), level=level, resamples=len(defined), subjects=subjects)
