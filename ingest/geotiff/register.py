"""Which displacement is taken off a prior, and what do its pixels and the current's look like at native resolution?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ingest.geotiff.errors import AlignmentFailed
from ingest.geotiff.lane import Lane, open_lanes
from ingest.geotiff.shift import LEAST_WINDOWS, MOST_PX, Shift, estimate_shift, measure_shift, spread_windows
from ingest.geotiff.source import Source
from ingest.geotiff.warp import has_value, warp
from ingest.grid import Grid
from ingest.pairing import Pair


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
        both: (H, W) True where both dates are valid, in pixels of `factor` by `factor` native ones; the windows for
            registration are read at once, several at a time.
        factor: How much `both` is reduced.

    Raises:
        TruncatedRaster: A file cannot be read any more.
    """

    def __init__(self, pair: Pair, native: Grid, both: NDArray[np.bool_], factor: int) -> None:
        self._pair, self._native = pair, native
        self._known: dict[Grid, tuple[Source, NDArray[np.float32]]] = {}
        self._read([native.part(*window) for window in spread_windows(both, factor=factor)])

    def _read(self, windows: Sequence[Grid]) -> None:
        """Both dates of some windows, each date by a thread of its own."""
        with open_lanes(2) as (one, other):
            priors = [one.submit(self._read_prior, window, one) for window in windows]
            currents = [other.submit(self._read_current, window, other) for window in windows]
            for window, prior, current in zip(windows, priors, currents, strict=True):
                self._known[window] = prior.result(), current.result()

    def _read_prior(self, window: Grid, lane: Lane) -> Source:
        return lane.reader(self._pair.prior).read(window)

    def _read_current(self, window: Grid, lane: Lane) -> NDArray[np.float32]:
        return warp(lane.reader(self._pair.current).read(window), window)

    def sources(self, rows: slice, columns: slice) -> tuple[Grid, Source, NDArray[np.float32]]:
        """The window's grid, the prior around it, and the (C, H, W) current on it."""
        window = self._native.part(rows, columns)
        if window not in self._known:
            self._read([window])
        return window, *self._known[window]

    def grey(
        self, rows: slice, columns: slice, moved: tuple[float, float]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Means over the bands; see `ingest.geotiff.shift.Cut`."""
        window, prior, current = self.sources(rows, columns)
        return warp(_grey(prior), window, shift_px=moved)[0], current.mean(axis=0)

    def samples(
        self, both: NDArray[np.bool_], factor: int, *, moved: tuple[float, float]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(C, N) values of prior and current where both have one, from windows spread over the grid.

        The means of a reduced picture would not do: they differ less than the pixels, and would be stretched too far.

        Args:
            both: (H, W) True where both dates are valid, in pixels of `factor` by `factor` native ones.
            factor: How much `both` is reduced.
            moved: Rows and columns by which the prior is moved.
        """
        kept: tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]] = ([], [])
        everything = slice(0, both.shape[0] * factor), slice(0, both.shape[1] * factor)
        for rows, columns in spread_windows(both, factor=factor) or [everything]:
            window, source, current = self.sources(rows, columns)
            prior = warp(source, window, shift_px=moved)
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
    grey_prior, grey_current = _grey(prior, n_shown), current[:n_shown].mean(axis=0)

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


def _grey(source: Source, n_shown: int | None = None) -> Source:
    """The mean of the first bands as the only one."""
    return replace(source, values=source.values[:n_shown].mean(axis=0, keepdims=True, dtype=np.float32))
