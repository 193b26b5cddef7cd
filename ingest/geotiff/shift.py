"""By how much is one scene displaced against the other?"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Sides of a window in pixels, largest first; the first that fits twice into the shorter side is taken.
_WINDOWS = (256, 128, 64, 32)

#: Most windows that are measured.
_MOST_WINDOWS = 36

#: Least share of a window's pixels that must be valid in both dates.
_LEAST_VALID = 0.9

#: Windows within this distance of the median, in pixels, agree with it.
_AGREES_PX = 0.5

#: Fractions of a pixel that are resolved.
_UPSAMPLE = 20

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
        return self.n_windows >= 4 and self.agreement >= 0.6

    @property
    def is_worth_applying(self) -> bool:
        """True if the shift is believed, visible and of a size that registration explains."""
        return self.is_measured and LEAST_PX < float(np.hypot(self.rows, self.columns)) < MOST_PX


def estimate_shift(
    valid: NDArray[np.bool_], cut: Callable[[slice, slice], tuple[NDArray[np.float32], NDArray[np.float32]]]
) -> Shift:
    """Median displacement over windows spread over the shared valid ground, by phase correlation; nothing is resampled.

    Args:
        valid: (H, W) True where both dates are valid.
        cut: Gives the prior's and the current's grey values, NaN where invalid, in a window of rows and columns.

    Source: Guizar-Sicairos et al. 2008, Optics Letters 33(2), 156-158 (skimage.registration.phase_cross_correlation).
    """
    from skimage.registration import phase_cross_correlation

    found = []
    for rows, columns in _windows(valid):
        prior, current = (_flat(values) for values in cut(rows, columns))
        if prior.std() == 0 or current.std() == 0:
            continue
        moved, _, _ = phase_cross_correlation(current, prior, upsample_factor=_UPSAMPLE, normalization="phase")
        found.append(moved)
    if not found:
        return Shift(rows=0.0, columns=0.0, agreement=0.0, n_windows=0)
    shifts = np.asarray(found, dtype=np.float64)
    median = np.median(shifts, axis=0)
    agrees = np.hypot(*(shifts - median).T) <= _AGREES_PX
    centre = shifts[agrees].mean(axis=0) if agrees.any() else median
    return Shift(rows=float(centre[0]), columns=float(centre[1]), agreement=float(agrees.mean()), n_windows=len(shifts))


def _windows(valid: NDArray[np.bool_]) -> list[tuple[slice, slice]]:
    """Evenly spread windows that are valid in both dates, overlapping by half."""
    shorter = min(valid.shape)
    side = next((side for side in _WINDOWS if 2 * side <= shorter), None)
    if side is None:
        return []
    # sums over windows from one cumulative table
    table = np.pad(valid.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    found = []
    for top in range(0, valid.shape[0] - side + 1, side // 2):
        for left in range(0, valid.shape[1] - side + 1, side // 2):
            inside = table[top + side, left + side] - table[top, left + side] - table[top + side, left] + table[top, left]
            if inside >= _LEAST_VALID * side * side:
                found.append((slice(top, top + side), slice(left, left + side)))
    if len(found) > _MOST_WINDOWS:
        picks = np.linspace(0, len(found) - 1, _MOST_WINDOWS).round().astype(int)
        found = [found[pick] for pick in picks]
    return found


def _flat(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The window without its mean, invalid pixels at the mean, fading towards its edge."""
    finite = np.isfinite(values)
    mean = float(values[finite].mean()) if finite.any() else 0.0
    taper = np.hanning(values.shape[0])[:, None] * np.hanning(values.shape[1])[None, :]
    return np.where(finite, values - mean, 0.0) * taper
