import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from models.win_rate import DecidedExamples, decided_win_rate


def test_the_papers_numbers_come_out() -> None:
    # arXiv 2606.04433, section 4: 119 decided pairs of CLEVR, 66.4 % won; the p value is that of specs/sve.md 1.14.
    found = DecidedExamples(wins=79, losses=40)

    assert round(100 * found.rate, 1) == 66.4
    assert found.p_value == pytest.approx(0.0004, abs=0.00005)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_it_is_the_binomial_test_on_what_is_no_tie(pairs: list[tuple[int, int]]) -> None:
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]

    found, mirrored = decided_win_rate(ours, theirs), decided_win_rate(theirs, ours)

    assert (found.wins, found.losses) == (mirrored.losses, mirrored.wins)
    decided = sum(a != b for a, b in pairs)
    assert found.wins + found.losses == decided
    if decided:
        assert found.p_value == pytest.approx(binomtest(found.wins, decided).pvalue)
        assert found.rate + mirrored.rate == pytest.approx(1)
    else:
        assert math.isnan(found.rate)


def test_scores_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match=r"zip\(\) argument 2"):
        decided_win_rate([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="not a number"):
        decided_win_rate([math.nan], [1.0])
