"""Augmentation of a pair: alike where it must be, and never so that an answer becomes false."""

import numpy as np
import pytest

from reports.vocabulary import Domain
from training.augment import augmented
from training.batch import PairSample


def blobs(seed, size=64):
    rng = np.random.default_rng(seed)
    image = np.full((size, size, 3), 90, dtype=np.uint8)
    for _ in range(6):
        row, column = rng.integers(12, size - 16, 2)
        image[row : row + 5, column : column + 5] = rng.integers(150, 255)
    return image


def pair(domain=Domain.RADIOLOGY, **texts):
    image = blobs(1)
    return PairSample(domain=domain, prior=image, current=image.copy(), **texts)


def centre(image):
    """Centre of what is bright."""
    bright = (image[..., 0] > 120).astype(float)
    return np.array([(bright * axis).sum() / bright.sum() for axis in np.indices(bright.shape)])


@pytest.mark.parametrize("domain", list(Domain))
def test_both_images_move_alike(domain):
    moved = [augmented(pair(domain), np.random.default_rng(seed)) for seed in range(12)]

    for one in moved:
        # contrast is each image's own, so places are compared, within half a pixel
        assert centre(one.prior) == pytest.approx(centre(one.current), abs=0.5)
    assert max(np.abs(centre(one.prior) - centre(blobs(1))).max() for one in moved) > 0.5


def test_equal_seeds_give_equal_images_and_others_do_not():
    first, again, other = (augmented(pair(), np.random.default_rng(seed)) for seed in (3, 3, 4))

    assert (first.prior == again.prior).all() and (first.current == again.current).all()
    assert (first.prior != other.prior).any()
    assert first.prior.dtype == np.uint8 and first.prior.shape == (64, 64, 3)


def half(seed, sample):
    """How much brighter the left half of the prior is than the right one."""
    image = augmented(sample, np.random.default_rng(seed)).prior[..., 0].astype(float)
    return image[:, :32].mean() - image[:, 32:].mean()


@pytest.mark.parametrize(
    ("domain", "report", "may_turn"),
    [
        (Domain.RADIOLOGY, "Edema worse.", False),
        (Domain.SATELLITE, "North-west building appeared.", False),
        (Domain.SATELLITE, "a road on the left is built", False),
        (Domain.SATELLITE, "a road is built", True),
    ],
)
def test_left_stays_left_unless_a_scene_has_no_direction(domain, report, may_turn):
    image = np.full((64, 64, 3), 40, dtype=np.uint8)
    image[:, :32] = 220
    sample = PairSample(domain=domain, prior=image, current=image, report=report)

    sides = [half(seed, sample) for seed in range(16)]

    assert any(side < -50 for side in sides) == may_turn
    assert may_turn or min(sides) > 50


def test_what_says_nothing_stays_grey():
    image = np.full((64, 64, 3), 128, dtype=np.uint8)
    image[:, 20:44] = 250
    sample = PairSample(domain=Domain.RADIOLOGY, prior=image, current=image)

    for seed in range(6):
        moved = augmented(sample, np.random.default_rng(seed))
        assert (moved.prior[:, :8] == 128).all() and (moved.current[:, -8:] == 128).all()
