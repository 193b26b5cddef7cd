"""How does a prior radiograph come to lie on its current's grid, and how well does it fit?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.acquisition import Acquisition
from ingest.dicom.body import body_weight
from ingest.dicom.errors import AlignmentFailed, PriorUnreadable, Undecodable
from ingest.dicom.pixels import read_radiograph
from ingest.dicom.place import drawn, place
from ingest.dicom.similarity import SIZE, Freedom, Similarity, register
from ingest.dicom.spacing import NONE
from ingest.errors import IngestError
from ingest.pairing import Pair
from ingest.pixels import AlignedPair, Pixels

#: Share of the current that must be covered by the prior, at least.
_LEAST_OVERLAP = 0.1
#: Below this share a reader is told that a part of the current has no prior.
_GOOD_OVERLAP = 0.9
#: Below this best correlation a reader is told that the two hardly look alike. Of 58 consecutive pairs of real chest
#: radiographs of one patient, aligned, none lies below, of 80 pairs of two patients 38 %: a hint, no proof of identity.
_POOR_CORRELATION = 0.6
#: Long side, in pixels, of the small copies on which the fit is measured.
_MEASURE_SIDE = 64
#: Largest shift that is looked for, as a share of the long side.
_MEASURE_REACH = 0.125
#: Shift, as a share of the long side, above which a reader is told of it; one in twenty of those pairs exceeds it.
_LARGE_SHIFT = 0.1
#: Distance, as a share of the side, between a place and its return by way of the exchanged pair's own fit, above which
#: neither fit is believed: about 2 cm on a film, a rib and its space, by which a fit can be off and look right. Of the
#: same pairs 5 % lie above, of those of two patients 28 %.
_LARGEST_INCONSISTENCY = 0.05
#: Shift in the current's pixels below which the prior is left as it was placed: resampling would only blur it.
_LEAST_SHIFT_PX = 0.5


@dataclass(frozen=True, kw_only=True)
class _Start:
    """Where the headers alone place the prior; both grids have their origin in the image's centre.

    Attributes:
        pixel_prior: Height and width of the prior's pixels in the current's units.
        pixel_current: Height and width of the current's pixels, in mm where they are known.
        freedom: What the fit may move: not the scale where it is known.
        step: Sentence for the record.
    """

    pixel_prior: tuple[float, float]
    pixel_current: tuple[float, float]
    freedom: Freedom
    step: str


@dataclass(frozen=True, kw_only=True)
class _Read:
    """Both images of a pair on their own grids, their start, and what the fit looks at.

    Attributes:
        side: Side of the square that both copies show, in the current's units.
        copies: Values and weight of the prior, values and weight of the current, each (SIZE, SIZE).
    """

    prior: Pixels
    current: Pixels
    start: _Start
    side: float
    copies: tuple[NDArray[np.float32], ...]


def align_radiographs(pair: Pair, *, device: str = "cpu") -> AlignedPair:
    """The prior on the current's grid: turned, shifted and, where its true scale is not known, scaled; never warped.

    Where both have a spacing of the same kind, millimetres are kept, so that a finding keeps its size. Otherwise the
    prior's frame is scaled, alike in both directions, to fit into the current's, and the anatomy decides on the rest;
    the scale is recorded. A fit that does not bring the two nearer, reaches a limit, or disagrees with that of the
    exchanged pair is not used: the prior stays as the headers place it, `quality["alignment_failed"]` is 1, and a
    warning that begins with ALIGNMENT_FAILED says why. Outside the prior, `valid` is False.

    Args:
        pair: A pair of radiographs.
        device: Torch device of the fit; one that is not there is torch's error.

    Raises:
        PriorUnreadable: The prior is gone or changed since it was indexed.
        AlignmentFailed: The two frames hardly overlap.
        IngestError: The current is gone or changed; the subclass says how.
    """
    (aligned,) = align_batch([pair], device=device)
    if isinstance(aligned, IngestError):
        raise aligned
    return aligned


def align_batch(pairs: Sequence[Pair], *, device: str = "cpu") -> list[AlignedPair | IngestError]:
    """As `align_radiographs`, the fits computed together; a pair that cannot be used gives its error in its place.

    All images of the batch are in memory at once.
    """
    outcomes = [_read_or_error(pair) for pair in pairs]
    fits = iter(_registered([one for one in outcomes if isinstance(one, _Read)], device))
    return [_aligned(one, next(fits)) if isinstance(one, _Read) else one for one in outcomes]


def measure_fit(prior: NDArray[np.float32], current: NDArray[np.float32], valid: NDArray[np.bool_]) -> dict[str, float]:
    """Normalised cross-correlation as they lie, the best one within a small shift, and that shift in pixels.

    Measured on copies whose long side is 64 pixels: the change that is looked for is small there, the body is not. A
    figure that is not defined, as for a uniform image, is left out.

    Args:
        prior: (H, W), already on the current's grid.
        current: (H, W).
        valid: (H, W), True where both mean something.
    """
    long_side = max(current.shape)
    fixed, moving = _small(current), _small(prior)
    mask = _small(valid.astype(np.float32)) > 0.5
    reach = round(_MEASURE_REACH * _MEASURE_SIDE)
    found: dict[tuple[int, int], float] = {}
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            value = _correlation(fixed, moving, mask, down, right)
            if value is not None:
                found[down, right] = value
    if (0, 0) not in found:
        return {}
    # Of equal shifts the smallest: a uniform border must not look like a displacement.
    best = max(found, key=lambda shift: (round(found[shift], 6), -(shift[0] ** 2 + shift[1] ** 2)))
    return {
        "correlation": found[0, 0],
        "best_correlation": found[best],
        "residual_px": float(np.hypot(*best) * long_side / _MEASURE_SIDE),
    }


def _small(image: NDArray[np.float32]) -> NDArray[np.float32]:
    from skimage.transform import resize

    long_side = max(image.shape)
    shape = tuple(max(1, round(_MEASURE_SIDE * side / long_side)) for side in image.shape)
    small: NDArray[np.float32] = resize(image, shape, order=1, anti_aliasing=True)  # type: ignore[no-untyped-call]
    return small


def _correlation(
    fixed: NDArray[np.float32], moving: NDArray[np.float32], mask: NDArray[np.bool_], down: int, right: int
) -> float | None:
    """Correlation with `moving` shifted, over pixels valid in both places; None where it is not defined."""
    height, width = fixed.shape
    here = np.s_[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
    there = np.s_[max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)]
    both = mask[here] & mask[there]
    if both.sum() < 0.25 * mask.sum() or both.sum() < 2:
        return None
    one, other = fixed[here][both], moving[there][both]
    one, other = one - one.mean(), other - other.mean()
    norm = float(np.sqrt((one * one).sum() * (other * other).sum()))
    return float((one * other).sum()) / norm if norm > np.finfo(np.float32).eps else None


def _read_current(acquisition: Acquisition) -> Pixels:
    try:
        return read_radiograph(acquisition)
    except OSError as error:
        raise Undecodable("The current image is not on disk any more; index the archive again.") from error


def _read_prior(acquisition: Acquisition) -> Pixels:
    try:
        return read_radiograph(acquisition)
    except (OSError, IngestError) as error:
        raise PriorUnreadable() from error


def _read_or_error(pair: Pair) -> _Read | IngestError:
    try:
        current, prior = _read_current(pair.current), _read_prior(pair.prior)
        start = _start(pair.prior, pair.current)
        images, pixels = (prior, current), (start.pixel_prior, start.pixel_current)
        side = max(
            length * size
            for image, pixel in zip(images, pixels, strict=True)
            for length, size in zip(image.grid.shape, pixel, strict=True)
        )
        prior_copy, current_copy = (
            drawn(image, pixel=pixel, side=side, size=SIZE) for image, pixel in zip(images, pixels, strict=True)
        )
        shown = current_copy[1].sum()
        if (prior_copy[1] & current_copy[1]).sum() < _LEAST_OVERLAP * shown or not shown:
            raise AlignmentFailed()
    except IngestError as error:
        return error
    copies = (prior_copy[0], body_weight(*prior_copy), current_copy[0], body_weight(*current_copy))
    return _Read(prior=prior, current=current, start=start, side=side, copies=copies)


def _registered(pairs: Sequence[_Read], device: str) -> list[Similarity]:
    """Fits in the order of the pairs; those of one freedom are one batch."""
    fits: dict[int, Similarity] = {}
    freedoms: tuple[Freedom, ...] = ("rigid", "similarity")
    for freedom in freedoms:
        places = [index for index, one in enumerate(pairs) if one.start.freedom == freedom]
        if places:
            stacks = [np.stack([pairs[index].copies[part] for index in places]) for part in range(4)]
            fits.update(zip(places, register(*stacks, freedom=freedom, device=device), strict=True))
    return [fits[index] for index in range(len(pairs))]


def _aligned(pair: _Read, fit: Similarity) -> AlignedPair:
    failure = _failure(fit)
    moves = _largest_move(pair, fit) >= _LEAST_SHIFT_PX
    matrix, offset = _in_pixels(pair, fit if failure is None and moves else None)
    step = _describe(pair.start, matrix, offset, fit if failure is None else None)
    moved = place(pair.prior, pair.current.grid, matrix=matrix, offset=offset, step=step)
    both = moved.valid & pair.current.valid
    shares = {
        "valid_share_prior": float(moved.valid.mean()),
        "valid_share_current": float(pair.current.valid.mean()),
        "valid_share_both": float(both.mean()),
        "overlap_share": float(both.sum() / max(int(pair.current.valid.sum()), 1)),
        "scale": float(np.sqrt(np.linalg.det(matrix))),
    }
    fitted = {
        "alignment_failed": float(failure is not None),
        "fitted_scale": fit.scale,
        "fitted_turn_deg": fit.turn_deg,
        "fitted_shift": float(np.hypot(*fit.shift)),
        "fit_inconsistency": fit.inconsistency,
        "local_correlation_before": fit.before,
        "local_correlation_after": fit.after,
    }
    measured = measure_fit(moved.values[0], pair.current.values[0], both)
    return AlignedPair(
        prior=moved,
        current=pair.current,
        quality={**shares, **fitted, **measured},
        warnings=_warnings(shares, measured, max(pair.current.grid.shape), pair.start, failure),
    )


def _failure(fit: Similarity) -> str | None:
    """Why a fit is not used; None if it is."""
    if not fit.within_limits:
        return "they would have to be turned, scaled or shifted further than two views of one body are apart"
    if fit.inconsistency > _LARGEST_INCONSISTENCY:
        return f"prior to current and current to prior disagree by {fit.inconsistency:.0%} of the picture"
    # Of two that lie well, interpolation alone may cost a little.
    if fit.after < 0.99 * fit.before:
        return "no turn, shift or scale brings them nearer than they lie"
    return None


def _describe(start: _Start, matrix: NDArray[np.float64], offset: tuple[float, float], fit: Similarity | None) -> str:
    """Sentence for the record, from which the transform can be repeated."""
    (a, b), (c, d) = matrix
    used = "the fit was not used" if fit is None else f"{start.freedom} fit, turn {fit.turn_deg:.2f} degrees"
    return (
        f"{start.step}; {used}; row and column in the prior = "
        f"[{a:.6f} {b:.6f}; {c:.6f} {d:.6f}] x those in the current + [{offset[0]:.3f} {offset[1]:.3f}]"
    )


def _in_pixels(pair: _Read, fit: Similarity | None) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """The fit, or without one the start, as matrix and offset from the current's pixels to the prior's."""
    inner = np.eye(2) if fit is None else fit.matrix
    shift = np.zeros(2) if fit is None else np.array(fit.shift) * pair.side
    current, prior = np.array(pair.start.pixel_current), np.array(pair.start.pixel_prior)
    matrix = inner * current[None, :] / prior[:, None]
    middle_current = (np.array(pair.current.grid.shape) - 1) / 2
    middle_prior = (np.array(pair.prior.grid.shape) - 1) / 2
    offset = middle_prior + shift / prior - matrix @ middle_current
    return matrix, (float(offset[0]), float(offset[1]))


def _largest_move(pair: _Read, fit: Similarity) -> float:
    """How far the fit moves a corner of the current away from where the start has it, in the current's pixels."""
    height, width = pair.current.grid.shape
    current = np.array(pair.start.pixel_current)
    corners = np.array([(down, right) for down in (-height / 2, height / 2) for right in (-width / 2, width / 2)])
    moved = (corners * current) @ fit.matrix.T + np.array(fit.shift) * pair.side
    return float(np.hypot(*(moved / current - corners).T).max())


