"""How large is a figure that is made of sums over pairs, how sure is it, and does it differ between two runs?

A measure is a function of summed columns, so that one function gives the figure of all pairs, of a resample, and of one
subject.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.bootstrap import FEW, RESAMPLES, Interval, percentile_interval, resampled_sums, sums_of_subjects
from reports.sign_test import SignTest, sign_test

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: From summed columns (R, C) to (R,); NaN where it is undefined.
Statistic = Callable[["NDArray[np.float64]"], "NDArray[np.float64]"]


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        value: None where it is undefined.
        interval: None where it is undefined, or there are fewer than `FEW` subjects.
    """

    value: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Comparison:
    """One run against another on the same pairs.

    Attributes:
        difference: First run less second; None where undefined.
        interval: Of the difference, over the same resamples for both.
        signs: On how many subjects the first run is better.
    """

    difference: float | None
    interval: Interval | None
    signs: SignTest


def estimate(
    columns: "NDArray[np.float64]",
    subjects: Sequence[Hashable],
    measures: Mapping[str, Statistic],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Estimate]:
    """Each measure over all pairs, with an interval from resampling whole subjects.

    Args:
        columns: (pairs, C).
        subjects: The subject of each pair.
        measures: By name.
        seed: Equal seeds give equal intervals.
        resamples: Number of resamples.
    """
    summed = sums_of_subjects(columns, subjects)
    draws = _draws(summed, seed, resamples)
    whole = columns.sum(axis=0, keepdims=True)
    found = {}
    for name, statistic in measures.items():
        value = float(statistic(whole)[0])
        is_defined = value == value
        interval = percentile_interval(statistic(draws), len(summed)) if draws is not None and is_defined else None
        found[name] = Estimate(value if is_defined else None, interval)
    return found


def compare(
    columns: "NDArray[np.float64]",
    others: "NDArray[np.float64]",
    subjects: Sequence[Hashable],
    measures: Mapping[str, Statistic],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Comparison]:
    """Each measure of one run against another run on the same pairs.

    The sign test takes one sign a subject, the measure of all its pairs in one run against the other: pairs of one
    subject are not independent.
    """
    import numpy as np

    n_columns = columns.shape[1]
    summed = sums_of_subjects(np.concatenate([columns, others], axis=1), subjects)
    draws = _draws(summed, seed, resamples)
    found = {}
    for name, statistic in measures.items():

        def gap(sums: "NDArray[np.float64]", statistic: Statistic = statistic) -> "NDArray[np.float64]":
            return statistic(sums[:, :n_columns]) - statistic(sums[:, n_columns:])

        value = float(gap(summed.sum(axis=0, keepdims=True))[0])
        is_defined = value == value
        gaps = gap(summed)
        # sums of the same numbers in another order differ in the last digits
        signs = np.where(np.abs(gaps) < 1e-9, 0, np.sign(gaps))
        found[name] = Comparison(
            difference=value if is_defined else None,
            interval=percentile_interval(gap(draws), len(summed)) if draws is not None and is_defined else None,
            signs=sign_test(int((signs > 0).sum()), int((signs < 0).sum()), int((signs == 0).sum())),
        )
    return found


def _draws(summed: "NDArray[np.float64]", seed: int, resamples: int) -> "NDArray[np.float64] | None":
    return resampled_sums(summed, seed=seed, resamples=resamples) if len(summed) >= FEW else None
