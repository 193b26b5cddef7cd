"""How does a prior radiograph come to lie on its current's grid, and how well does it fit?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.acquisition import Acquisition
from ingest.dicom.errors import AlignmentFailed, PriorUnreadable, Undecodable
from ingest.dicom.pixels import read_radiograph
from ingest.dicom.spacing import NONE
from ingest.errors import IngestError
from ingest.grid import Grid
from ingest.pairing import Pair
from ingest.pixels import AlignedPair, Pixels

#: Share of the current that must be covered by the prior, at least.
_LEAST_OVERLAP = 0.1
#: Below this share a reader is told that a part of the current has no prior.
_GOOD_OVERLAP = 0.9
#: Below this best correlation a reader is told that the two hardly look alike. Of 58 consecutive pairs of real chest
#: radiographs of one patient 2 % lie below, of 80 pairs of two patients 24 %: a hint, no proof of identity.
_POOR_CORRELATION = 0.5
#: Long side, in pixels, of the small copies on which the fit is measured.
_MEASURE_SIDE = 64
#: Largest shift that is looked for, as a share of the long side.
_MEASURE_REACH = 0.125
#: Shift, as a share of the long side, above which a reader is told of it; one in ten of those real pairs exceeds it.
_LARGE_SHIFT = 0.1


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """Position in the prior's pixels = scale * position in the current's pixels + offset, rows then columns."""

    scale: tuple[float, float]
    offset: tuple[float, float]
    step: str


def align_radiographs(pair: Pair) -> AlignedPair:
    """The prior on the current's grid, unrefined: nothing is turned, sheared or warped.

    Where both have a spacing of the same kind, millimetres are kept and the image centres laid on each other. Otherwise
    the prior's frame is scaled, alike in both directions, to fit into the current's. Outside the prior, `valid` is
    False. How well the anatomy fits is measured and, where it is poor, said.

    Raises:
        PriorUnreadable: The prior is gone or changed since it was indexed.
        AlignmentFailed: The two frames hardly overlap.
        IngestError: The current is gone or changed; the subclass says how.
    """
    current = _read_current(pair.current)
    prior = _read_prior(pair.prior)
    fit = _fit(pair.prior, pair.current)
    moved = place(prior, current.grid, scale=fit.scale, offset=fit.offset, step=fit.step)
    both = moved.valid & current.valid
    shares = {
        "valid_share_prior": float(moved.valid.mean()),
        "valid_share_current": float(current.valid.mean()),
        "valid_share_both": float(both.mean()),
        "overlap_share": float(both.sum() / max(int(current.valid.sum()), 1)),
        "scale": float(np.sqrt(fit.scale[0] * fit.scale[1])),
    }
    if shares["overlap_share"] < _LEAST_OVERLAP:
        raise AlignmentFailed()
    measured = measure_fit(moved.values[0], current.values[0], both)
    return AlignedPair(
        prior=moved,
        current=current,
        quality={**shares, **measured},
        warnings=_warnings(shares, measured, max(current.grid.shape), fit.step),
    )


def place(
    image: Pixels, grid: Grid, *, scale: tuple[float, float], offset: tuple[float, float], step: str = "placed"
) -> Pixels:
    """`image` seen on another grid: linear between pixels, smoothed first where it is shrunk.

    Invalid pixels lend no value to their neighbours. Onto its own grid the image comes back unchanged.

    Args:
        image: (1, H, W).
        grid: The grid to fill.
        scale: Pixels of `image` for one pixel of `grid`, rows then columns.
        offset: Position in `image` of the first pixel's centre of `grid`, rows then columns.
        step: Sentence for the record.
    """
    if scale == (1.0, 1.0) and offset == (0.0, 0.0) and image.grid.shape == grid.shape:
        return Pixels(values=image.values, valid=image.valid, grid=grid, steps=(*image.steps, step))
    from scipy import ndimage

    weight = image.valid.astype(np.float32)
    values = image.values[0] * weight
    # Where several pixels become one, their mean is wanted: a Gaussian of half the excess keeps what is below Nyquist.
    sigma = [max(0.0, (one - 1.0) / 2.0) for one in scale]
    if any(sigma):
        values = ndimage.gaussian_filter(values, sigma, mode="constant")
        weight = ndimage.gaussian_filter(weight, sigma, mode="constant")
    resample = {"offset": offset, "output_shape": grid.shape, "order": 1, "mode": "grid-constant", "cval": 0.0}
    # A one-dimensional matrix is a scale along each axis.
    values = ndimage.affine_transform(values, np.array(scale), **resample)
    weight = ndimage.affine_transform(weight, np.array(scale), **resample)
    valid = weight > 0.5
    shown = np.where(valid, values / np.maximum(weight, 0.5), 0.0)
    return Pixels(
        values=np.clip(shown, 0.0, 1.0).astype(np.float32)[np.newaxis],
        valid=valid,
        grid=grid,
        steps=(*image.steps, step),
    )


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


def _fit(prior: Acquisition, current: Acquisition) -> _Fit:
    """Scale and offset from the two grids alone; both have their origin in the image's centre."""
    kinds = (prior.attributes.get("spacing", NONE), current.attributes.get("spacing", NONE))
    to_prior = 1.0
    row_p, column_p = prior.grid.affine[4], prior.grid.affine[0]
    row_c, column_c = current.grid.affine[4], current.grid.affine[0]
    if kinds[0] == kinds[1] != NONE:
        step = f"placed by millimetres ({kinds[0]} spacing), centres on each other"
    else:
        # How much larger the prior must be drawn to fill the current's frame without leaving it.
        enlarge = min(
            current.grid.height * row_c / (prior.grid.height * row_p),
            current.grid.width * column_c / (prior.grid.width * column_p),
        )
        to_prior = 1.0 / enlarge
        step = "placed by fitting the frames: no spacing that both share"
    scale = (to_prior * row_c / row_p, to_prior * column_c / column_p)
    sizes = ((prior.grid.height, current.grid.height), (prior.grid.width, current.grid.width))
    offset = tuple(
        (side_p - 1) / 2 - one * (side_c - 1) / 2 for one, (side_p, side_c) in zip(scale, sizes, strict=True)
    )
    return _Fit(scale=scale, offset=(offset[0], offset[1]), step=step)


def _warnings(shares: dict[str, float], measured: dict[str, float], long_side: int, step: str) -> tuple[str, ...]:
    found = []
    if "fitting the frames" in step:
        found.append("The two images share no known scale: the prior was fitted into the current's frame.")
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
