"""How are the parts of a pair of scenes read that is too large to be held at once?"""

import itertools
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.acquisition import Acquisition
from ingest.geotiff.lane import Lane, open_lanes
from ingest.geotiff.levels import Levels, PairLevels
from ingest.geotiff.warp import has_value, is_on_lattice, warp
from ingest.geotiff.window import MARGIN
from ingest.grid import Grid
from ingest.pairing import Pair
from ingest.pixels import AlignedPair, Pixels

#: Columns of a tile, about.
_TILE = 2560

#: Threads that read, and parts that they may be ahead of who uses them.
_THREADS, _AHEAD = 2, 1

#: Blocks of files are this large, or a part of it.
_BLOCK = 512

_ROLES = ("prior", "current")


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """Both dates as they are shown in some rows: (3, H, W) values and (H, W) validity by role."""

    rows: slice
    values: dict[str, NDArray[np.float32]]
    valid: dict[str, NDArray[np.bool_]]

    @classmethod
    def empty(cls, rows: slice, width: int) -> "_Shown":
        """Room for what is not yet there."""
        shape = (rows.stop - rows.start, width)
        return cls(
            rows=rows,
            values={role: np.empty((3, *shape), np.float32) for role in _ROLES},
            valid={role: np.empty(shape, np.bool_) for role in _ROLES},
        )

    def view(self, role: str, rows: slice, columns: slice) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Values and validity of one date in rows and columns of the whole grid."""
        own = slice(rows.start - self.rows.start, rows.stop - self.rows.start)
        return self.values[role][:, own, columns], self.valid[role][own, columns]

    def copy_rows(self, other: "_Shown", role: str, rows: slice, columns: slice) -> None:
        """Takes over what another part shows of the same place."""
        values, valid = self.view(role, rows, columns)
        values[:], valid[:] = other.view(role, rows, columns)


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

    def read(self, parts: Sequence[slice]) -> Generator[AlignedPair]:
        """Prior and current in each of these slices of rows of the native grid; the next one is read ahead.

        Rows that the part before shows, too, are not read again, so that parts from top to bottom cost what the whole
        would. In tiles, since around the tiles of a grid that is turned against the file's less of the file is read
        than around whole rows. Each thread has columns of its own: the blocks that one part needs of those that the
        part before has read are mostly still in GDAL's cache.

        Raises:
            TruncatedRaster: A file cannot be read any more.
        """
        with open_lanes(_THREADS) as lanes:
            coming: deque[tuple[_Shown, list[Future[None]]]] = deque()
            last: _Shown | None = None
            for rows in parts:
                shown = _Shown.empty(rows, self.grid.width)
                filled = [lane.submit(self._fill, shown, last, lane, number) for number, lane in enumerate(lanes)]
                coming.append((shown, filled))
                last = shown
                if len(coming) > _AHEAD:
                    yield self._finished(*coming.popleft())
            while coming:
                yield self._finished(*coming.popleft())

    def _finished(self, shown: _Shown, filled: Sequence["Future[None]"]) -> AlignedPair:
        """A part when it is there."""
        for future in filled:
            future.result()
        grid = self.grid.part(shown.rows, slice(0, self.grid.width))
        steps = {"prior": self.steps_prior, "current": self.steps_current}
        prior, current = (
            Pixels(values=shown.values[role], valid=shown.valid[role], grid=grid, steps=steps[role]) for role in _ROLES
        )
        return AlignedPair(prior=prior, current=current, quality=self.quality, warnings=self.warnings)

    def _fill(self, shown: _Shown, last: _Shown | None, lane: Lane, number: int) -> None:
        """Puts the columns of one lane in place, in the rows of a part; `last` is the part before."""
        begin = shown.rows.start
        if last is not None and last.rows.start <= begin < last.rows.stop <= shown.rows.stop:
            begin = last.rows.stop
        part = self.grid.part(slice(begin, shown.rows.stop), slice(0, self.grid.width))
        for role in _ROLES:
            for columns in self._columns(role, part, number):
                if last is not None and begin > shown.rows.start:
                    shown.copy_rows(last, role, slice(shown.rows.start, begin), columns)
                if part.height:
                    values, valid = shown.view(role, slice(begin, shown.rows.stop), columns)
                    tile = part.part(slice(0, part.height), columns)
                    self._show_tile(role, lane, tile, values, valid)

    def _show_tile(
        self, role: str, lane: Lane, tile: Grid, shown: NDArray[np.float32], valid: NDArray[np.bool_]
    ) -> None:
        """Puts the (3, H, W) display values and (H, W) validity of one date on a part of the native grid in place."""
        scene, levels, shift_px = self._date(role)
        margin = 0 if self._is_own(role, tile) else MARGIN
        values = warp(lane.reader(scene).read(tile, margin=margin), tile, shift_px=shift_px, threads=1)
        valid[:] = has_value(values)
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

    def _columns(self, role: str, part: Grid, number: int) -> list[slice]:
        """Columns of the tiles of one date that a lane reads."""
        n_tiles = _THREADS * max(1, round(part.width / (_THREADS * _TILE)))
        edges = [round(part.width * tile / n_tiles) for tile in range(n_tiles + 1)]
        if self._is_own(role, part):
            # where blocks of the file end, so that no two lanes decode one block
            own = self._date(role)[0].grid
            first = round((own.affine[2] - part.affine[2]) / own.affine[0]) % _BLOCK
            edges[1:-1] = [first + round((edge - first) / _BLOCK) * _BLOCK for edge in edges[1:-1]]
            edges = [min(max(0, edge), part.width) for edge in edges]
        a_lane = n_tiles // _THREADS
        tiles = itertools.pairwise(edges[number * a_lane : (number + 1) * a_lane + 1])
        return [slice(left, right) for left, right in tiles if left < right]
