"""How are the parts of a pair of scenes read that is too large to be held at once?"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.geotiff.levels import PairLevels
from ingest.geotiff.source import read_source
from ingest.geotiff.warp import warp
from ingest.grid import Grid
from ingest.pairing import Pair
from ingest.pixels import AlignedPair, Pixels

#: Columns of a tile, and tiles that are worked on at a time.
_TILE, _THREADS = 2560, 2

_ROLES = ("prior", "current")


@dataclass(frozen=True, kw_only=True)
class SceneParts:
    """What the alignment of the whole found, applied to any rows of it; see `ingest.pixels.NativeParts`.

    Attributes:
        pair: Both scenes.
        grid: The whole at native resolution.
        shift_px: Rows and columns by which the prior's content is moved.
        levels: Stored values of both dates that are shown black and white.
        quality: Measured on the whole.
        steps_prior: What is done to the prior.
        steps_current: What is done to the current.
        warnings: Sentences a reader must see.
    """

    pair: Pair
    grid: Grid
    shift_px: tuple[float, float]
    levels: PairLevels
    quality: dict[str, float]
    steps_prior: tuple[str, ...]
    steps_current: tuple[str, ...]
    warnings: tuple[str, ...]

    def read(self, rows: slice) -> AlignedPair:
        """Prior and current in these rows of the native grid.

        In tiles, since around the tiles of a grid that is turned against the file's less of the file is read than
        around whole rows, and several at a time.

        Raises:
            TruncatedRaster: A file cannot be read any more.
        """
        part = self.grid.part(rows, slice(0, self.grid.width))
        dates = {role: (np.empty((3, *part.shape), np.float32), np.empty(part.shape, np.bool_)) for role in _ROLES}

        def fill(role: str, left: int) -> None:
            columns = slice(left, min(left + _TILE, part.width))
            values, valid = dates[role]
            values[:, :, columns], valid[:, columns] = self._shown(role, part.part(slice(0, part.height), columns))

        tiles = [(role, left) for left in range(0, part.width, _TILE) for role in _ROLES]
        with ThreadPoolExecutor(min(_THREADS, len(tiles))) as threads:
            # the first error of a tile is raised here
            list(threads.map(lambda tile: fill(*tile), tiles))
        steps = {"prior": self.steps_prior, "current": self.steps_current}
        prior, current = (
            Pixels(values=dates[role][0], valid=dates[role][1], grid=part, steps=steps[role]) for role in _ROLES
        )
        return AlignedPair(prior=prior, current=current, quality=self.quality, warnings=self.warnings)

    def _shown(self, role: str, tile: Grid) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(3, H, W) display values and (H, W) validity of one date on a part of the native grid."""
        is_prior = role == "prior"
        scene, levels = (self.pair.prior, self.levels.prior) if is_prior else (self.pair.current, self.levels.current)
        shift_px = self.shift_px if is_prior else (0.0, 0.0)
        values = warp(read_source(scene, tile), tile, shift_px=shift_px, threads=1)
        valid = np.asarray(np.isfinite(values).all(axis=0), dtype=np.bool_)
        return levels.show(values), valid
