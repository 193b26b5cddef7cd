import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.cross_plan import CrossPlan, Source, batch_plan, packed_plan
from models.errors import UnresolvedPrior
from models.predecessor import NO_PRIOR, GivenOrder, PromptOrder, priors_of_rows, use_priors

samples_of_images = st.lists(st.lists(st.integers(1, 9), max_size=4), max_size=5)


@given(samples_of_images)
def test_the_prior_is_the_image_before_in_the_same_sample(samples: list[list[int]]) -> None:
    priors = priors_of_rows(samples, [count for sample in samples for count in sample])

    expected, image = [], 0
    for sample in samples:
        for place in range(len(sample)):
            expected.append(image - 1 if place else NO_PRIOR)
            image += 1
    assert list(priors) == expected


@given(samples_of_images.filter(lambda samples: any(samples)))
def test_a_missing_or_extra_image_is_refused(samples: list[list[int]]) -> None:
    rows, tokens = samples, [count for sample in samples for count in sample]

    with pytest.raises(UnresolvedPrior):
        priors_of_rows(rows, tokens[:-1])
    with pytest.raises(UnresolvedPrior):
        priors_of_rows(rows, [*tokens, 1])


def test_images_of_two_samples_that_do_not_split_at_the_rows_are_refused() -> None:
    with pytest.raises(UnresolvedPrior, match="Row 0"):
        priors_of_rows([[4], [4]], [3, 5])


def test_a_given_index_must_point_backwards_and_cover_all_images() -> None:
    assert GivenOrder.of(torch.tensor([-1, 0, -1])).priors([1, 1, 1]) == (-1, 0, -1)
    for wrong in ([-1, 1], [-1, -2], [0, 0], [-1]):
        with pytest.raises(UnresolvedPrior):
            GivenOrder.of(wrong).priors([1, 1])


def test_without_a_prompt_only_a_single_image_is_clear() -> None:
    assert PromptOrder(None, 60).priors([4]) == (NO_PRIOR,)
    with pytest.raises(UnresolvedPrior, match="prior_index"):
        PromptOrder(None, 60).priors([4, 4])


def test_several_frames_are_refused() -> None:
    with use_priors([-1]), pytest.raises(UnresolvedPrior, match="video"):
        packed_plan(torch.tensor([[2, 4, 4]]), 2)


def test_outside_of_any_order_nothing_is_guessed() -> None:
    with pytest.raises(UnresolvedPrior, match="use_priors"):
        packed_plan(torch.tensor([[1, 4, 4]]), 2)


def test_keys_and_values_are_computed_once_for_each_source() -> None:
    plan = CrossPlan([NO_PRIOR, 0, 0, NO_PRIOR], [4, 4, 4, 6])

    with torch.no_grad():
        assert plan.reading().rows == [0, 0, 0, 1]
        assert plan.reading().source_lengths == [4, 6]
    # With gradients the first image's own reading is live, that of its successors stopped: two sources.
    assert plan.reading().rows == [0, 1, 1, 2]
    assert plan.reading().source_lengths == [4, 4, 6]
    assert plan.reading(stopped=False).rows == [0, 0, 0, 1]
    assert plan.reading(itself=True).rows == [0, 1, 2, 3]
    assert plan.reading(null=True, stopped=False).sources[0] == Source(NO_PRIOR, live=True)
    assert plan.reading(null=True, stopped=False).source_lengths == [1, 4]


def test_an_image_of_several_tiles_is_refused() -> None:
    ids = torch.tensor([[1, 60, 60, 60, 60, 2, 60, 60, 3]])

    assert PromptOrder(ids, 60).priors([4, 2]) == (NO_PRIOR, 0)
    with pytest.raises(UnresolvedPrior, match="each as one tile"):
        PromptOrder(ids, 60).priors([2, 2, 2])
    with use_priors([-1, 0]), pytest.raises(UnresolvedPrior, match="2 entries for 3"):
        batch_plan(3, 4)
