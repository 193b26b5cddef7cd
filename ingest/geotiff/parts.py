"""How are the parts of a pair of scenes read that is too large to be held at once?"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.acquisition import Acquisition
from ingest.geotiff.levels import Levels, PairLevels
from ingest.geotiff.source import read_source
from ingest.geotiff.warp import is_on_lattice, warp
from ingest.geotiff.window import MARGIN
from ingest.grid import Grid
from ingest.pairing import Pair
from ingest.pixels import AlignedPair, Pixels

#: Columns of a tile, and tiles that are worked on at a time.
_TILE, _THREADS = 2560, 2

#: Blocks of files are this wide, or a part of it; tiles that end where blocks end do not decode a block twice.
_BLOCK = 512

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
        around whole rows, and several at a time. Where the grid is the file's own, tiles are whole blocks of it.

        Raises:
            TruncatedRaster: A file cannot be read any more.
        """
        part = self.grid.part(rows, slice(0, self.grid.width))
        dates = {role: (np.empty((3, *part.shape), np.float32), np.empty(part.shape, np.bool_)) for role in _ROLES}

        def fill(role: str, columns: slice) -> None:
            values, valid = dates[role]
            values[:, :, columns], valid[:, columns] = self._shown(role, part.part(slice(0, part.height), columns))

        by_role = {role: self._columns(role, part) for role in _ROLES}
        tiles = [(role, columns) for role in _ROLES for columns in by_role[role]]
        tiles.sort(key=lambda tile: tile[1].start)
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
        scene, levels, shift_px = self._date(role)
        margin = 0 if self._is_own(role, tile) else MARGIN
        values = warp(read_source(scene, tile, margin=margin), tile, shift_px=shift_px, threads=1)
        valid = np.asarray(np.isfinite(values).all(axis=0), dtype=np.bool_)
        return levels.show(values), valid

    def _date(self, role: str) -> tuple[Acquisition, Levels, tuple[float, float]]:
        if role == "prior":
            return self.pair.prior, self.levels.prior, self.shift_px
        return self.pair.current, self.levels.current, (0.0, 0.0)

    def _is_own(self, role: str, part: Grid) -> bool:
        """True if the pixels of a part are the file's own, upright and not moved."""
        scene, _, shift_px = self._date(role)
        is_upright = scene.grid.affine[0] > 0 and scene.grid.affine[4] < 0
        return is_upright and not any(shift_px) and is_on_lattice(scene.grid, part)

    def _columns(self, role: str, part: Grid) -> list[slice]:
        """Columns of the tiles of one date."""
        first = 0
        if self._is_own(role, part):
            own = self._date(role)[0].grid
            first = round((own.affine[2] - part.affine[2]) / own.affine[0]) % _BLOCK - _BLOCK
        starts = [max(0, left) for left in range(first, part.width, _TILE) if left + _TILE > 0]
        return [slice(left, right) for left, right in zip(starts, [*starts[1:], part.width], strict=True)]
