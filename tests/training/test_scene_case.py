"""Do drawn cases hold the promised mix, and do their findings say what the pictures show?"""

from collections import Counter

import numpy as np
import pytest

from reports.change import PROGRESSION, Change
from reports.vocabulary import PLACES, SCENE_FINDINGS, Domain
from training.phantoms.scene import ObjectState, draw_case, evolve, findings_between, render

MANY = 4000


@pytest.fixture(scope="module")
def cases():
    rng = np.random.default_rng(20)
    return [draw_case(rng) for _ in range(MANY)]


def test_findings_say_what_the_two_masks_measure(cases):
    for background, prior, current, findings in cases[:80]:
        before = render(background, prior, np.random.default_rng(1), size=200).masks
        after = render(background, current, np.random.default_rng(2), size=200).masks
        assert {(item.finding, item.place) for item in findings} == set(before) | set(after)
        for item in findings:
            key = (item.finding, item.place)
            old = int(before[key].sum()) if key in before else 0
            new = int(after[key].sum()) if key in after else 0
            assert old or new
            if not old:
                expected = Change.NEW
            elif not new:
                expected = Change.RESOLVED
            elif new >= 1.6 * old:
                expected = Change.WORSE
            elif old >= 1.6 * new:
                expected = Change.IMPROVED
            else:
                assert abs(new - old) <= 0.02 * old
                expected = Change.STABLE
            assert item.change is expected


def test_mix_of_cases_is_as_promised(cases):
    empty = sum(not findings for *_, findings in cases) / MANY
    unchanged = sum(bool(findings) and all(item.change is Change.STABLE for item in findings) for *_, findings in cases)
    assert 0.08 < empty < 0.12
    assert 0.15 < unchanged / MANY < 0.20
    changes = Counter(item.change for *_, findings in cases for item in findings)
    for change in PROGRESSION:
        assert 0.15 < changes[change] / changes.total() < 0.27, change
    kinds = Counter(item.finding for *_, findings in cases for item in findings)
    places = Counter(item.place for *_, findings in cases for item in findings)
    assert all(0.16 < kinds[kind] / kinds.total() < 0.24 for kind in SCENE_FINDINGS)
    assert all(0.22 < places[place] / places.total() < 0.28 for place in PLACES[Domain.SATELLITE])


def test_stable_objects_also_stand_beside_changed_ones(cases):
    mixed = sum(len({item.change is Change.STABLE for item in findings}) > 1 for *_, findings in cases)
    assert mixed > 0.1 * MANY


def test_no_quadrant_holds_more_than_two_objects_or_two_of_a_kind(cases):
    for _, prior, current, findings in cases:
        union = {(state.finding, state.place, state.slot) for state in (*prior, *current)}
        assert len(union) == len(findings) <= 4
        assert max(Counter(place for _, place, _ in union).values(), default=0) <= 2
        slots = Counter((place, slot) for _, place, slot in union)
        assert max(slots.values(), default=0) <= 1


def test_findings_come_in_the_order_of_the_vocabulary(cases):
    for *_, findings in cases:
        order = [(SCENE_FINDINGS.index(item.finding), PLACES[Domain.SATELLITE].index(item.place)) for item in findings]
        assert order == sorted(order)


def test_chain_keeps_shape_and_position_of_what_stays_and_meets_every_change():
    rng = np.random.default_rng(21)
    seen: Counter[Change] = Counter()
    for _ in range(200):
        _, _, objects, _ = draw_case(rng)
        for _ in range(3):
            later = evolve(rng, objects)
            own = {(state.finding, state.place): (state.slot, state.seed) for state in objects}
            for state in later:
                key = (state.finding, state.place)
                assert own.get(key, (state.slot, state.seed)) == (state.slot, state.seed)
            assert max(Counter(state.place for state in later).values(), default=0) <= 2
            assert max(Counter((state.place, state.slot) for state in later).values(), default=0) <= 1
            seen.update(item.change for item in findings_between(objects, later))
            objects = later
    assert all(seen[change] > 0.08 * seen.total() for change in PROGRESSION)


def test_two_objects_of_a_kind_in_one_quadrant_are_refused():
    twins = [ObjectState(finding="water", place="north-west", grade=1, slot=slot, seed=1) for slot in ("west", "east")]
    with pytest.raises(ValueError, match="two objects of the kind 'water' in the north-west"):
        findings_between(twins, [])
