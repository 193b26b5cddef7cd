"""Does a rendered scene show each object where, and as large as, its state says?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.vocabulary import PLACES, SCENE_FINDINGS, Domain
from training.phantoms.scene import ObjectState, draw_case, draw_place, render
from training.phantoms.scene_object import MARGIN, QUADRANTS, SLOTS

KINDS = st.sampled_from(SCENE_FINDINGS)
QUADRANT_NAMES = st.sampled_from(PLACES[Domain.SATELLITE])
SLOT_NAMES = st.sampled_from(sorted(SLOTS))
SEEDS = st.integers(0, 2**31 - 1)


def mask_of(state: ObjectState, size: int = 256, **options: object) -> np.ndarray:
    scene = render(draw_place(np.random.default_rng(5)), [state], np.random.default_rng(6), size=size, **options)
    return scene.masks[state.finding, state.place]


@settings(max_examples=30, deadline=None)
@given(KINDS, QUADRANT_NAMES, SLOT_NAMES, SEEDS)
def test_object_of_the_largest_grade_keeps_its_margin_to_the_quadrant(kind, place, slot, seed):
    rows, columns = np.nonzero(mask_of(ObjectState(finding=kind, place=place, grade=3, slot=slot, seed=seed), size=200))
    west, north = QUADRANTS[place]
    slack = 0.5 / 200  # a half covered pixel
    for first, positions in ((west, columns), (north, rows)):
        assert positions.min() / 200 >= first + MARGIN - slack
        assert (positions.max() + 1) / 200 <= first + 0.5 - MARGIN + slack


@settings(max_examples=30, deadline=None)
@given(KINDS, SLOT_NAMES, SEEDS)
def test_each_grade_is_at_least_1_6_times_the_one_below_and_contains_its_place(kind, slot, seed):
    masks = [
        mask_of(ObjectState(finding=kind, place="south-east", grade=grade, slot=slot, seed=seed), size=320)
        for grade in (1, 2, 3)
    ]
    small, medium, large = (int(mask.sum()) for mask in masks)
    assert medium >= 1.6 * small
    assert large >= 1.6 * medium
    assert (masks[0] & masks[2]).sum() >= 0.8 * small


def test_smallest_object_of_each_kind_covers_enough_pixels_of_a_model_image_to_be_seen():
    for kind in SCENE_FINDINGS:
        areas = [
            mask_of(ObjectState(finding=kind, place="north-west", grade=1, slot=slot, seed=seed), size=128).sum()
            for slot in SLOTS
            for seed in range(8)
        ]
        assert min(areas) >= 40, kind


def test_same_seed_gives_the_same_picture_and_another_seed_another():
    background = draw_place(np.random.default_rng(1))
    state = ObjectState(finding="water", place="north-east", grade=2, slot="whole", seed=9)
    first, again, other = (render(background, [state], np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.values, again.values)
    assert not np.array_equal(first.values, other.values)
    np.testing.assert_array_equal(first.masks["water", "north-east"], other.masks["water", "north-east"])


@pytest.mark.parametrize("size", [160, 128, (130, 171)])
def test_values_are_float32_colours_in_the_asked_shape(size):
    background, _, current, _ = draw_case(np.random.default_rng(2))
    scene = render(background, current, np.random.default_rng(3), size=size)
    shape = (size, size) if isinstance(size, int) else size
    assert scene.values.shape == (3, *shape)
    assert scene.values.dtype == np.float32
    assert scene.values.min() >= 0
    assert scene.values.max() <= 1
    assert all(mask.shape == shape and mask.dtype == np.bool_ for mask in scene.masks.values())


def test_positive_offset_moves_the_content_south_and_east():
    state = ObjectState(finding="vegetation", place="north-west", grade=3, slot="whole", seed=4)
    still, moved = mask_of(state), mask_of(state, offset=(3.0, 5.0))
    np.testing.assert_array_equal(np.roll(still, (3, 5), (0, 1)), moved)


def test_offset_of_a_fraction_moves_the_ground_by_that_fraction():
    background = draw_place(np.random.default_rng(8))
    options = {"size": 200, "window": (0.0, 0.0, 1.0, 1.0)}
    left, middle, right = (
        render(background, [], np.random.default_rng(1), offset=(0.0, shift), **options).values.mean(0)
        for shift in (0.0, 0.5, 1.0)
    )
    between = 0.5 * (left + right)
    noise_free = np.abs(middle - between).mean()
    assert noise_free < 0.5 * np.abs(right - left).mean()


def test_window_shows_the_same_ground_at_the_same_place():
    state = ObjectState(finding="road", place="south-east", grade=3, slot="whole", seed=11)
    full = mask_of(state, size=200)
    part = mask_of(state, size=(100, 120), window=(0.4, 0.5, 1.0, 1.0))
    np.testing.assert_array_equal(full[100:, 80:], part)


def test_objects_change_the_picture_only_in_and_beside_their_masks():
    background = draw_place(np.random.default_rng(12))
    states = [
        ObjectState(finding=kind, place=place, grade=3, slot="whole", seed=13)
        for kind, place in zip(SCENE_FINDINGS, PLACES[Domain.SATELLITE], strict=False)
    ]
    bare = render(background, [], np.random.default_rng(14), size=200)
    built = render(background, states, np.random.default_rng(14), size=200)
    changed = np.abs(bare.values - built.values).max(0) > 0.02
    near = np.zeros_like(changed)
    for mask in built.masks.values():
        rows, columns = np.nonzero(mask)
        near[max(rows.min() - 10, 0) : rows.max() + 11, max(columns.min() - 10, 0) : columns.max() + 11] = True
        assert changed[mask].mean() > 0.95
    assert not (changed & ~near).any()


def test_two_objects_of_one_quadrant_do_not_hide_each_other():
    rng = np.random.default_rng(15)
    together = 0
    for _ in range(60):
        background, prior, current, _ = draw_case(rng)
        for objects in (prior, current):
            masks = list(render(background, objects, rng, size=128).masks.values())
            together += len(masks) > len({state.place for state in objects})
            assert sum(mask.astype(int) for mask in masks).max() <= 1 if masks else True
    assert together > 5


def test_the_colour_of_a_patch_tells_kinds_and_ground_apart():
    """Nearest mean colour, fitted on one half of the scenes and scored on the other."""
    rng = np.random.default_rng(16)
    colours: list[np.ndarray] = []
    names: list[str] = []
    while len(names) < 400:
        background, _, current, _ = draw_case(rng)
        scene = render(background, current, rng, size=128)
        anything = np.zeros((128, 128), dtype=bool)
        for (kind, _), mask in scene.masks.items():
            colours.append(np.median(scene.values[:, mask], axis=1))
            # Buildings are told by shape and contrast: tiles and metal have no common colour.
            names.append(kind)
            anything |= mask
        colours.append(np.median(scene.values[:, ~anything], axis=1))
        names.append("ground")
    found, kinds = np.array(colours), np.array(names)
    for kind in ("vegetation", "water", "bare soil", "road"):
        chosen = (kinds == kind) | (kinds == "ground")
        x, y = found[chosen], kinds[chosen] == kind
        fit, check = slice(0, None, 2), slice(1, None, 2)
        centres = np.array([x[fit][~y[fit]].mean(0), x[fit][y[fit]].mean(0)])
        guessed = np.linalg.norm(x[check][:, None] - centres, axis=2).argmin(1) == 1
        assert (guessed == y[check]).mean() > 0.97, kind


@pytest.mark.parametrize(
    ("field", "value"), [("finding", "ship"), ("place", "centre"), ("slot", "middle"), ("grade", 0), ("grade", 4)]
)
def test_impossible_object_is_refused(field, value):
    sound = {"finding": "road", "place": "north-west", "grade": 1, "slot": "whole", "seed": 1}
    with pytest.raises(ValueError, match=str(value)):
        ObjectState(**(sound | {field: value}))
