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

#: Power of the magnitude by which the cross-spectrum is divided: 1 is phase correlation, which finds the displacement
#: of natural scenes in other light, 0 is cross-correlation, which finds that of smooth ground; between them both do.
_WHITENING = 0.7

#: Standard deviation, in cycles a pixel, of the Gaussian that weights the frequencies: the higher ones hold noise and
#: what the sensor aliased, which draws every displacement towards whole pixels.
_PASS = 0.15

#: Standard deviation, in pixels, of the Gaussian whose brightness is taken off a window.
_COARSE = 6.0

#: Steps, in pixels, in which the peak of a correlation is looked for, ten to either side.
_STEPS = (0.1, 0.01)

#: Smaller shifts are left alone, larger ones are no residual of registration. In pixels. A scene of Landsat 8 and one
#: of Sentinel-2 may be apart by 38 m, which is 4 pixels. Source: Storey et al. 2016, Remote Sensing of Environment 186.
LEAST_PX, MOST_PX = 0.2, 10.0

#: Gives the grey values of prior and current, NaN where invalid, in a window of rows and columns, with the prior's
#: content moved by so many rows and columns.
Cut = Callable[[slice, slice, tuple[float, float]], tuple[NDArray[np.float32], NDArray[np.float32]]]


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
    def distance(self) -> float:
        """Length in pixels."""
        return float(np.hypot(self.rows, self.columns))

    @property
    def is_worth_applying(self) -> bool:
        """True if the shift is believed and visible."""
        return self.is_measured and self.distance > LEAST_PX

    @property
    def is_beyond_registration(self) -> bool:
        """True if the shift is believed and larger than registration explains."""
        return self.is_measured and self.distance > MOST_PX


def estimate_shift(valid: NDArray[np.bool_], cut: Cut, *, factor: int = 1) -> Shift:
    """Displacement of the prior, measured twice: the second time from windows that are apart by less than a pixel.

    Windows fade towards their edges, which draws a displacement of several pixels towards zero.

    Args:
        valid: (H, W) True where both dates are valid, in pixels of `factor` by `factor` of those that are compared.
        cut: Gives both dates in a window.
        factor: How much `valid` is reduced.
    """
    rough = measure_shift(valid, cut, factor=factor)
    if not rough.is_measured or rough.is_beyond_registration:
        return rough
    whole = float(round(rough.rows)), float(round(rough.columns))
    return rough if whole == (0, 0) else measure_shift(valid, cut, factor=factor, moved=whole)


def measure_shift(
    valid: NDArray[np.bool_], cut: Cut, *, factor: int = 1, moved: tuple[float, float] = (0.0, 0.0)
) -> Shift:
    """Median displacement over windows spread over the shared valid ground, by phase correlation.

    Args:
        valid: (H, W) True where both dates are valid, in pixels of `factor` by `factor` of those that are compared.
        cut: Gives both dates in a window.
        factor: How much `valid` is reduced.
        moved: Rows and columns by which the prior is moved before; they are part of the result.

    Source: Kuglin and Hines 1975 (phase correlation); Stone et al. 2001, IEEE TGRS 39(10), 2235-2243 (low frequencies
    only, because of aliasing); Guizar-Sicairos et al. 2008, Optics Letters 33(2), 156-158 (fractions of a pixel).
    """
    from threadpoolctl import threadpool_limits

    textures: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    for rows, columns in spread_windows(valid, factor=factor):
        prior, current = (_texture(values) for values in cut(rows, columns, moved))
        if prior.any() and current.any():
            textures.append((prior, current))
    if not textures:
        return Shift(rows=0.0, columns=0.0, agreement=0.0, n_windows=0)
    # the matrices are tiny: threads of the linear algebra only wait for each other (19 s against 0.1 s, measured)
    with threadpool_limits(1, user_api="blas"):
        table = _displacements(*(np.stack(date) for date in zip(*textures, strict=True))) + moved
    median = np.median(table, axis=0)
    agrees = np.hypot(*(table - median).T) <= _AGREES_PX
    centre = table[agrees].mean(axis=0) if agrees.any() else median
    return Shift(rows=float(centre[0]), columns=float(centre[1]), agreement=float(agrees.mean()), n_windows=len(table))


def _displacements(prior: NDArray[np.float32], current: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, 2) rows and columns by which the content of each of (N, S, S) priors lies before that of its current."""
    from scipy import fft

    frequencies = fft.fftfreq(prior.shape[1])
    spectrum = fft.fft2(current) * np.conj(fft.fft2(prior))
    magnitude = np.abs(spectrum)
    spectrum /= np.maximum(magnitude, np.finfo(np.float32).tiny) ** _WHITENING
    spectrum *= np.exp(-(frequencies[:, None] ** 2 + frequencies**2) / (2 * _PASS**2)).astype(np.float32)
    peaks = _highest(fft.ifft2(spectrum).real).astype(np.float64)
    peaks -= prior.shape[1] * (peaks > prior.shape[1] // 2)
    for step in _STEPS:
        near = np.arange(-10, 11) * step
        # the inverse transform, at the places around each peak only
        rows, columns = (
            np.exp(2j * np.pi * (peaks[:, axis, None] + near)[:, :, None] * frequencies) for axis in (0, 1)
        )
        zoomed = (rows @ spectrum @ columns.transpose(0, 2, 1)).real
        peaks += near[_highest(zoomed)]
    return peaks


def _highest(surfaces: NDArray[np.floating]) -> NDArray[np.intp]:
    """(N, 2) row and column of the highest place of each of (N, H, W) surfaces."""
    flat = surfaces.reshape(len(surfaces), -1).argmax(axis=1)
    return np.stack(np.unravel_index(flat, surfaces.shape[1:]), axis=1)


def spread_windows(valid: NDArray[np.bool_], *, factor: int = 1) -> list[tuple[slice, slice]]:
    """Evenly spread windows that are valid in both dates, overlapping by half, in pixels before `valid` was reduced."""
    # sums over windows from one cumulative table
    table = np.pad(valid.cumsum(0, dtype=np.int32).cumsum(1, dtype=np.int32), ((1, 0), (1, 0)))
    for side in (max(2, native // factor) for native in _WINDOWS):
        tops = np.arange(0, valid.shape[0] - side + 1, side // 2)[:, None]
        lefts = np.arange(0, valid.shape[1] - side + 1, side // 2)[None, :]
        bottoms, rights = tops + side, lefts + side
        inside = table[bottoms, rights] - table[tops, rights] - table[bottoms, lefts] + table[tops, lefts]
        corners = np.argwhere(inside >= _LEAST_VALID * side * side) * (side // 2)
        if len(corners) >= _ENOUGH_WINDOWS:
            break
    if len(corners) > _MOST_WINDOWS:
        corners = corners[np.linspace(0, len(corners) - 1, _MOST_WINDOWS).round().astype(int)]
    return [
        (slice(top * factor, (top + side) * factor), slice(left * factor, (left + side) * factor))
        for top, left in corners.tolist()
    ]


def _texture(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The window without its large-scale brightness, nothing where it is invalid, fading towards its edge."""
    from scipy.ndimage import gaussian_filter

    finite = np.isfinite(values)
    filled = np.where(finite, values, values[finite].mean() if finite.any() else np.float32(0))
    texture = np.where(finite, filled - gaussian_filter(filled, _COARSE), np.float32(0))
    taper = np.hanning(values.shape[0])[:, None] * np.hanning(values.shape[1])[None, :]
    return np.asarray(texture * taper, dtype=np.float32)
