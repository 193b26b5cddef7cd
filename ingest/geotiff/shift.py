"""By how much is one scene displaced against the other?"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Sides of a window in pixels; the largest that gives enough windows is taken.
_WINDOWS = (128, 64, 32)

#: Fewest windows whose median is believed, how many are aimed at, and most that are measured.
LEAST_WINDOWS, _ENOUGH_WINDOWS, _MOST_WINDOWS = 4, 16, 36

#: Least share of a window's pixels that must be valid in both dates.
_LEAST_VALID = 0.9

#: Windows within this distance of the median, in pixels, agree with it; this share of them must.
_AGREES_PX, _LEAST_AGREEMENT = 0.5, 0.5

#: Fractions of a pixel that are resolved.
_UPSAMPLE = 20

#: Standard deviations, in pixels, of the two Gaussians between which the texture lies that is compared.
_FINE, _COARSE = 1.0, 6.0

#: Smaller shifts are left alone, larger ones are no residual of registration. In pixels.
LEAST_PX, MOST_PX = 0.2, 5.0


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Displacement of a prior against its current.

    Attributes:
        rows: Pixels by which the prior's content must move down to lie on the current's; 0 if not measured.
        columns: The same, to the right.
        agreement: Share of the windows within half a pixel of the median; 0 if not measured.
        n_windows: Windows that could be measured.
    """

    rows: float
    columns: float
    agreement: float
    n_windows: int

    @property
    def is_measured(self) -> bool:
        """True if enough windows agree to believe the median."""
        return self.n_windows >= LEAST_WINDOWS and self.agreement >= _LEAST_AGREEMENT

    @property
    def is_worth_applying(self) -> bool:
        """True if the shift is believed, visible and of a size that registration explains."""
        return self.is_measured and LEAST_PX < float(np.hypot(self.rows, self.columns)) < MOST_PX


def estimate_shift(
    valid: NDArray[np.bool_],
    cut: Callable[[slice, slice], tuple[NDArray[np.float32], NDArray[np.float32]]],
    *,
    factor: int = 1,
) -> Shift:
    """Median displacement over windows spread over the shared valid ground, by cross-correlation; nothing is resampled.

    Each window is measured with and without whitening of its spectrum, and the way on which more windows agree
    is believed: whitening finds the displacement of noisy natural scenes in different light, and without it that of
    smooth ground with few edges.

    Args:
        valid: (H, W) True where both dates are valid, in pixels of `factor` by `factor` of those that are compared.
        cut: Gives the prior's and the current's grey values, NaN where invalid, in a window of rows and columns.
        factor: How much `valid` is reduced.

    Source: Guizar-Sicairos et al. 2008, Optics Letters 33(2), 156-158 (skimage.registration.phase_cross_correlation).
    """
    from skimage.registration import phase_cross_correlation
    from threadpoolctl import threadpool_limits

    found: dict[str | None, list[NDArray[np.float64]]] = {"phase": [], None: []}
    # the matrices are tiny: threads of the linear algebra only wait for each other (19 s against 0.1 s, measured)
    with threadpool_limits(1, user_api="blas"):
        for rows, columns in spread_windows(valid, factor=factor):
            prior, current = (_texture(values) for values in cut(rows, columns))
            if prior.std() == 0 or current.std() == 0:
                continue
            for normalization, shifts in found.items():
                moved, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
                    current, prior, upsample_factor=_UPSAMPLE, normalization=normalization
                )
                shifts.append(moved)
    return max((_agree(shifts) for shifts in found.values()), key=lambda shift: shift.agreement)


def _agree(shifts: list[NDArray[np.float64]]) -> Shift:
    """Mean of the windows that lie near their median, and their share."""
    if not shifts:
        return Shift(rows=0.0, columns=0.0, agreement=0.0, n_windows=0)
    table = np.asarray(shifts, dtype=np.float64)
    median = np.median(table, axis=0)
    agrees = np.hypot(*(table - median).T) <= _AGREES_PX
    centre = table[agrees].mean(axis=0) if agrees.any() else median
    return Shift(rows=float(centre[0]), columns=float(centre[1]), agreement=float(agrees.mean()), n_windows=len(table))


def spread_windows(valid: NDArray[np.bool_], *, factor: int = 1) -> list[tuple[slice, slice]]:
    """Evenly spread windows that are valid in both dates, overlapping by half, in pixels before `valid` was reduced."""
    # sums over windows from one cumulative table
    table = np.pad(valid.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    found: list[tuple[slice, slice]] = []
    for side in (max(2, native // factor) for native in _WINDOWS):
        tops = np.arange(0, valid.shape[0] - side + 1, side // 2)[:, None]
        lefts = np.arange(0, valid.shape[1] - side + 1, side // 2)[None, :]
        if tops.size == 0 or lefts.size == 0:
            continue
        bottoms, rights = tops + side, lefts + side
        inside = table[bottoms, rights] - table[tops, rights] - table[bottoms, lefts] + table[tops, lefts]
        corners = np.argwhere(inside >= _LEAST_VALID * side * side) * (side // 2)
        found = [(slice(int(top), int(top) + side), slice(int(left), int(left) + side)) for top, left in corners]
        if len(found) >= _ENOUGH_WINDOWS:
            break
    if len(found) > _MOST_WINDOWS:
        picks = np.linspace(0, len(found) - 1, _MOST_WINDOWS).round().astype(int)
        found = [found[pick] for pick in picks]
    return [(_scaled(rows, factor), _scaled(columns, factor)) for rows, columns in found]


def _scaled(part: slice, factor: int) -> slice:
    return slice(part.start * factor, part.stop * factor)


def _texture(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The window's texture without its large-scale brightness, invalid pixels at the mean, fading towards its edge."""
    from scipy.ndimage import gaussian_filter

    finite = np.isfinite(values)
    filled = np.where(finite, values, values[finite].mean() if finite.any() else 0.0).astype(np.float64)
    texture = gaussian_filter(filled, _FINE) - gaussian_filter(filled, _COARSE)
    taper = np.hanning(values.shape[0])[:, None] * np.hanning(values.shape[1])[None, :]
    return np.asarray(texture * taper, dtype=np.float64)
