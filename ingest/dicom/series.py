"""Which slices of one series are a volume, in which order, and why are others none?"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ingest.dicom.errors import (
    GantryTilt,
    MixedOrientations,
    SlicesDuplicated,
    SlicesMissing,
    SpacingUneven,
    TooFewSlices,
)
from ingest.dicom.slices import Slice
from ingest.dicom.volume import VolumeGrid, grid_from_matrix
from ingest.errors import IngestError

#: Slices that make a volume, at least: two steps, so that their evenness can be seen.
MIN_SLICES = 3
#: Difference of direction cosines up to which two slices are parallel: 0.1 degrees.
_PARALLEL = 2e-3
#: Difference of pixel spacings, in mm, up to which they are one.
_SAME_SPACING = 1e-3
#: Share of the step between slices by which one may be off its even place; two nearer than that share one place.
_UNEVEN_SHARE = 0.1
#: Least distance of two places, in mm: headers are written with two or three decimals.
_SAME_PLACE_MM = 0.01
#: Angles in degrees from which slices count as tilted, and up to which they can be used.
_TILT_DEG, _LARGEST_TILT_DEG = 0.5, 45.0

Key = TypeVar("Key", bound=tuple[object, ...])


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Slices that form one regular volume, ordered along the normal of their planes.

    Attributes:
        slices: In the order of the volume's first axis.
        grid: Where their voxels lie; sheared where the gantry was tilted.
        contrast: What all slices share of `Slice.contrast`, joined.
        warnings: Sentences a reader must see.
    """

    slices: tuple[Slice, ...]
    grid: VolumeGrid
    contrast: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RefusedSlices:
    """Slices of a series that form no volume, and why."""

    slices: tuple[Slice, ...]
    error: IngestError


def stack_series(slices: Iterable[Slice]) -> tuple[tuple[Stack, ...], tuple[RefusedSlices, ...]]:
    """Volumes of one series, and the slices that belong to none; every slice is in exactly one of the two.

    Slices are ordered by where they lie, never by number or name. The rules by which a series becomes several stacks:

    1. Slices of another size, spacing, frame of reference or orientation are a stack of their own.
    2. So are slices whose values mean something else: image type, echo time, inversion time, b-value, time point,
       kernel.
    3. Where places still repeat, the stack is split by the first of gradient direction, trigger time and acquisition
       number that leaves no place twice.

    A stack is refused where it has fewer than three slices, a place twice, a gap, uneven steps, or slices shifted
    sideways; a tilted gantry shifts them all alike and is kept as it is, with a warning. The order of the input does
    not matter.
    """
    ordered = sorted(slices, key=lambda one: (one.number, one.uid, one.frame))
    if not ordered:
        return (), ()
    stacks: list[Stack] = []
    refused: list[RefusedSlices] = []
    planes = _by_plane(ordered)
    for plane in planes:
        for alike in _split(plane, lambda one: one.contrast):
            for run in _runs(alike):
                try:
                    stacks.append(_stack(run, several_planes=len(planes) > 1, first=ordered[0].number))
                except IngestError as error:
                    refused.append(RefusedSlices(slices=tuple(run), error=error))
    return tuple(stacks), tuple(refused)


def _by_plane(slices: Sequence[Slice]) -> list[list[Slice]]:
    planes: list[list[Slice]] = []
    for one in slices:
        for plane in planes:
            if _same_plane(plane[0], one):
                plane.append(one)
                break
        else:
            planes.append([one])
    return planes


def _same_plane(one: Slice, other: Slice) -> bool:
    return (
        (one.rows, one.columns, one.frame_of_reference) == (other.rows, other.columns, other.frame_of_reference)
        and max(abs(a - b) for a, b in zip(one.orientation, other.orientation, strict=True)) < _PARALLEL
        and max(abs(a - b) for a, b in zip(one.spacing, other.spacing, strict=True)) < _SAME_SPACING
    )


def _split(slices: Sequence[Slice], key: Callable[[Slice], Key]) -> list[list[Slice]]:
    parts: dict[Key, list[Slice]] = defaultdict(list)
    for one in slices:
        parts[key(one)].append(one)
    return list(parts.values())


def _runs(slices: Sequence[Slice]) -> list[list[Slice]]:
    """The slices as they are if no place repeats, else split by the first kind of run that leaves none twice."""
    if _repeats(slices):
        for kind in range(len(slices[0].runs)):
            # Bound by a default, as the name would mean its last value.
            parts = _split(slices, lambda one, kind=kind: (one.runs[kind],))  # type: ignore[misc]
            if len(parts) > 1 and not any(_repeats(part) for part in parts):
                return parts
    return [list(slices)]


