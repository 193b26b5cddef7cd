import numpy as np
import pytest

from reports.bootstrap import FEW, f1_intervals


def rows(n: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, size=(n, 2, 3))


def test_equal_seeds_give_equal_intervals_and_other_seeds_do_not() -> None:
    counts, subjects = rows(60), [number // 3 for number in range(60)]

    first = f1_intervals(counts, subjects, seed=1)

    assert first == f1_intervals(counts, subjects, seed=1)
    assert first != f1_intervals(counts, subjects, seed=2)


def test_the_interval_agrees_with_a_plain_loop_over_subjects() -> None:
    counts, subjects = rows(40), [f"s{number % 13}" for number in range(40)]
    random = np.random.default_rng(11)
    names = sorted(set(subjects))
    values = []
    for _ in range(4000):
        drawn = random.choice(names, size=len(names))
        taken = sum(counts[[row for row, name in enumerate(subjects) if name == one]].sum(0) for one in drawn)
        tp, fp, fn = taken[0]
        values.append(2 * tp / (2 * tp + fp + fn))

    interval = f1_intervals(counts, subjects, resamples=4000)[0]

    assert interval is not None
    # two independent draws of 4,000: the quantiles' own error is about 0.003 here
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=0.012)


def test_pairs_of_one_subject_widen_the_interval() -> None:
    counts = np.zeros((200, 1, 3), dtype=int)
    counts[:100, 0, 0] = 1
    counts[100:, 0, 1] = 1
    alone = f1_intervals(counts, list(range(200)))[0]
    together = f1_intervals(counts, [number // 20 for number in range(200)])[0]

    assert alone is not None
    assert together is not None
    assert together.high - together.low > 2 * (alone.high - alone.low)
    assert (alone.subjects, together.subjects) == (200, 10)


def test_the_interval_holds_the_estimate() -> None:
    counts = rows(90)
    tp, fp, fn = counts[:, 0].sum(0)

    interval = f1_intervals(counts, list(range(90)))[0]

    assert interval is not None
    assert interval.low < 2 * tp / (2 * tp + fp + fn) < interval.high


def test_what_cannot_be_resampled_has_no_interval() -> None:
    counts = rows(4)

    assert f1_intervals(counts, ["a"] * 4) == [None, None]
    assert f1_intervals(counts[:0], []) == [None, None]
    assert f1_intervals(np.zeros((4, 1, 3), dtype=int), list("abcd")) == [None]


def test_resamples_without_a_label_are_left_out_and_counted() -> None:
    counts = np.zeros((3, 1, 3), dtype=int)
    counts[0, 0] = (FEW, 0, 0)

    interval = f1_intervals(counts, list("abc"), resamples=500)[0]

    assert interval is not None
    assert (interval.low, interval.high) == (1.0, 1.0)
    assert 250 < interval.resamples < 450  # (2/3)^3 = 30 % of the resamples lack subject a


def test_too_little_support_gives_no_interval() -> None:
    counts = np.zeros((FEW, 2, 3), dtype=int)
    counts[:, 0, 0] = 1
    counts[1:, 1, 2] = 1
    counts[:, 1, 1] = 1

    enough, few = f1_intervals(counts, list(range(FEW)))

    assert enough is not None
    assert few is None


def test_counts_that_do_not_fit_the_subjects_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit 3 pairs"):
        f1_intervals(rows(4), list("abc"))
