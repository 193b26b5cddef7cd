"""Prior on the current's grid: landmarks stay in their place, known movements are found, strangers are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ingest.acquisition import Acquisition
from ingest.align import align_pair
from ingest.dicom.errors import AlignmentFailed, FileChanged, MixedModalities, NoOverlap, PriorUnreadable
from ingest.dicom.rigid import register_rigid
from ingest.dicom.volume import Volume
from ingest.dicom.volume_align import align_volumes, matched_slices, share_frame, slice_pairs
from ingest.dicom.volume_group import group_volumes
from ingest.dicom.volume_place import place_volume
from ingest.pairing import make_pair
from tests.ingest.volume_files import OTHER_FRAME, a_grid, drawn, instances_of, torso, volume_slices, write_slices
from training.samples import model_image

#: A prior's movement: turned by up to 5 degrees about each axis, shifted by up to 15 mm along each.
MOVEMENTS = [
    ((5, 0, 0), (0, 0, 0)),
    ((0, 0, 0), (15, -15, 15)),
    ((-4, 5, 3), (12, 15, -10)),
    ((3, -2, -5), (-15, 8, 14)),
]


def a_movement(degrees: tuple[float, ...], shift: tuple[float, ...]) -> NDArray[np.float64]:
    made = np.eye(4)
    made[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    made[:3, 3] = shift
    return made


def bump(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """A landmark: a smooth bright ball of 6 mm around (7.3, -4.1, 5.2) mm."""
    return np.asarray(1000 * np.exp(-((places - (7.3, -4.1, 5.2)) ** 2).sum(axis=-1) / (2 * 6.0**2)) - 1000)


def centroid(volume: Volume) -> NDArray[np.float64]:
    weights = np.where(volume.valid, volume.values + 1000, 0)
    axes = np.stack(np.meshgrid(*(np.arange(n) for n in volume.grid.shape), indexing="ij"), axis=-1)
    return np.asarray((axes * weights[..., np.newaxis]).sum(axis=(0, 1, 2)) / weights.sum())


@pytest.mark.parametrize(
    "turn", [np.eye(3), np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]), a_movement((20, -30, 10), (0, 0, 0))[:3, :3]]
)
@pytest.mark.parametrize("spacing", [(3.0, 0.9, 1.2), (1.0, 0.5, 0.5)])
def test_a_landmark_stays_at_its_voxel(spacing: tuple[float, ...], turn: NDArray[np.float64]) -> None:
    shape = tuple(round(90 / one) for one in spacing)
    prior = drawn(a_grid(spacing, (shape[0], shape[1], shape[2]), centre=(4, 2, 1), turn=turn), bump)
    current = drawn(a_grid((2.5, 0.8, 0.8), (32, 100, 100), centre=(3, -2, 6)), bump)

    placed = place_volume(prior, current.grid)

    np.testing.assert_allclose(centroid(placed), current.grid.indices(np.array([7.3, -4.1, 5.2])), atol=0.2)
    both = placed.valid
    assert np.abs(placed.values[both] - current.values[both]).max() < 60


def test_a_volume_on_its_own_grid_is_unchanged() -> None:
    volume = drawn(a_grid(), torso)
    placed = place_volume(volume, volume.grid)
    np.testing.assert_allclose(placed.values, volume.values, atol=1e-2)
    assert placed.valid.all()


def test_thin_slices_become_the_mean_under_thick_ones() -> None:
    """Every second thin slice is bright: on slices five times as thick hardly anything of that is left."""
    thin = a_grid((1.0, 2.0, 2.0), (60, 10, 10))
    stripes = drawn(thin, lambda places: np.where(np.rint(places[..., 2] - 0.5) % 2 == 0, 100.0, -100.0))
    placed = place_volume(stripes, a_grid((5.0, 2.0, 2.0), (8, 10, 10)))
    assert np.abs(placed.values).max() < 15


def test_invalid_voxels_lend_nothing_to_their_neighbours() -> None:
    volume = drawn(a_grid((2.0, 2.0, 2.0), (10, 10, 10)), lambda places: np.full(places.shape[:-1], 50.0))
    valid = np.ones(volume.grid.shape, dtype=np.bool_)
    valid[:, :4] = False
    values = np.where(valid, volume.values, np.float32(-3000)).astype(np.float32)

    placed = place_volume(replace(volume, values=values, valid=valid), a_grid((1.5, 1.5, 1.5), (10, 10, 10)))

    assert 0.3 < placed.valid.mean() < 0.7
    np.testing.assert_allclose(placed.values[placed.valid], 50, atol=1e-3)
    assert not placed.values[~placed.valid].any()


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.floats(-40, 40)] * 3), st.tuples(*[st.floats(-20, 20)] * 3))
def test_what_is_valid_lies_within_half_a_voxel_of_the_prior(
    degrees: tuple[float, ...], centre: tuple[float, ...]
) -> None:
    prior = drawn(a_grid((3.0, 2.0, 2.0), (9, 12, 12), centre=centre), torso)
    grid = a_grid((2.0, 2.0, 2.0), (12, 12, 12), turn=a_movement(degrees, (0, 0, 0))[:3, :3])
    placed = place_volume(prior, grid)
    where = prior.grid.indices(grid.places(np.argwhere(placed.valid).astype(np.float64)))
    assert ((where > -0.5 - 1e-3) & (where < np.array(prior.grid.shape) - 0.5 + 1e-3)).all()


@pytest.mark.parametrize(("degrees", "shift"), MOVEMENTS)
def test_registration_finds_a_known_movement(degrees: tuple[float, ...], shift: tuple[float, ...]) -> None:
    moved = a_movement(degrees, shift)
    current = drawn(a_grid((5.0, 2.0, 2.0), (48, 96, 136), centre=(2, 3, -4)), torso)
    # The prior has other voxels and another field of view, and shows the same anatomy elsewhere.
    prior = drawn(
        a_grid((4.0, 1.9, 1.9), (56, 110, 150), centre=(-3, 6, 8), frame=OTHER_FRAME), torso, moved=np.linalg.inv(moved)
    )

    found = register_rigid(prior, current)

    off = found.matrix[:3, :3] @ moved[:3, :3].T
    assert np.degrees(np.linalg.norm(Rotation.from_matrix(off).as_rotvec())) < 0.25
    corners = np.array([(x, y, z) for x in (-120, 120) for y in (-80, 80) for z in (-100, 100)], dtype=np.float64)
    there = corners @ found.matrix[:3, :3].T + found.matrix[:3, 3]
    wanted = corners @ moved[:3, :3].T + moved[:3, 3]
    assert np.linalg.norm(there - wanted, axis=1).max() < 1.5  # with slices 4 and 5 mm apart
    assert found.correlation > 0.95


def test_registration_of_a_shorter_prior_in_relative_numbers() -> None:
    """MR: other numbers, another field of view, half the length, 60 mm away."""
    moved = a_movement((2, 3, -4), (5, -8, 60))
    current = drawn(a_grid((5.0, 2.0, 2.0), (48, 96, 136)), lambda places: torso(places) + 1000, modality="MR")
    prior = drawn(
        a_grid((5.0, 2.5, 2.5), (30, 80, 110), centre=(0, 0, 60), frame=OTHER_FRAME),
        lambda places: 0.3 * torso(places) + 320,
        moved=np.linalg.inv(moved),
        modality="MR",
    )
    found = register_rigid(prior, current)
    np.testing.assert_allclose(found.matrix, moved, atol=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_registration_finds_movements_drawn_at_random(seed: int) -> None:
    """Up to 5 degrees about any axis and 15 mm along each, half of the priors half as long, with noise of 60 HU."""
    chance = np.random.default_rng([417, seed])
    axis = chance.normal(size=3)
    moved = np.eye(4)
    moved[:3, :3] = Rotation.from_rotvec(np.radians(5) * chance.uniform() * axis / np.linalg.norm(axis)).as_matrix()
    moved[:3, 3] = chance.uniform(-15, 15, 3)
    current = drawn(a_grid((5.0, 2.0, 2.0), (48, 96, 136), centre=(2, 3, -4)), torso)
    grid = a_grid((4.0, 1.9, 1.9), (56 if seed % 2 else 28, 110, 150), centre=chance.uniform(-10, 10, 3), frame="1.9")
    prior = drawn(grid, torso, moved=np.linalg.inv(moved))
    prior = replace(prior, values=prior.values + chance.normal(0, 60, grid.shape).astype(np.float32))

    found = register_rigid(prior, current)

    corners = np.array([(x, y, z) for x in (-120, 120) for y in (-80, 80) for z in (-100, 100)], dtype=np.float64)
    there = corners @ found.matrix[:3, :3].T + found.matrix[:3, 3]
    assert np.linalg.norm(there - corners @ moved[:3, :3].T - moved[:3, 3], axis=1).max() < 2.0


def test_strangers_are_not_registered() -> None:
    noise = np.random.default_rng(1)
    current = drawn(a_grid((5.0, 4.0, 4.0), (40, 50, 60)), torso)
    prior = replace(
        drawn(a_grid((5.0, 4.0, 4.0), (40, 50, 60), frame=OTHER_FRAME), torso),
        values=noise.uniform(-1000, 1000, (40, 50, 60)).astype(np.float32),
    )
    with pytest.raises(AlignmentFailed, match="no turn and shift"):
        register_rigid(prior, current)


def test_one_frame_of_reference_is_believed() -> None:
    current = drawn(a_grid((5.0, 4.0, 4.0), (40, 50, 60)), torso)
    prior = drawn(a_grid((4.0, 3.0, 3.0), (40, 60, 80)), torso)
    aligned = align_volumes(prior, current)
    assert aligned.current is current
    assert aligned.prior.grid == current.grid
    assert aligned.prior.steps == ("placed by the common frame of reference",)
    assert aligned.quality["correlation"] > 0.9
    assert "rotation_deg" not in aligned.quality


@pytest.mark.parametrize("frames", [("1.2.3", "1.2.4"), ("", ""), ("1.2.3", "")])
def test_two_frames_of_reference_or_none_are_registered(frames: tuple[str, str]) -> None:
    prior = drawn(
        a_grid((5.0, 4.0, 4.0), (40, 50, 60), frame=frames[0]), torso, moved=a_movement((0, 0, 0), (-9, 0, 0))
    )
    current = drawn(a_grid((5.0, 4.0, 4.0), (40, 50, 60), frame=frames[1]), torso)
    assert not share_frame(prior, current)
    aligned = align_volumes(prior, current)
    assert aligned.quality["shift_mm"] == pytest.approx(9, abs=0.5)
    assert aligned.quality["correlation"] > aligned.quality["correlation_before"]
    assert "no common frame of reference" in aligned.warnings[0]


def test_one_frame_of_reference_and_no_common_place_is_refused() -> None:
    current = drawn(a_grid((5.0, 4.0, 4.0), (20, 30, 30)), torso)
    prior = drawn(a_grid((5.0, 4.0, 4.0), (20, 30, 30), centre=(0, 0, 98)), torso)
    with pytest.raises(NoOverlap):
        align_volumes(prior, current)
    aligned = align_volumes(drawn(a_grid((5.0, 4.0, 4.0), (20, 30, 30), centre=(0, 0, 50)), torso), current)
    assert aligned.quality["overlap_share"] == pytest.approx(0.5, abs=0.03)
    assert "The prior covers 50% of the current" in " ".join(aligned.warnings)


def test_ct_and_mr_are_not_compared() -> None:
    with pytest.raises(MixedModalities):
        align_volumes(drawn(a_grid(), torso), drawn(a_grid(), torso, modality="MR"))


def test_slices_lie_at_the_same_places_in_both() -> None:
    current = drawn(a_grid((2.5, 4.0, 4.0), (81, 50, 60)), torso)
    prior = drawn(a_grid((4.0, 3.0, 3.0), (50, 70, 80)), torso)
    shown = slice_pairs(align_volumes(prior, current), n_slices=9)

    assert len(shown.slices) == 9
    assert (shown.prior, shown.current) == (shown.slices[4].prior, shown.slices[4].current)
    places = []
    for pair in shown.slices:
        (here,) = [one for one in pair.current.steps if one.startswith("slice")]
        assert here in pair.prior.steps
        places.append(float(here.removesuffix(" mm").split(", ")[-1]))
        assert pair.prior.grid == pair.current.grid
        both = pair.prior.valid & pair.current.valid
        assert np.abs(pair.prior.values - pair.current.values)[0][both].mean() < 0.1
    # Even distances in mm, to the nearest slice of the current.
    assert np.abs(np.diff(places) - np.mean(np.diff(places))).max() <= 2.5


def test_one_window_for_both_dates() -> None:
    lung = (-600.0, 1500.0)
    prior = replace(drawn(a_grid((5.0, 4.0, 4.0), (40, 50, 60)), torso), window=(40.0, 400.0))
    current = replace(drawn(a_grid((5.0, 4.0, 4.0), (40, 50, 60)), torso), window=lung)
    shown = slice_pairs(align_volumes(prior, current))
    for side in (shown.prior, shown.current):
        assert side.steps[-1] == "shown from -1350 to 150"
    np.testing.assert_allclose(shown.prior.values, shown.current.values, atol=1e-5)


@given(st.integers(1, 12), st.lists(st.booleans(), min_size=1, max_size=60))
def test_matched_slices_are_in_order_and_shown_by_both(n_slices: int, shown: list[bool]) -> None:
    both = np.broadcast_to(np.array(shown)[:, np.newaxis, np.newaxis], (len(shown), 2, 2))
    chosen = matched_slices(both, n_slices)
    assert list(chosen) == sorted(set(chosen))
    assert len(chosen) == min(n_slices, sum(shown))
    assert all(shown[index] for index in chosen)


def an_indexed_volume(folder: Path, volume: Volume, study: int, **tags: Any) -> Acquisition:
    """The volume as files of one series, as the index has them."""
    uid = f"1.2.826.0.1.3680043.8.498.{study}"
    day = f"2020010{study}"
    series = volume_slices(
        volume.values, volume.grid, StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1", AcquisitionDate=day, **tags
    )
    (made,), _, _ = group_volumes(instances_of(series, write_slices(folder, series)))
    return made


def test_from_files_to_matched_slices(tmp_path: Path) -> None:
    prior = drawn(a_grid((5.0, 4.0, 4.0), (40, 50, 60)), torso, moved=a_movement((0, 0, 2), (6, 0, 0)))
    current = drawn(a_grid((5.0, 4.0, 4.0), (40, 50, 60), frame=OTHER_FRAME), torso)
    pair = make_pair(
        an_indexed_volume(tmp_path / "prior", prior, 1, ContrastBolusAgent="x"),
        an_indexed_volume(tmp_path / "current", current, 2),
        reason="The only one.",
    )

    aligned = align_pair(pair)

    assert len(aligned.slices) == 9
    assert aligned.quality["shift_mm"] == pytest.approx(6, abs=0.7)
    assert aligned.quality["rotation_deg"] == pytest.approx(2, abs=0.3)
    assert aligned.quality["residual_px"] < 2
    assert "contrast agent differs (prior: yes, current: none)" in aligned.warnings[0]
    assert any(one.startswith("registered: turned by") for one in aligned.prior.steps)
    samples = [model_image(side, size=64) for one in aligned.slices for side in (one.prior, one.current)]
    assert {one.shape for one in samples} == {(64, 64, 3)}

    (tmp_path / "prior" / "0007.dcm").unlink()
    with pytest.raises(PriorUnreadable):
        align_pair(pair)
    (tmp_path / "current" / "0007.dcm").write_bytes(b"other bytes")
    with pytest.raises(FileChanged):
        align_pair(pair)
