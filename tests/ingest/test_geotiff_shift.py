"""A known displacement is measured to a tenth of a pixel, with its sign, in spite of clouds, noise and other light."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ingest.geotiff.shift import Shift, estimate_shift, measure_shift
from tests.ingest.scene_files import ground
from tests.ingest.shifted_scenes import SCENES, Case, make_case

CASES = 100


def cutter(prior: NDArray[np.float32], current: NDArray[np.float32]):  # type: ignore[no-untyped-def]
    """Cuts windows of two arrays, the prior moved by whole pixels."""

    def cut(rows: slice, columns: slice, moved: tuple[float, float]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        down, right = (round(step) for step in moved)
        padded = np.pad(prior, 16, constant_values=np.nan)
        part = padded[
            rows.start - down + 16 : rows.stop - down + 16, columns.start - right + 16 : columns.stop - right + 16
        ]
        return part, current[rows, columns]

    return cut


def measured(prior: NDArray[np.float32], current: NDArray[np.float32]) -> Shift:
    return estimate_shift(np.isfinite(prior) & np.isfinite(current), cutter(prior, current))


def masked(case: Case) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return (
        np.where(case.clear[0], case.prior, np.float32(np.nan)),
        np.where(case.clear[1], case.current, np.float32(np.nan)),
    )


@pytest.mark.parametrize("clouds_are_known", [True, False])
def test_known_displacements_of_real_scenes_are_recovered_to_a_tenth_of_a_pixel(
    shared_data: Path, clouds_are_known: bool
) -> None:
    errors = []
    for seed in range(CASES):
        case = make_case(shared_data / "satellite", seed)
        found = measured(*masked(case)) if clouds_are_known else measured(case.prior, case.current)
        assert found.is_measured, seed
        errors.append(max(abs(found.rows - case.shift[0]), abs(found.columns - case.shift[1])))

    assert sum(error <= 0.1 for error in errors) >= 0.95 * CASES
    # no scene is the one that fails
    for number in range(len(SCENES)):
        assert np.median(errors[number :: len(SCENES)]) < 0.05


def test_the_sign_is_that_of_the_way_the_prior_has_to_go(shared_data: Path) -> None:
    case = make_case(shared_data / "satellite", 0)

    forth, back = measured(case.prior, case.current), measured(case.current, case.prior)

    assert (np.sign(forth.rows), np.sign(forth.columns)) == tuple(np.sign(case.shift))
    assert (forth.rows, forth.columns) == pytest.approx((-back.rows, -back.columns), abs=0.1)
    # a displacement taken off with the wrong sign would be doubled
    left = measure_shift(
        np.ones(case.prior.shape, dtype=np.bool_),
        cutter(case.prior, case.current),
        moved=(round(forth.rows), round(forth.columns)),
    )
    assert (left.rows, left.columns) == pytest.approx(case.shift, abs=0.1)


@pytest.mark.parametrize("shift", [(9.4, 0.0), (0.0, -9.4), (6.5, 6.5)])
def test_large_displacements_are_measured_before_they_are_judged(shift: tuple[float, float]) -> None:
    found = measured(ground().astype(np.float32), ground(shift=shift).astype(np.float32))

    assert (found.rows, found.columns) == pytest.approx(shift, abs=0.05)
    assert found.is_worth_applying
    assert not found.is_beyond_registration


def test_smooth_ground_is_measured_as_well() -> None:
    from scipy.ndimage import gaussian_filter

    smooth = [gaussian_filter(ground(300, 300, shift=shift), 5) for shift in ((0.0, 0.0), (1.3, -2.4))]
    noisy = [one + np.random.default_rng(number).normal(0, 0.1, one.shape) for number, one in enumerate(smooth)]

    found = measured(*(one.astype(np.float32) for one in noisy))

    assert (found.rows, found.columns) == pytest.approx((1.3, -2.4), abs=0.15)


def test_nothing_is_believed_of_unlike_or_empty_windows() -> None:
    unlike = measured(ground(seed=1).astype(np.float32), ground(seed=2).astype(np.float32))
    flat = measured(np.ones((256, 256), dtype=np.float32), ground().astype(np.float32))
    hidden = measured(np.full((256, 256), np.nan, dtype=np.float32), ground().astype(np.float32))

    assert not unlike.is_measured
    assert flat.n_windows == hidden.n_windows == 0
    assert not flat.is_worth_applying
