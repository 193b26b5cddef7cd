"""How does a prior volume come to lie on its current's grid, and which slices of the two are compared?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ingest.acquisition import Acquisition
from ingest.dicom.align import measure_fit
from ingest.dicom.errors import MixedModalities, NoOverlap, PriorUnreadable, Undecodable
from ingest.dicom.rigid import correlation_as_placed, register_rigid
from ingest.dicom.volume import Volume
from ingest.dicom.volume_group import slice_files
from ingest.dicom.volume_place import place_volume
from ingest.dicom.volume_read import read_volume
from ingest.errors import IngestError
from ingest.pairing import Pair
from ingest.pixels import AlignedPair, Pixels

#: Slices of each volume that a model is shown, at even distances across the part that both show.
N_SLICES = 9
#: Share of the smaller volume that the other must cover, at least.
_LEAST_OVERLAP = 0.1
#: Below this share of the current a reader is told that a part of it has no prior.
_GOOD_OVERLAP = 0.9
#: Below this correlation a reader is told that the two hardly look alike.
_POOR_CORRELATION = 0.8
#: Centre and width of the window in Hounsfield units where the current's header has none: that for soft tissue.
_SOFT_TISSUE = (40.0, 400.0)
#: Share of an MR volume's values, in percent, that is left outside at each end of its display range.
_TAIL_PERCENT = 0.5
#: Values of an MR volume from which its display range is taken, at most.
_MOST_VALUES = 2_000_000
#: Attributes of an indexed volume that change how tissue looks, and what they are.
_TAKEN = {"contrast_agent": "contrast agent", "kernel": "reconstruction kernel", "weighting": "weighting"}


@dataclass(frozen=True, kw_only=True)
class AlignedVolumes:
    """Prior and current on the current's grid.

    Attributes:
        prior: The earlier volume, resampled.
        current: The later one, never resampled.
        quality: Measured figures of the alignment.
        warnings: Sentences a reader must see.
    """

    prior: Volume
    current: Volume
    quality: dict[str, float]
    warnings: tuple[str, ...] = ()


def align_volume_pair(pair: Pair) -> AlignedPair:
    """Matched slices of two indexed volumes, read from disk and aligned (`align_volumes`, `slice_pairs`).

    Raises:
        PriorUnreadable: A file of the prior is gone or changed since it was indexed.
        MixedModalities, NoOverlap, AlignmentFailed: The two do not fit together.
        IngestError: A file of the current is gone or changed; the subclass says how.
    """
    try:
        current = read_volume(slice_files(pair.current))
    except OSError as error:
        raise Undecodable("A file of the current volume is not on disk any more; index the archive again.") from error
    try:
        prior = read_volume(slice_files(pair.prior))
    except (OSError, IngestError) as error:
        raise PriorUnreadable() from error
    shown = slice_pairs(align_volumes(prior, current))
    return replace(shown, warnings=(*_differences(pair.prior, pair.current), *shown.warnings))


def align_volumes(prior: Volume, current: Volume) -> AlignedVolumes:
    """The prior on the current's grid.

    Where both name one frame of reference, places in mm are taken as they are. Where they name two, or none, the prior
    is turned and shifted onto the current first. It is never scaled or warped: that can shrink the change looked for.

    Raises:
        MixedModalities: One is CT and the other MR.
        NoOverlap: In the common frame of reference the two lie apart.
        AlignmentFailed: Without a common frame no turn and shift brings them together.

    Source: DICOM PS3.3 C.7.4.1 (frame of reference).
    """
    if prior.modality != current.modality:
        raise MixedModalities()
    warnings = []
    measured: dict[str, float] = {}
    moved = None
    if share_frame(prior, current):
        step = "placed by the common frame of reference"
        correlation = correlation_as_placed(prior, current)
    else:
        found = register_rigid(prior, current)
        moved, correlation = found.matrix, found.correlation
        step = f"registered: turned by {found.rotation_deg:.2f} degrees, shifted by {found.shift_mm:.1f} mm"
        measured = {"rotation_deg": found.rotation_deg, "shift_mm": found.shift_mm}
        if found.correlation_before is not None:
            measured["correlation_before"] = found.correlation_before
        warnings.append("The two have no common frame of reference; the prior was turned and shifted onto the current.")
    placed = place_volume(prior, current.grid, moved=moved, step=step)
    both = placed.valid & current.valid
    shares = _shares(prior, placed, current, both)
    if shares["overlap_share_of_smaller"] < _LEAST_OVERLAP:
        raise NoOverlap()
    if shares["overlap_share"] < _GOOD_OVERLAP:
        warnings.append(f"The prior covers {shares['overlap_share']:.0%} of the current; nothing is known of the rest.")
    if correlation is None:
        warnings.append("How well the two fit could not be measured: one of them is uniform.")
    else:
        measured["correlation"] = correlation
        if correlation < _POOR_CORRELATION:
            warnings.append(
                f"The two hardly look alike (correlation {correlation:.2f}): check that they show one person."
            )
    return AlignedVolumes(prior=placed, current=current, quality={**shares, **measured}, warnings=tuple(warnings))


def share_frame(one: Volume, other: Volume) -> bool:
    """True if both name the same frame of reference; two that name none have none in common."""
    return bool(one.grid.frame) and one.grid.frame == other.grid.frame


def slice_pairs(aligned: AlignedVolumes, *, n_slices: int = N_SLICES) -> AlignedPair:
    """What a model of two images is shown of two volumes: slices at equal places, first to last, as pairs.

    The places are at even distances, in mm along the normal of the current's slices, across the part that both volumes
    show; each is that of the nearest slice of the current, so that the current is never resampled. Both sides of all
    pairs have one window: CT by the current's own (else that for soft tissue), MR, whose numbers mean nothing by
    themselves, by each volume's own range over the common part.

    Returns:
        The middle pair, which stands for all in figures and previews, with all of them as `slices`.
    """
    both = aligned.prior.valid & aligned.current.valid
    chosen = matched_slices(both, n_slices)
    ranges = [_display_range(volume, aligned.current, both) for volume in (aligned.prior, aligned.current)]
    pairs = tuple(
        AlignedPair(
            prior=_shown(aligned.prior, index, ranges[0]),
            current=_shown(aligned.current, index, ranges[1]),
            quality={},
        )
        for index in chosen
    )
    middle = pairs[len(pairs) // 2]
    fit = measure_fit(middle.prior.values[0], middle.current.values[0], middle.prior.valid & middle.current.valid)
    residual = {"residual_px": fit["residual_px"]} if fit else {}
    return AlignedPair(
        prior=middle.prior,
        current=middle.current,
        quality={**aligned.quality, **residual, "slices": float(len(pairs))},
        warnings=aligned.warnings,
        slices=pairs,
    )


def matched_slices(both: NDArray[np.bool_], n_slices: int) -> tuple[int, ...]:
    """Indices of at most `n_slices` slices at even distances among those that both volumes show.

    A slice counts if at least half as much of it is shown by both as of the slice that is shown best.

    Args:
        both: (D, H, W), True where both volumes mean something.
        n_slices: How many are wanted.
    """
    covered = both.reshape(len(both), -1).mean(axis=1)
    shown = np.flatnonzero((covered > 0) & (covered >= covered.max() / 2))
    if len(shown) == 0:
        return ()
    middles = (np.arange(n_slices) + 0.5) / n_slices * len(shown)
    return tuple(int(shown[one]) for one in sorted({int(middle) for middle in middles}))


def _differences(prior: Acquisition, current: Acquisition) -> list[str]:
    """Sentences about how the two were taken differently, so that tissue looks different without any change."""
    found = []
    for key, what in _TAKEN.items():
        there, here = prior.attributes.get(key, "none"), current.attributes.get(key, "none")
        if there != here:
            found.append(f"The {what} differs (prior: {there}, current: {here}): tissue may look different unchanged.")
    return found


def _shares(prior: Volume, placed: Volume, current: Volume, both: NDArray[np.bool_]) -> dict[str, float]:
    voxel = [abs(float(np.linalg.det(one.grid.matrix[:3, :3]))) for one in (prior, current)]
    common = float(both.sum()) * voxel[1]
    sizes = (float(prior.valid.sum()) * voxel[0], float(current.valid.sum()) * voxel[1])
    return {
        "valid_share_prior": float(placed.valid.mean()),
        "valid_share_current": float(current.valid.mean()),
        "valid_share_both": float(both.mean()),
        "overlap_share": common / max(sizes[1], voxel[1]),
        "overlap_share_of_smaller": common / max(min(sizes), min(voxel)),
    }


def _display_range(volume: Volume, current: Volume, both: NDArray[np.bool_]) -> tuple[float, float]:
    """Values shown as 0 and as 1."""
    if volume.modality == "CT":
        centre, width = current.window or _SOFT_TISSUE
        return centre - width / 2, centre + width / 2
    seen = volume.values[both]
    low, high = np.percentile(seen[:: max(1, len(seen) // _MOST_VALUES)], (_TAIL_PERCENT, 100 - _TAIL_PERCENT))
    return float(low), float(high)


def _shown(volume: Volume, index: int, limits: Sequence[float]) -> Pixels:
    low, high = limits
    shown = np.clip((volume.values[index] - low) / max(high - low, np.finfo(np.float32).tiny), 0.0, 1.0)
    valid = volume.valid[index]
    shown[~valid] = 0.0
    x, y, z = volume.grid.places((np.array(volume.grid.shape, dtype=np.float64) - 1) / 2 * (0, 1, 1) + (index, 0, 0))
    return Pixels(
        values=shown.astype(np.float32)[np.newaxis],
        valid=np.asarray(valid),
        grid=volume.grid.slice_grid(),
        steps=(
            *volume.steps,
            f"slice {index + 1} of {volume.grid.shape[0]}, centre at {x:.1f}, {y:.1f}, {z:.1f} mm",
            f"shown from {low:g} to {high:g}",
        ),
    )
