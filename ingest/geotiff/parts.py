"""How are the parts of a pair of scenes read that is too large to be held at once?"""

from dataclasses import dataclass

import numpy as np

from ingest.geotiff.stretch import display
from ingest.geotiff.warp import read_source, warp
from ingest.grid import Grid
from ingest.pairing import Pair
from ingest.pixels import AlignedPair, Pixels


@dataclass(frozen=True, kw_only=True)
class SceneParts:
    """What the alignment of the whole found, applied to any rows of it; see `ingest.pixels.NativeParts`.

    Attributes:
        pair: Both scenes.
        grid: The whole at native resolution.
        shift_px: Rows and columns by which the prior's content is moved.
        low: Stored value that is shown black.
        high: Stored value that is shown white.
        quality: Measured on the whole.
        steps_prior: What is done to the prior.
        steps_current: What is done to the current.
        warnings: Sentences a reader must see.
    """

    pair: Pair
    grid: Grid
    shift_px: tuple[float, float]
    low: float
    high: float
    quality: dict[str, float]
    steps_prior: tuple[str, ...]
    steps_current: tuple[str, ...]
    warnings: tuple[str, ...]

    def read(self, rows: slice) -> AlignedPair:
        """Prior and current in these rows of the native grid.

        Raises:
            TruncatedRaster: A file cannot be read any more.
        """
        part = self.grid.part(rows, slice(0, self.grid.width))
        return AlignedPair(
            prior=self._shown(part, is_prior=True),
            current=self._shown(part, is_prior=False),
            quality=self.quality,
            warnings=self.warnings,
        )

    def _shown(self, part: Grid, *, is_prior: bool) -> Pixels:
        scene = self.pair.prior if is_prior else self.pair.current
        shift_px = self.shift_px if is_prior else (0.0, 0.0)
        values = warp(read_source(scene, part), part, shift_px=shift_px)
        valid = np.asarray(np.isfinite(values).all(axis=0), dtype=np.bool_)
        return Pixels(
            values=display(values, self.low, self.high),
            valid=valid,
            grid=part,
            steps=self.steps_prior if is_prior else self.steps_current,
        )
