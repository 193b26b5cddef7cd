from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from training.phantoms.radiograph import DRAWN, GRADES, LesionState, UnknownView, draw_subject, render

ALL = [(finding, place) for finding, places in DRAWN.items() for place in places]
CHESTS = range(6)


def _one(chest: int, finding: str, place: str, grade: int) -> LesionState:
    return LesionState(finding=finding, place=place, grade=grade, seed=chest)


def _shown(chest: int, *lesions: LesionState, view: str = "PA", nuisance: int = 1, size: int = 160):
    subject = draw_subject(np.random.default_rng(chest))
    return render(subject, lesions, np.random.default_rng((nuisance, chest)), size=size, view=view)


@pytest.mark.parametrize("view", ["PA", "AP", "LATERAL"])
def test_pictures_fill_zero_to_one_and_have_the_asked_shape(view):
    subject = draw_subject(np.random.default_rng(0))
    shown = render(subject, (), np.random.default_rng(1), size=(96, 80), view=view)
    assert shown.values.shape == (96, 80)
    assert shown.values.dtype == np.float32
    assert 0 <= shown.values.min() < 0.2 < 0.6 < shown.values.max() <= 1
    assert shown.masks == {}


def test_lungs_are_dark_beside_a_bright_heart_and_abdomen():
    for chest in CHESTS:
        values = _shown(chest).values
        right_lung, left_lung = values[60:80, 35:55].mean(), values[60:80, 108:125].mean()
        assert max(right_lung, left_lung) + 0.2 < min(values[100:112, 80:95].mean(), values[135:150, 60:80].mean())


def test_stomach_bubble_lies_under_the_dome_on_the_images_right():
    for chest in CHESTS:
        abdomen = ndimage.gaussian_filter(_shown(chest).values, 2)[118:150, 20:140]
        assert np.unravel_index(abdomen[:, 20:100].argmin(), (32, 80))[1] + 40 > 80


@pytest.mark.parametrize(("finding", "place"), ALL)
def test_each_lesion_is_seen_where_its_mask_says(finding, place):
    for chest in CHESTS:
        for view in ("PA", "AP"):
            for grade in range(1, GRADES[finding] + 1):
                lesion = _one(chest, finding, place, grade)
                with_it, without = _shown(chest, lesion, view=view), _shown(chest, view=view)
                mask = with_it.masks[finding, place]
                difference = np.abs(with_it.values - without.values)
                assert difference[mask].mean() > 0.08
                assert difference[mask].mean() > 4 * difference[~ndimage.binary_dilation(mask, iterations=6)].mean()


@pytest.mark.parametrize(("finding", "place"), ALL)
def test_each_grade_covers_at_least_1_6_times_the_area_of_the_one_before(finding, place):
    for chest in CHESTS:
        areas = [
            int(_shown(chest, _one(chest, finding, place, grade)).masks[finding, place].sum())
            for grade in range(1, GRADES[finding] + 1)
        ]
        assert areas[0] >= 20
        assert all(after >= 1.6 * before for before, after in pairwise(areas)), areas


@pytest.mark.parametrize(("finding", "place"), [key for key in ALL if key[1] not in ("central", "bilateral")])
def test_the_patients_left_is_on_the_images_right_and_upper_is_above_lower(finding, place):
    for chest in CHESTS:
        rows, columns = np.nonzero(_shown(chest, _one(chest, finding, place, 1)).masks[finding, place])
        assert (columns.mean() > 80) == place.startswith("left")
        if place.endswith(("upper", "lower")):
            assert (rows.mean() > 72) == place.endswith("lower")


def test_a_stable_lesion_keeps_its_place_and_area_while_the_acquisition_differs():
    for finding, place in ALL:
        lesion = _one(3, finding, place, 2)
        first, second = _shown(3, lesion, nuisance=1), _shown(3, lesion, nuisance=2)
        assert not np.array_equal(first.values, second.values)
        one, other = first.masks[finding, place], second.masks[finding, place]
        assert 1 / 1.3 < one.sum() / other.sum() < 1.3
        distance = np.subtract(ndimage.center_of_mass(one), ndimage.center_of_mass(other))
        assert np.hypot(*distance) < 0.1 * 160


def test_an_ap_view_magnifies_a_normal_heart_less_than_disease_does():
    def heart(view, *lesions):
        shown = _shown(0, *lesions, view=view).values
        return int((ndimage.gaussian_filter(shown, 2)[100, 30:135] > 0.45).sum())

    assert heart("PA") < heart("AP") < heart("PA", _one(0, "cardiomegaly", "central", 1))


def test_equal_generators_give_equal_pictures():
    lesion = _one(1, "edema", "bilateral", 2)
    assert np.array_equal(_shown(1, lesion).values, _shown(1, lesion).values)


def test_drawing_larger_shows_the_same_picture_in_more_detail():
    lesion = _one(2, "consolidation", "right lower", 3)
    small, large = _shown(2, lesion, size=160), _shown(2, lesion, size=320)
    shrunk = large.masks["consolidation", "right lower"].reshape(160, 2, 160, 2).mean(axis=(1, 3)) > 0.5
    both = small.masks["consolidation", "right lower"]
    assert (shrunk & both).sum() > 0.95 * (shrunk | both).sum()


def test_a_lateral_shows_every_finding_too():
    for finding, place in ALL:
        lesion = _one(0, finding, place, 2)
        with_it, without = _shown(0, lesion, view="LATERAL"), _shown(0, view="LATERAL")
        mask = with_it.masks[finding, place]
        assert mask.any()
        if finding != "cardiomegaly":
            assert np.abs(with_it.values - without.values)[mask].mean() > 0.02


def test_an_unknown_view_is_refused():
    with pytest.raises(UnknownView, match="LATERAL"):
        _shown(0, view="OBLIQUE")
