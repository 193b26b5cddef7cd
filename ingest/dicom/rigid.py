"""How does a prior volume lie in its current's coordinates, when nothing in the headers says so?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ingest.dicom.errors import AlignmentFailed
from ingest.dicom.volume import Volume, VolumeGrid, grid_from_matrix
from ingest.dicom.volume_place import place_volume

if TYPE_CHECKING:
    from torch import Tensor

#: Voxel sizes in mm of the copies that are compared, fine to coarse: the last finds the way, the first the place.
_LEVELS_MM = (2.0, 4.0, 8.0)
#: Hounsfield units between which CT is compared: from air to dense bone; metal beyond would outweigh the rest.
_CT_RANGE = (-1000.0, 1000.0)
#: Percentiles between which MR is compared.
_MR_PERCENTILES = (1.0, 99.0)
#: Points of the current that are compared, at most.
_MOST_POINTS = 200_000
#: Share of the smaller volume that must lie within the other.
_LEAST_OVERLAP = 0.3
#: Distance in mm of the starts along the body.
_START_STEP_MM = 40.0
#: Steps of the optimiser on each level.
_STEPS = 30
#: Radius in mm at which a turn counts as much as a shift: that of a head or half a chest.
_RADIUS_MM = 100.0
#: Normalised cross-correlation below which the two are taken for strangers.
_LEAST_CORRELATION = 0.5
#: Variance of values in [0, 1] below which an image is uniform, and correlation means nothing.
_UNIFORM = 1e-8
#: Least range of values, so that a uniform volume divides by no zero.
_TINY = float(np.finfo(np.float32).tiny)
#: Largest turn in degrees between two examinations in one posture.
_LARGEST_TURN_DEG = 30.0


@dataclass(frozen=True, kw_only=True)
class Rigid:
    """A turn and a shift, and how well they fit.

    Attributes:
        matrix: (4, 4): a place in the current's coordinates to the same anatomy's place in the prior's, in mm (LPS).
        rotation_deg: Angle of the turn.
        shift_mm: How far the middle of the current is moved.
        correlation: Normalised cross-correlation with the turn and shift, on the finest level.
        correlation_before: The same with both volumes' coordinates taken for one; None if they do not overlap there.
    """

    matrix: NDArray[np.float64]
    rotation_deg: float
    shift_mm: float
    correlation: float
    correlation_before: float | None


def register_rigid(prior: Volume, current: Volume) -> Rigid:
    """Turn and shift (six numbers) that lay the prior's anatomy on the current's; nothing is scaled or warped.

    It starts from several places: coordinates as they are, middle on middle, the shift that masked cross-correlation
    finds among all shifts, and shifts along the body. From each of them normalised cross-correlation over all voxels
    that lie in both is climbed, coarsely; the best is followed to the finest voxels.

    Raises:
        AlignmentFailed: The best fit is poor, turns the patient further than a posture can, or leaves little overlap.

    Source: Padfield 2012, IEEE Trans Image Process 21(5) (masked correlation); Liu and Nocedal 1989 (L-BFGS).
    """
    levels = list(zip(_pyramid(prior), _pyramid(current), strict=True))
    middle = current.grid.centre
    climbed = [_climb(start, middle, *levels[-1]) for start in _starts(*levels[-1])]
    best = max(climbed, key=lambda one: _correlation(one, middle, *levels[-1]) or -1.0)
    for moving, fixed in reversed(levels[:-1]):
        best = _climb(best, middle, moving, fixed)
    moving, fixed = levels[0]
    correlation = _correlation(best, middle, moving, fixed)
    rotation = float(np.degrees(np.linalg.norm(best[:3])))
    if correlation is None or correlation < _LEAST_CORRELATION or rotation > _LARGEST_TURN_DEG:
        found = "no overlap" if correlation is None else f"correlation {correlation:.2f}, turn {rotation:.0f} degrees"
        raise AlignmentFailed(
            f"The two volumes have different frames of reference and no turn and shift brings them together ({found}); "
            "check that they show one person and one region, or register them by hand."
        )
    return Rigid(
        matrix=_matrix(best, middle),
        rotation_deg=rotation,
        shift_mm=float(np.linalg.norm(best[3:])),
        correlation=correlation,
        correlation_before=_correlation(np.zeros(6), middle, moving, fixed),
    )


def correlation_as_placed(prior: Volume, current: Volume) -> float | None:
    """Normalised cross-correlation of two volumes whose coordinates are one; None where it is not defined."""
    size = _LEVELS_MM[1]
    moving, fixed = (_sampled(_normalised(_even(volume, size))) for volume in (prior, current))
    return _correlation(np.zeros(6), current.grid.centre, moving, fixed)


@dataclass(frozen=True, kw_only=True)
class _Sampled:
    """A volume on cubes along the patient's axes.

    Attributes:
        values: (D, H, W) in [0, 1].
        weights: (D, H, W), 1 where valid, else 0.
        grid: Axes along z, y, x.
    """

    values: Tensor
    weights: Tensor
    grid: VolumeGrid


def _pyramid(volume: Volume) -> list[_Sampled]:
    """The volume at each size of voxel; each from the one before, so that the full volume is read once."""
    levels = [_normalised(_even(volume, _LEVELS_MM[0]))]
    for size in _LEVELS_MM[1:]:
        levels.append(_even(levels[-1], size))
    return [_sampled(level) for level in levels]


def _even(volume: Volume, size_mm: float) -> Volume:
    return place_volume(volume, _even_grid(volume.grid, size_mm), step="")


def _normalised(volume: Volume) -> Volume:
    limits = _CT_RANGE
    if volume.modality != "CT":
        low, high = np.percentile(volume.values[volume.valid], _MR_PERCENTILES)
        limits = float(low), float(high)
    shown = np.clip((volume.values - limits[0]) / max(limits[1] - limits[0], _TINY), 0.0, 1.0)
    return replace(volume, values=shown.astype(np.float32))


def _sampled(volume: Volume) -> _Sampled:
    import torch

    weights = torch.from_numpy(volume.valid.astype(np.float32))
    return _Sampled(values=torch.from_numpy(volume.values) * weights, weights=weights, grid=volume.grid)


def _even_grid(grid: VolumeGrid, size_mm: float) -> VolumeGrid:
    """Cubes along z, y, x that cover the volume."""
    ends = np.array([(0, n - 1) for n in grid.shape], dtype=np.float64)
    corners = grid.places(np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3))
    low, high = corners.min(axis=0), corners.max(axis=0)
    counts = np.maximum(np.ceil((high - low) / size_mm).astype(int) + 1, 2)
    matrix = np.zeros((3, 4))
    matrix[[2, 1, 0], [0, 1, 2]] = size_mm
    matrix[:, 3] = (low + high - (counts - 1) * size_mm) / 2
    return grid_from_matrix(matrix, (int(counts[2]), int(counts[1]), int(counts[0])), grid.frame)


def _starts(prior: _Sampled, current: _Sampled) -> list[NDArray[np.float64]]:
    """Turns and shifts to begin with: no turn, and shifts that may be near."""
    onto_middle = prior.grid.centre - current.grid.centre
    reach = (1 - _LEAST_OVERLAP) * max(one.grid.spacing_mm[0] * one.grid.shape[0] for one in (prior, current)) / 2
    along = [np.array([0.0, 0.0, z]) for z in np.arange(-reach, reach + 1, _START_STEP_MM)]
    shifts = [np.zeros(3), onto_middle, _best_shift(prior, current), *(onto_middle + one for one in along)]
    return [np.concatenate([np.zeros(3), shift]) for shift in shifts]


def _best_shift(prior: _Sampled, current: _Sampled) -> NDArray[np.float64]:
    """Of all shifts, the one with the highest masked correlation: added to a place in the current, in mm."""
    from skimage.registration import phase_cross_correlation

    shift, *_ = phase_cross_correlation(  # type: ignore[no-untyped-call]
        current.values.numpy(),
        prior.values.numpy(),
        reference_mask=current.weights.numpy() > 0.5,
        moving_mask=prior.weights.numpy() > 0.5,
        overlap_ratio=_LEAST_OVERLAP,
    )
    # The prior's voxel i lies on the current's voxel i + shift.
    return np.asarray(prior.grid.places(np.zeros(3)) - current.grid.places(np.asarray(shift, dtype=np.float64)))


def _climb(
    start: NDArray[np.float64], middle: NDArray[np.float64], moving: _Sampled, fixed: _Sampled
) -> NDArray[np.float64]:
    """The turn and shift with the highest correlation near `start`; never one that is worse."""
    import torch

    before = _correlation(start, middle, moving, fixed)
    if before is None:
        return start
    size = fixed.grid.spacing_mm[0]
    units = torch.tensor([size / _RADIUS_MM] * 3 + [size] * 3, dtype=torch.float32)
    steps = torch.zeros(6, requires_grad=True)
    origin = torch.tensor(start, dtype=torch.float32)
    points, values, weights = _points(fixed)
    optimiser = torch.optim.LBFGS([steps], lr=1.0, max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        found, _ = _ncc(origin + steps * units, middle, points, values, weights, moving)
        # Where a step left nothing in common there is no correlation; the search for a step must see the worst.
        value = 1.0 - torch.nan_to_num(found, nan=-1.0)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    found = start + (steps * units).detach().numpy().astype(np.float64)
    after = _correlation(found, middle, moving, fixed)
    return found if after is not None and after > before else start


def _correlation(
    turn_and_shift: NDArray[np.float64], middle: NDArray[np.float64], moving: _Sampled, fixed: _Sampled
) -> float | None:
    """Correlation over what lies in both; None where that is too little, or one of the two is uniform."""
    import torch

    with torch.no_grad():
        points, values, weights = _points(fixed)
        parameters = torch.tensor(turn_and_shift, dtype=torch.float32)
        correlation, overlap = _ncc(parameters, middle, points, values, weights, moving)
    share = float(overlap) * float(fixed.weights.sum())
    if share < _LEAST_OVERLAP * min(float(fixed.weights.sum()), float(moving.weights.sum())):
        return None
    return None if torch.isnan(correlation) else float(correlation)


def _points(sampled: _Sampled) -> tuple[Tensor, Tensor, Tensor]:
    """Places (N, 3), values (N,) and weights (N,) of evenly chosen voxels."""
    import torch

    stride = max(1, round(np.cbrt(sampled.values.numel() / _MOST_POINTS)))
    axes = [np.arange(0, n, stride, dtype=np.float64) for n in sampled.values.shape]
    indices = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    chosen = np.s_[::stride, ::stride, ::stride]
    places = torch.from_numpy(sampled.grid.places(indices).astype(np.float32))
    return places, sampled.values[chosen].reshape(-1), sampled.weights[chosen].reshape(-1)


def _ncc(
    turn_and_shift: Tensor,
    middle: NDArray[np.float64],
    points: Tensor,
    values: Tensor,
    weights: Tensor,
    moving: _Sampled,
) -> tuple[Tensor, Tensor]:
    """Weighted correlation, nan where undefined, and the share of the fixed image's weights in the moving one."""
    import torch

    at = torch.tensor(middle, dtype=torch.float32)
    turned = (points - at) @ _rotation(turn_and_shift[:3]).T + at + turn_and_shift[3:]
    first = torch.tensor(moving.grid.places(np.zeros(3)), dtype=torch.float32)
    # The moving grid's axes are z, y, x and its voxels cubes; grid_sample wants x, y, z from -1 to 1 at the centres.
    cells = torch.tensor(tuple(moving.values.shape)[::-1], dtype=torch.float32) - 1
    where = 2 * (turned - first) / moving.grid.spacing_mm[0] / cells - 1
    image = torch.stack([moving.values, moving.weights])
    sampled = torch.nn.functional.grid_sample(
        image[None], where[None, :, None, None, :], mode="bilinear", padding_mode="zeros", align_corners=True
    )[0, :, :, 0, 0]
    inside = sampled[1]
    weight = weights * inside
    total = weight.sum().clamp_min(torch.finfo(torch.float32).tiny)
    seen = sampled[0] / inside.clamp_min(0.5)
    one = values - (weight * values).sum() / total
    other = seen - (weight * seen).sum() / total
    spread = (weight * one * one).sum() * (weight * other * other).sum()
    is_defined = spread > (_UNIFORM * total) ** 2
    # Replaced before the root, whose slope is infinite at zero.
    correlation = (weight * one * other).sum() / torch.where(is_defined, spread, 1.0).sqrt()
    return torch.where(is_defined, correlation, torch.nan), total / weights.sum()


def _rotation(vector: Tensor) -> Tensor:
    """(3, 3) of a rotation vector in radians, by the matrix exponential, which is smooth at zero."""
    import torch

    x, y, z = vector
    zero = torch.zeros_like(x)
    skew = torch.stack([torch.stack([zero, -z, y]), torch.stack([z, zero, -x]), torch.stack([-y, x, zero])])
    turn: Tensor = torch.linalg.matrix_exp(skew)
    return turn


def _matrix(turn_and_shift: NDArray[np.float64], middle: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(turn_and_shift[:3]).as_matrix()
    matrix[:3, 3] = middle + turn_and_shift[3:] - matrix[:3, :3] @ middle
    return matrix
