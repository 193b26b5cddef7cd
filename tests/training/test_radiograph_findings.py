from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.change import MIRRORED, PROGRESSION, Change
from training.phantoms.radiograph import draw_case
from training.phantoms.radiograph_findings import (
    DRAWN,
    GRADES,
    LesionState,
    UnknownLesion,
    conflict,
    draw_pair,
    evolve,
    findings_between,
)

SEEDS = st.integers(0, 2**32)


def _lesion(grade, finding="edema", place="bilateral"):
    return (LesionState(finding=finding, place=place, grade=grade, seed=1),)


@pytest.mark.parametrize(
    ("prior", "current", "change"),
    [
        ((), _lesion(1), Change.NEW),
        (_lesion(1), (), Change.RESOLVED),
        (_lesion(1), _lesion(2), Change.WORSE),
        (_lesion(3), _lesion(2), Change.IMPROVED),
        (_lesion(2), _lesion(2), Change.STABLE),
    ],
)
def test_grades_tell_the_change(prior, current, change):
    (finding,) = findings_between(prior, current)
    assert (finding.finding, finding.place, finding.change) == ("edema", "bilateral", change)


@given(SEEDS)
def test_swapping_prior_and_current_mirrors_every_change(seed):
    prior, current = draw_pair(np.random.default_rng(seed))
    forth, back = findings_between(prior, current), findings_between(current, prior)
    assert [MIRRORED[finding.change] for finding in forth] == [finding.change for finding in back]
    assert {lesion.key for lesion in (*prior, *current)} == {(item.finding, item.place) for item in forth}


@given(SEEDS)
def test_lesions_of_one_image_never_conflict(seed):
    rng = np.random.default_rng(seed)
    prior, lesions = draw_pair(rng)
    for image in (prior, lesions, evolve(rng, lesions), evolve(rng, evolve(rng, lesions))):
        assert len(image) <= 4
        assert not any(conflict(one, other) for one, other in combinations(image, 2))


@given(SEEDS)
def test_a_lesion_of_both_images_keeps_its_seed(seed):
    rng = np.random.default_rng(seed)
    _, lesions = draw_pair(rng)
    later = {lesion.key: lesion.seed for lesion in evolve(rng, lesions)}
    assert all(later.get(lesion.key, lesion.seed) == lesion.seed for lesion in lesions)


def test_pairs_are_mixed_as_training_needs_them():
    cases = [draw_case(np.random.default_rng((5, number)))[3] for number in range(4000)]
    changes = Counter(finding.change for case in cases for finding in case)
    total = sum(changes.values())
    assert all(0.16 < changes[change] / total < 0.27 for change in PROGRESSION), changes
    assert 0.07 < sum(not case for case in cases) / 4000 < 0.13
    stable = sum(bool(case) and all(item.change is Change.STABLE for item in case) for case in cases)
    assert 0.15 < stable / 4000 < 0.21
    seen = {(finding.finding, finding.place) for case in cases for finding in case}
    assert seen == {(finding, place) for finding, places in DRAWN.items() for place in places}


@pytest.mark.parametrize(
    ("finding", "place", "grade"),
    [("edema", "left", 1), ("emphysema", "left", 1), ("edema", "bilateral", 0), ("cardiomegaly", "central", 3)],
)
def test_what_cannot_be_drawn_is_refused(finding, place, grade):
    assert grade > GRADES.get(finding, 0) or grade < 1 or place not in DRAWN.get(finding, ())
    with pytest.raises(UnknownLesion, match=finding):
        LesionState(finding=finding, place=place, grade=grade, seed=0)
