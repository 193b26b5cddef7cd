"""How are the parts of a pair of scenes read that is too large to be held at once?"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

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

#: Blocks of files are this large, or a part of it; tiles that end where blocks end do not decode a block twice.
_BLOCK = 512

#: Rows that the next part may begin before the end of this one, which are not read again then.
_SHARED = 128

_ROLES = ("prior", "current")


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """Both dates as they are shown in some rows: (3, H, W) values and (H, W) validity by role."""

    rows: slice
    values: dict[str, NDArray[np.float32]]
    valid: dict[str, NDArray[np.bool_]]

    def part(self, start: int, stop: int) -> "_Shown":
        """Some of the rows, as views."""
        own = slice(start - self.rows.start, stop - self.rows.start)
        return _Shown(
            rows=slice(start, stop),
            values={role: values[:, own] for role, values in self.values.items()},
            valid={role: valid[own] for role, valid in self.valid.items()},
        )


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
    _last: list[_Shown] = field(default_factory=list, init=False, repr=False, compare=False)

    def read(self, rows: slice) -> AlignedPair:
        """Prior and current in these rows of the native grid.

        Rows that the call before has read are not read again, so that strips from top to bottom cost what the whole
        would. In tiles, since around the tiles of a grid that is turned against the file's less of the file is read
        than around whole rows, and several at a time. Where the grid is the file's own, parts are whole blocks of it.

        Raises:
            TruncatedRaster: A file cannot be read any more.
        """
        stop = self._block_end(rows.stop)
        shape = (stop - rows.start, self.grid.width)
        shown = _Shown(
            rows=slice(rows.start, stop),
            values={role: np.empty((3, *shape), np.float32) for role in _ROLES},
            valid={role: np.empty(shape, np.bool_) for role in _ROLES},
        )
        begin = rows.start
        for last in self._last:
            if last.rows.start <= begin < last.rows.stop <= stop:
                known, into = last.part(begin, last.rows.stop), shown.part(begin, last.rows.stop)
                for role in _ROLES:
                    into.values[role][:], into.valid[role][:] = known.values[role], known.valid[role]
                begin = last.rows.stop
        self._last.clear()
        self._fill(shown.part(begin, stop))
        if rows.stop < self.grid.height:
            # a view, which keeps all of it until the next part is there: whoever goes on to that one still has this
            self._last.append(shown.part(max(rows.start, rows.stop - _SHARED), stop))
        asked = shown.part(rows.start, rows.stop)
        grid = self.grid.part(rows, slice(0, self.grid.width))
        steps = {"prior": self.steps_prior, "current": self.steps_current}
        prior, current = (
            Pixels(values=asked.values[role], valid=asked.valid[role], grid=grid, steps=steps[role]) for role in _ROLES
        )
        return AlignedPair(prior=prior, current=current, quality=self.quality, warnings=self.warnings)

    def _fill(self, shown: _Shown) -> None:
        """Reads all of some rows."""
        if shown.rows.stop == shown.rows.start:
            return
        part = self.grid.part(shown.rows, slice(0, self.grid.width))
        tiles = [(role, columns) for role in _ROLES for columns in self._columns(role, part)]
        tiles.sort(key=lambda tile: tile[1].start)

        def fill(tile: tuple[str, slice]) -> None:
            role, columns = tile
            into = shown.values[role][:, :, columns], shown.valid[role][:, columns]
            self._show_tile(role, part.part(slice(0, part.height), columns), *into)

        with ThreadPoolExecutor(min(_THREADS, len(tiles))) as threads:
            # the first error of a tile is raised here
            list(threads.map(fill, tiles))

    def _block_end(self, row: int) -> int:
        """Where the blocks of the current end that this row is in; the row itself where the grid is not its own."""
        own = self.pair.current.grid
        if not self._is_own("current", self.grid):
            return row
        first = round((self.grid.affine[5] - own.affine[5]) / own.affine[4])
        return min(self.grid.height, -(-(first + row) // _BLOCK) * _BLOCK - first)

    def _show_tile(self, role: str, tile: Grid, shown: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Puts the (3, H, W) display values and (H, W) validity of one date on a part of the native grid in place."""
        scene, levels, shift_px = self._date(role)
        margin = 0 if self._is_own(role, tile) else MARGIN
        values = warp(read_source(scene, tile, margin=margin), tile, shift_px=shift_px, threads=1)
        np.isfinite(values).all(axis=0, out=valid)
        levels.show(values, out=shown)

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
