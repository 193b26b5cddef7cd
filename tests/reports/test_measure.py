import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reports.measure import compare, estimate
from reports.sign_test import sign_test


def share(sums):
    return np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0)


MEASURES = {"share": share}


@pytest.mark.parametrize(
    ("better", "worse", "tied", "p"),
    # arXiv 2606.04433, table 7: against the reference, and against the stateless model
    [(346, 296, 758, 0.053), (209, 171, 1020, 0.058), (0, 0, 5, 1.0), (5, 0, 0, 0.0625)],
)
def test_the_sign_test_gives_what_was_computed_for_published_counts(better, worse, tied, p):
    assert sign_test(better, worse, tied).p == pytest.approx(p, abs=5e-4)


def test_an_interval_covers_the_value_and_widens_with_fewer_subjects():
    columns = np.stack([np.random.default_rng(3).integers(0, 2, 400), np.ones(400)], axis=1).astype(float)
    alone = estimate(columns, range(400), MEASURES)["share"]
    grouped = estimate(columns, [number // 20 for number in range(400)], MEASURES)["share"]

    assert alone.interval.low < alone.value < alone.interval.high
    assert alone.value == grouped.value == columns[:, 0].mean()
    assert (alone.interval.subjects, grouped.interval.subjects) == (400, 20)


def test_pairs_of_one_subject_are_no_independent_evidence():
    answers = np.repeat(np.arange(20) % 2, 20)
    columns = np.stack([answers, np.ones(400)], axis=1).astype(float)
    alone = estimate(columns, range(400), MEASURES)["share"].interval
    grouped = estimate(columns, np.arange(400) // 20, MEASURES)["share"].interval

    assert grouped.high - grouped.low > 3 * (alone.high - alone.low)


def test_nothing_to_divide_by_is_no_figure_and_few_subjects_no_interval():
    nothing = estimate(np.zeros((9, 2)), range(9), MEASURES)["share"]
    few = estimate(np.ones((9, 2)), [0, 0, 0, 1, 1, 1, 2, 2, 2], MEASURES)["share"]

    assert (nothing.value, nothing.interval) == (None, None)
    assert (few.value, few.interval) == (1.0, None)


def test_a_run_against_itself_differs_in_nothing():
    columns = np.random.default_rng(1).random((30, 2))
    found = compare(columns, columns, range(30), MEASURES)["share"]

    assert (found.difference, found.interval.low, found.interval.high) == (0, 0, 0)
    assert (found.signs.better, found.signs.worse, found.signs.tied, found.signs.p) == (0, 0, 30, 1.0)


def test_one_sign_is_taken_a_subject():
    better = np.array([[1, 1]] * 12, dtype=float)
    worse = np.array([[0, 1]] * 12, dtype=float)
    found = compare(better, worse, [number // 2 for number in range(12)], MEASURES)["share"]

    assert (found.difference, found.signs.better, found.signs.worse) == (1.0, 6, 0)
    assert found.signs.p == pytest.approx(2 / 2**6)


@given(arrays(float, (12, 4), elements=st.integers(0, 5)))
def test_swapping_two_runs_turns_every_sign(columns):
    subjects = [number // 2 for number in range(12)]
    first = compare(columns[:, :2], columns[:, 2:], subjects, MEASURES, resamples=20)["share"]
    second = compare(columns[:, 2:], columns[:, :2], subjects, MEASURES, resamples=20)["share"]

    assert (first.signs.better, first.signs.worse) == (second.signs.worse, second.signs.better)
    assert first.signs.p == second.signs.p
