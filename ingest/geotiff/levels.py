"""Which stored values of prior and of current are shown black and white, band by band?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.geotiff.normalise import fit_normalisation
from ingest.geotiff.radiometry import radiometry_of, suspected_offset
from ingest.geotiff.stretch import SAMPLE, common_stretch, display
from ingest.pairing import Pair


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Stored values of one date that become 0 and 1.

    Attributes:
        low: (C, 1, 1) shown black.
        high: (C, 1, 1) shown white.
        steps: How they come about, for provenance.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    steps: tuple[str, ...]

    def show(self, values: NDArray[np.float32], *, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """(3, H, W) float32 in [0, 1] of (C, H, W) stored values, put into `out` if it is given; 0 where invalid."""
        return display(values, self.low, self.high, out=out)


@dataclass(frozen=True, kw_only=True)
class PairLevels:
    """Levels of both dates, such that equal reflectance is shown equal.

    Attributes:
        prior: Of the prior.
        current: Of the current.
        warnings: Sentences a reader must see.
    """

    prior: Levels
    current: Levels
    warnings: tuple[str, ...]


def choose_levels(
    pair: Pair, prior: NDArray[np.float32], current: NDArray[np.float32], *, normalise: bool
) -> PairLevels:
    """Offsets of the products are taken off, then one stretch serves both dates.

    Nothing is computed on the pixels for it but the one straight line that shows them: offset, normalisation and
    stretch are folded into it, so that each is applied once.

    Args:
        pair: Both scenes.
        prior: (C, N) stored values of pixels that both dates show.
        current: The same of the current.
        normalise: Also bring the prior to the light of the current (`ingest.geotiff.normalise`).
    """
    stride = max(1, prior.shape[1] // SAMPLE)
    prior, current = prior[:, ::stride], current[:, ::stride]
    one, two = (radiometry_of(scene) for scene in (pair.prior, pair.current))
    values_prior, values_current = prior + np.float32(one.offset), current + np.float32(two.offset)
    warnings = (*(found.warning for found in (one, two) if found.warning),)
    warnings += suspected_offset(pair, values_prior, values_current)
    gain, bias = np.ones(len(prior), np.float32), np.full(len(prior), one.offset, np.float32)
    steps: tuple[str, ...] = ()
    if normalise:
        line = fit_normalisation(values_prior, values_current)
        gain, bias = line.gain, line.gain * bias + line.bias
        values_prior = gain[:, None] * prior + bias[:, None]
        steps, warnings = line.steps, warnings + line.warnings
    is_8_bit = pair.current.attributes["dtype"] == "uint8"
    low, high, stretched = common_stretch(values_prior, values_current, is_8_bit=is_8_bit)
    ones = np.ones(len(current), np.float32)
    return PairLevels(
        prior=_levels(low, high, gain, bias, (*one.steps, *steps, stretched)),
        current=_levels(low, high, ones, ones * np.float32(two.offset), (*two.steps, stretched)),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _levels(
    low: float, high: float, gain: NDArray[np.float32], bias: NDArray[np.float32], steps: tuple[str, ...]
) -> Levels:
    black, white = ((np.float32(value) - bias) / gain for value in (low, high))
    return Levels(low=black[:, None, None], high=white[:, None, None], steps=steps)
