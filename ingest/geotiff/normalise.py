"""How are the values of a prior brought to the light and air of its current, without what really changed?"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Most pixels that take part, evenly spread.
_SAMPLE: Final = 200_000

#: Fewest pixels that an unchanged ground must have left for the fit to be believed.
_LEAST: Final = 500

#: Passes of the reweighting, and below which change of the correlations it has settled.
_PASSES, _SETTLED = 30, 1e-4

#: Probability of no change from which on a pixel counts as invariant.
_INVARIANT: Final = 0.9


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """A straight line for each band.

    Attributes:
        gain: (C,) factors of the prior's values.
        bias: (C,) what is added after that.
        n_pixels: Invariant pixels that they were fitted on; 0 where there were too few and nothing is done.
    """

    gain: NDArray[np.float32]
    bias: NDArray[np.float32]
    n_pixels: int

    @property
    def steps(self) -> tuple[str, ...]:
        """For provenance."""
        if not self.n_pixels:
            return ()
        lines = ", ".join(f"{gain:.5g} x {bias:+.5g}" for gain, bias in zip(self.gain, self.bias, strict=True))
        return (f"relative normalisation on {self.n_pixels} invariant pixels, band by band: {lines}",)

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence where nothing could be done."""
        if self.n_pixels:
            return ()
        return ("Too few pixels are unchanged to normalise the prior's brightness; it was left as it is.",)

    def apply(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """(C, H, W) values of the prior in the current's light."""
        return np.asarray(values * self.gain[:, None, None] + self.bias[:, None, None], dtype=np.float32)


def fit_normalisation(prior: NDArray[np.float32], current: NDArray[np.float32]) -> Normalisation:
    """Lines through the pixels that did not change, found by iteratively reweighted multivariate alteration detection.

    The canonical variates of the two dates are invariant to any linear change of the bands, and so the pixels in which
    they agree are found whatever the light was; those that differ lose their weight. The lines are orthogonal
    regressions, since both dates have noise.

    Args:
        prior: (C, N) values of pixels that both dates show.
        current: The same of the current.

    Source: Canty and Nielsen 2008, Remote Sensing of Environment 112(3), 1025-1036, doi 10.1016/j.rse.2007.07.013.
    """
    stride = max(1, prior.shape[1] // _SAMPLE)
    one, two = (values[:, ::stride].astype(np.float64) for values in (prior, current))
    n_bands = len(one)
    nothing = Normalisation(gain=np.ones(n_bands, np.float32), bias=np.zeros(n_bands, np.float32), n_pixels=0)
    if one.shape[1] < _LEAST or min(one.std(axis=1).min(), two.std(axis=1).min()) == 0:
        return nothing
    unchanged = _unchanged(one, two)
    kept = unchanged > _INVARIANT
    if kept.sum() < _LEAST:
        return nothing
    gains, biases = zip(*(_line(x[kept], y[kept]) for x, y in zip(one, two, strict=True)), strict=True)
    if min(gains) <= 0:
        return nothing
    return Normalisation(
        gain=np.asarray(gains, dtype=np.float32), bias=np.asarray(biases, dtype=np.float32), n_pixels=int(kept.sum())
    )


def _unchanged(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) probability that nothing changed in each pixel."""
    from scipy.linalg import eigh
    from scipy.stats import chi2

    n_bands = len(one)
    both = np.concatenate([one, two])
    weight = np.ones(both.shape[1])
    # pixels weigh the more the less they differ, so the weighted variance of what did not change is too small by this;
    # with less than three bands the weights would otherwise shrink from pass to pass
    steps = np.linspace(0, n_bands + 20 * np.sqrt(n_bands), 4096)
    narrowing = np.trapezoid(chi2.sf(steps, n_bands) ** 2, steps) / n_bands
    before = np.zeros(n_bands)
    for _ in range(_PASSES):
        mean = np.average(both, axis=1, weights=weight)
        centred = both - mean[:, None]
        covariance = (weight * centred) @ centred.T / weight.sum()
        # bands that are copies of each other leave the covariance without an inverse
        covariance += np.eye(2 * n_bands) * 1e-9 * np.trace(covariance)
        first, second = covariance[:n_bands, :n_bands], covariance[n_bands:, n_bands:]
        across = covariance[:n_bands, n_bands:]
        squared, a = eigh(across @ np.linalg.solve(second, across.T), first)
        correlation = np.sqrt(np.clip(squared, 0, 1))
        b = np.linalg.solve(second, across.T @ a)
        b /= np.sqrt(np.maximum(np.einsum("ij,ik,kj->j", b, second, b), 1e-30))
        variates = a.T @ centred[:n_bands] - b.T @ centred[n_bands:]
        variance = np.maximum(2 * (1 - correlation) / narrowing, 1e-12)
        weight = np.asarray(chi2.sf((variates**2 / variance[:, None]).sum(axis=0), n_bands))
        if weight.sum() < _LEAST or np.abs(correlation - before).max() < _SETTLED:
            break
        before = correlation
    return weight


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Gain and bias of the line y = gain x + bias with the least distances at right angles to it."""
    (xx, xy), (_, yy) = np.cov(x, y)
    gain = (yy - xx + np.hypot(yy - xx, 2 * xy)) / (2 * xy) if xy > 0 else 0.0
    return float(gain), float(y.mean() - gain * x.mean())
