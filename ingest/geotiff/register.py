"""Which displacement is taken off a prior, and what do its pixels and the current's look like at native resolution?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ingest.geotiff.errors import AlignmentFailed
from ingest.geotiff.lane import Lane, open_lanes
from ingest.geotiff.shift import LEAST_WINDOWS, MOST_PX, Shift, estimate_shift, measure_shift, spread_windows
from ingest.geotiff.source import Source
from ingest.geotiff.warp import has_value, warp
from ingest.grid import Grid
from ingest.pairing import Pair

#: Native pixels to each side of the pixel around which values are taken where no window is valid.
_AROUND = 512


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What was measured of a pair's displacement, in native pixels.

    Attributes:
        found: The displacement.
        applied: Rows and columns by which the prior is moved; zeros where the displacement is not to be removed.
        residual: What is left after that.
    """

    found: Shift
    applied: tuple[float, float]
    residual: Shift

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know of it."""
        if self.found.n_windows < LEAST_WINDOWS:
            return ("The overlap is too small or too uniform to measure whether prior and current are displaced.",)
        if not self.found.is_measured:
            return (f"Only {self.found.agreement:.0%} of the windows agree on a displacement; none was removed.",)
        return ()

    @property
    def steps(self) -> tuple[str, ...]:
        """What is done to the prior."""
        rows, columns = self.applied
        return (f"registration: moved by {rows:+.2f} rows, {columns:+.2f} columns",) if any(self.applied) else ()


class NativeWindows:
    """Prior and current in windows of the native grid, each read from disk once.

    Args:
        pair: Both scenes.
        native: The whole grid.
        both: (H, W) True where both dates are valid, in pixels of `factor` by `factor` native ones.
        factor: How much `both` is reduced.

    Raises:
        TruncatedRaster: A file cannot be read any more.
    """

    def __init__(self, pair: Pair, native: Grid, both: NDArray[np.bool_], factor: int) -> None:
        self._pair, self._native, self._factor = pair, native, factor
        self._known = self._read([native.part(*window) for window in spread_windows(both, factor=factor)])
        self._warped = cache(self._warp)

    def _read(self, windows: Sequence[Grid]) -> dict[Grid, tuple[Source, NDArray[np.float32]]]:
        """The prior around each window, and the (C, H, W) current on it; each date by a thread of its own."""
        with open_lanes(2) as (one, other):
            sources = [
                (one.submit(self._read_prior, one, window), other.submit(self._read_current, other, window))
                for window in windows
            ]
            read = [(prior.result(), current.result()) for prior, current in sources]
        return dict(zip(windows, read, strict=True))

    def _read_prior(self, lane: Lane, window: Grid) -> Source:
        return lane.reader(self._pair.prior).read(window)

    def _read_current(self, lane: Lane, window: Grid) -> NDArray[np.float32]:
        return warp(lane.reader(self._pair.current).read(window), window)

    def _warp(self, window: Grid, moved: tuple[float, float]) -> NDArray[np.float32]:
        """(C, H, W) values of the prior in a window, moved by rows and columns."""
        return warp(self._known[window][0], window, shift_px=moved)

    def _around(self, row: int, column: int) -> Grid:
        """A part of the native grid around a reduced pixel."""
        spans = [
            slice(max(0, int(at) * self._factor - _AROUND), min(size, int(at) * self._factor + _AROUND))
            for at, size in zip((row, column), self._native.shape, strict=True)
        ]
        return self._native.part(*spans)

    def grey(
        self, rows: slice, columns: slice, moved: tuple[float, float]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Means over the bands of one of the windows; see `ingest.geotiff.shift.Cut`."""
        window = self._native.part(rows, columns)
        return self._warped(window, moved).mean(axis=0), self._known[window][1].mean(axis=0)

    def samples(
        self, both: NDArray[np.bool_], *, moved: tuple[float, float]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(C, N) values of prior and current where both have one, from all windows; without any from around a pixel.

        The means of a reduced picture would not do: they differ less than the pixels, and would be stretched too far.

        Args:
            both: (H, W) True where both dates are valid, reduced; somewhere at least.
            moved: Rows and columns by which the prior is moved.
        """
        if not self._known:
            self._known = self._read([self._around(*np.argwhere(both)[np.count_nonzero(both) // 2])])
        kept: tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]] = ([], [])
        for window, (_, current) in self._known.items():
            prior = self._warped(window, moved)
            usable = has_value(prior) & has_value(current)
            kept[0].append(prior[:, usable])
            kept[1].append(current[:, usable])
        return np.concatenate(kept[0], axis=1), np.concatenate(kept[1], axis=1)


def register(
    prior: Source,
    current: NDArray[np.float32],
    grid: Grid,
    both: NDArray[np.bool_],
    windows: NativeWindows | None,
    *,
    factor: int,
    n_shown: int,
) -> Registration:
    """Measures by how much the prior is displaced, whether that is removed, and what is left then.

    Only small windows are warped, at native resolution: a reduced picture would hide a displacement of a pixel.

    Args:
        prior: The prior as read.
        current: (C, H, W) values on `grid`.
        grid: The target.
        both: (H, W) True where both dates are valid.
        windows: Where the target is reduced, the way to native pixels; else None.
        factor: How much the target is reduced.
        n_shown: Display bands, the first ones of both.

    Raises:
        AlignmentFailed: The two are displaced by more than registration explains.
    """
    grey_prior = replace(prior, values=prior.values[:n_shown].mean(axis=0, keepdims=True, dtype=np.float32))
    grey_current = current[:n_shown].mean(axis=0)

    def cut(rows: slice, columns: slice, moved: tuple[float, float]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if windows is not None:
            return windows.grey(rows, columns, moved)
        return warp(grey_prior, grid.part(rows, columns), shift_px=moved)[0], grey_current[rows, columns]

    found = estimate_shift(both, cut, factor=factor)
    if found.is_beyond_registration:
        raise AlignmentFailed(
            f"Prior and current are displaced by {found.distance:.1f} pixels, more than the {MOST_PX:g} that "
            "registration explains; check the georeference of both files, or choose another prior."
        )
    if not found.is_worth_applying:
        return Registration(found=found, applied=(0.0, 0.0), residual=found)
    applied = (found.rows, found.columns)
    total = measure_shift(both, cut, factor=factor, moved=applied)
    residual = replace(total, rows=total.rows - applied[0], columns=total.columns - applied[1])
    return Registration(found=found, applied=applied, residual=residual)