def _heights(slices: Sequence[Slice]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Positions (N, 3), the planes' common normal (3,), and how far along it each slice lies (N,), in mm."""
    orientation = np.mean([one.orientation for one in slices], axis=0)
    normal = np.cross(orientation[:3], orientation[3:])
    normal /= np.linalg.norm(normal)
    positions = np.array([one.position for one in slices], dtype=np.float64)
    return positions, normal, positions @ normal


def _repeats(slices: Sequence[Slice]) -> bool:
    _, _, heights = _heights(slices)
    return bool((np.diff(np.sort(heights)) < _SAME_PLACE_MM).any())


def _stack(slices: Sequence[Slice], *, several_planes: bool, first: int) -> Stack:
    """The slices as a volume; `first` is the lowest number of the whole series."""
    if len(slices) < MIN_SLICES:
        raise MixedOrientations() if several_planes else TooFewSlices()
    positions, normal, heights = _heights(slices)
    order = np.argsort(heights, kind="stable")
    ordered = [slices[index] for index in order]
    positions, heights = positions[order], heights[order]
    _check_gaps(heights)
    # The line of least squares: headers may be rounded to a tenth of a millimetre.
    indices = np.arange(len(ordered), dtype=np.float64)
    step, origin = np.polyfit(indices, positions, 1)
    grid = _grid(ordered[0], step, origin, len(ordered))
    _check_evenness(positions - origin - np.outer(indices, step), normal, grid)
    kinds = dict.fromkeys(part for one in ordered for part in one.contrast if part)
    return Stack(
        slices=tuple(ordered),
        grid=grid,
        contrast="; ".join(kinds),
        warnings=tuple(_warnings(ordered[0], grid, normal, first)),
    )


def _check_gaps(heights: NDArray[np.float64]) -> None:
    """Refuses a place that occurs twice, and steps that are multiples of the shortest."""
    steps = np.diff(heights)
    if (steps < max(_UNEVEN_SHARE * float(np.median(steps)), _SAME_PLACE_MM)).any():
        raise SlicesDuplicated()
    # Where most slices are gone the median is a gap itself, so what counts as one step is taken from the shortest.
    step = float(np.median(steps[steps < (1 + _UNEVEN_SHARE) * steps.min()]))
    counts = np.rint(steps / step)
    is_multiple = np.abs(steps - counts * step) <= _UNEVEN_SHARE * step
    if (counts > 1).any() and is_multiple.all():
        missing = int(counts.sum()) - len(counts)
        raise SlicesMissing(
            f"{missing} of {missing + len(heights)} slices are missing within the series ({step:.4g} mm from slice to "
            "slice); send the whole series again from its source."
        )


def _check_evenness(off: NDArray[np.float64], normal: NDArray[np.float64], grid: VolumeGrid) -> None:
    """Refuses slices that are not where even steps put them; `off` (N, 3) is by how much, in mm."""
    along = off @ normal
    if np.abs(along).max() > _UNEVEN_SHARE * grid.spacing_mm[0]:
        raise SpacingUneven()
    sideways = np.linalg.norm(off - np.outer(along, normal), axis=1).max()
    if sideways > max(grid.spacing_mm[1:]):
        raise SpacingUneven(
            f"Slices are shifted sideways by up to {sideways:.4g} mm, each by another amount, so they are no regular "
            "volume; reconstruct the series on one axis."
        )
    if grid.tilt_deg > _LARGEST_TILT_DEG:
        raise GantryTilt()


def _grid(first: Slice, step: NDArray[np.float64], origin: NDArray[np.float64], n_slices: int) -> VolumeGrid:
    orientation = np.array(first.orientation, dtype=np.float64)
    along_row = orientation[:3] / np.linalg.norm(orientation[:3])
    along_column = orientation[3:] / np.linalg.norm(orientation[3:])
    matrix = np.stack([step, along_column * first.spacing[0], along_row * first.spacing[1], origin], axis=1)
    return grid_from_matrix(matrix, (n_slices, first.rows, first.columns), first.frame_of_reference)


def _warnings(one: Slice, grid: VolumeGrid, normal: NDArray[np.float64], first: int) -> list[str]:
    found = []
    step = grid.spacing_mm[0]
    if grid.tilt_deg > _TILT_DEG:
        found.append(f"The gantry was tilted: slices are shifted against each other by {grid.tilt_deg:.1f} degrees.")
    elif abs(one.tilt) > _TILT_DEG and np.abs(normal).max() > np.cos(np.radians(_TILT_DEG)):
        found.append(
            f"The header says that the gantry was tilted by {abs(one.tilt):.1f} degrees, the places of the slices say "
            "that it was not; the places were believed."
        )
    if one.stated_step > 0 and abs(step - one.stated_step) > _UNEVEN_SHARE * one.stated_step:
        found.append(f"The slices lie {step:.4g} mm apart, though the header says {one.stated_step:.4g} mm.")
    if first > 1:
        found.append(f"The slices' numbers begin at {first}: slices may be missing at one end.")
    if not grid.frame:
        found.append("The series names no frame of reference.")
    return found