def _start(prior: Acquisition, current: Acquisition) -> _Start:
    kinds = (prior.attributes.get("spacing", NONE), current.attributes.get("spacing", NONE))
    row_p, column_p = prior.grid.affine[4], prior.grid.affine[0]
    row_c, column_c = current.grid.affine[4], current.grid.affine[0]
    if kinds[0] == kinds[1] != NONE:
        return _Start(
            pixel_prior=(row_p, column_p),
            pixel_current=(row_c, column_c),
            freedom="rigid",
            step=f"placed by millimetres ({kinds[0]} spacing), centres on each other",
        )
    # How much larger the prior must be drawn to fill the current's frame without leaving it.
    enlarge = min(
        current.grid.height * row_c / (prior.grid.height * row_p),
        current.grid.width * column_c / (prior.grid.width * column_p),
    )
    return _Start(
        pixel_prior=(row_p * enlarge, column_p * enlarge),
        pixel_current=(row_c, column_c),
        freedom="similarity",
        step="placed by fitting the frames: no spacing that both share",
    )


def _warnings(
    shares: dict[str, float], measured: dict[str, float], long_side: int, start: _Start, failure: str | None
) -> tuple[str, ...]:
    found = []
    if failure is not None:
        found.append(
            f"{AlignmentFailed.code}: the two are shown as their headers place them, not aligned, because {failure}."
        )
    if start.freedom == "similarity":
        found.append(
            "The two images share no known scale: the prior was scaled to the current, so sizes cannot be compared."
        )
    if shares["overlap_share"] < _GOOD_OVERLAP:
        found.append(f"The prior covers {shares['overlap_share']:.0%} of the current; nothing is known of the rest.")
    if not measured:
        found.append("How well the two fit could not be measured: one of them is uniform.")
        return tuple(found)
    if measured["best_correlation"] < _POOR_CORRELATION:
        found.append(
            f"The two hardly look alike (correlation {measured['best_correlation']:.2f}): "
            "check that they show one person and one view."
        )
    elif measured["residual_px"] > _LARGE_SHIFT * long_side:
        found.append(f"The anatomy is shifted by about {measured['residual_px']:.0f} pixels between the two.")
    return tuple(found)
