"""Which samples a step takes and how they are dealt: laws of both."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.budget import BatchTooSmall, micro_batches, samples_of_step

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=40)


@given(LENGTHS, st.integers(1, 8), st.one_of(st.none(), st.integers(50, 400)), st.integers(1, 4))
def test_each_sample_is_dealt_once_within_the_budget_and_processes_have_equally_many(lengths, samples, tokens, ranks):
    if len(lengths) < ranks:
        with pytest.raises(BatchTooSmall, match="raise `batch`"):
            micro_batches(lengths, samples=samples, tokens=tokens, ranks=ranks)
        return
    dealt = micro_batches(lengths, samples=samples, tokens=tokens, ranks=ranks)

    assert sorted(one for rank in dealt for batch in rank for one in batch) == list(range(len(lengths)))
    assert len({len(rank) for rank in dealt}) == 1
    sizes = [len(batch) for rank in dealt for batch in rank]
    # one is empty only where all others could not be cut further, and never the first of a process
    assert min(sizes) > 0 or max(sizes) == 1
    assert all(rank[0] for rank in dealt)
    for batch in (batch for rank in dealt for batch in rank if batch):
        assert len(batch) <= samples
        assert tokens is None or len(batch) * max(lengths[one] for one in batch) <= tokens


@given(st.integers(1, 30), st.integers(1, 20), st.integers(0, 5))
def test_each_pass_takes_each_sample_once_and_a_step_is_a_function_of_its_number(size, batch, seed):
    steps = [samples_of_step(step, batch=batch, size=size, seed=seed) for step in range(size * 2 + 4)]
    taken = [one for step in steps for one in step]

    for passes in range(taken[-1][0]):
        assert sorted(index for number, index in taken if number == passes) == list(range(size))
    assert samples_of_step(3, batch=batch, size=size, seed=seed) == taken[3 * batch : 4 * batch]


def test_passes_and_seeds_have_orders_of_their_own():
    first, second = (samples_of_step(step, batch=50, size=50, seed=1) for step in (0, 1))
    other = samples_of_step(0, batch=50, size=50, seed=2)

    assert len({tuple(index for _, index in one) for one in (first, second, other)}) == 3
