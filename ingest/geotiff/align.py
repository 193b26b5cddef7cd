"""What do prior and current scene look like on one grid?"""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ingest.geotiff.bands import is_comparable
from ingest.geotiff.errors import AlignmentFailed, NoOverlap
from ingest.geotiff.shift import LEAST_WINDOWS, MOST_PX, Shift
from ingest.grid import Grid
from ingest.pairing import Pair
from ingest.pixels import AlignedPair, Pixels

if TYPE_CHECKING:
    from ingest.geotiff.warp import Source

#: Least share of the target's pixels that must be valid in both dates.
LEAST_VALID = 0.2


def align_scenes(pair: Pair) -> AlignedPair:
    """Prior and current on one north-up grid cropped to the ground that both show, with one stretch for both.

    The grid is the current's own wherever that is possible (`ingest.geotiff.lattice.choose_target`); the prior is
    warped once, with a constant displacement folded into that warp if enough windows agree on one. Cloud masks are not
    applied.

    `quality` holds `valid_share_prior`, `valid_share_current`, `valid_share_both` (of the grid), `shift_row_px` and
    `shift_col_px` (applied to the prior, downwards and to the right), `shift_agreement` (share of windows), `gsd_m`,
    `area_ha` (valid in both), and where it could be measured `residual_row_px`, `residual_col_px`: the displacement
    that is left.

    Raises:
        NoOverlap: Less than a fifth of the grid is valid in both dates.
        AlignmentFailed: The two scenes have other bands or value types.
        TruncatedRaster: A file cannot be read any more.
    """
    from ingest.geotiff.lattice import choose_target
    from ingest.geotiff.stretch import common_stretch, display
    from ingest.geotiff.warp import read_source, warp, warp_valid

    if not is_comparable(pair.prior, pair.current):
        raise AlignmentFailed(
            "Prior and current differ in bands, value type or product; compare one product with itself."
        )
    target = choose_target(pair.prior, pair.current)
    prior, current = read_source(pair.prior, target.grid), read_source(pair.current, target.grid)
    shared: NDArray[np.bool_] = warp_valid(prior, target.grid) & warp_valid(current, target.grid)
    grid, rough = _trim(target.grid, shared)
    values_current = warp(current, grid)
    found, applied, residual = _register(prior, values_current, grid, rough)

    values_prior = warp(prior, grid, shift_px=applied)
    valid_prior, valid_current = _valid(values_prior), _valid(values_current)
    both = valid_prior & valid_current
    if both.mean() < LEAST_VALID:
        raise NoOverlap(
            f"Only {both.mean():.0%} of the shared ground is valid in both scenes, at least {LEAST_VALID:.0%} is "
            "needed; choose another prior."
        )
    is_8_bit = pair.current.attributes["dtype"] == "uint8"
    low, high, stretched = common_stretch(values_prior[:, both], values_current[:, both], is_8_bit=is_8_bit)
    moved = (f"registration: moved by {applied[0]:+.2f} rows, {applied[1]:+.2f} columns",) if any(applied) else ()
    quality = {
        "valid_share_prior": float(valid_prior.mean()),
        "valid_share_current": float(valid_current.mean()),
        "valid_share_both": float(both.mean()),
        "shift_row_px": applied[0],
        "shift_col_px": applied[1],
        "shift_agreement": found.agreement,
        "gsd_m": math.sqrt(math.prod(target.gsd_m)),
        "area_ha": float(both.sum()) * math.prod(target.gsd_m) / 10_000,
    }
    if residual.is_measured:
        quality |= {"residual_row_px": residual.rows, "residual_col_px": residual.columns}
    return AlignedPair(
        prior=Pixels(
            values=display(values_prior, low, high),
            valid=valid_prior,
            grid=grid,
            steps=(*target.steps, *prior.steps, *moved, stretched),
        ),
        current=Pixels(
            values=display(values_current, low, high),
            valid=valid_current,
            grid=grid,
            steps=(*target.steps, *current.steps, stretched),
        ),
        quality=quality,
        warnings=(*pair.warnings, *target.warnings, *_shift_warnings(found, applied)),
    )


def _register(
    prior: "Source", current: NDArray[np.float32], grid: Grid, both: NDArray[np.bool_]
) -> tuple[Shift, tuple[float, float], Shift]:
    """Displacement found, the one to apply to the prior, and what is left after that; only small windows are warped.

    Args:
        prior: The prior as read.
        current: (C, H, W) values on `grid`.
        grid: The target.
        both: (H, W) True where both dates are valid.
    """
    from ingest.geotiff.shift import estimate_shift
    from ingest.geotiff.warp import warp_values

    grey_prior = replace(prior, values=prior.values.mean(axis=0, keepdims=True))
    grey_current = current.mean(axis=0)

    def measure(shift_px: tuple[float, float]) -> Shift:
        def cut(rows: slice, columns: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            warped = warp_values(grey_prior, _window(grid, rows, columns), shift_px=shift_px)
            return warped[0], grey_current[rows, columns]

        return estimate_shift(both, cut)

    found = measure((0.0, 0.0))
    if not found.is_worth_applying:
        return found, (0.0, 0.0), found
    applied = (found.rows, found.columns)
    return found, applied, measure(applied)


def _valid(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(H, W) True where every band has a value."""
    return np.asarray(np.isfinite(values).all(axis=0), dtype=np.bool_)


def _trim(grid: Grid, both: NDArray[np.bool_]) -> tuple[Grid, NDArray[np.bool_]]:
    """The grid and mask without the rows and columns at their edges where nothing is valid in both dates.

    Raises:
        NoOverlap: Nothing is valid in both dates.
    """
    rows, columns = np.flatnonzero(both.any(axis=1)), np.flatnonzero(both.any(axis=0))
    if rows.size == 0:
        raise NoOverlap("No pixel is valid in both scenes; choose another prior.")
    part = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    return _window(grid, *part), both[part]


def _window(grid: Grid, rows: slice, columns: slice) -> Grid:
    """Part of a north-up grid."""
    x, _, west, _, y, north = grid.affine
    return Grid(
        affine=(x, 0.0, west + columns.start * x, 0.0, y, north + rows.start * y),
        height=rows.stop - rows.start,
        width=columns.stop - columns.start,
        frame=grid.frame,
    )


def _shift_warnings(found: Shift, applied: tuple[float, float]) -> tuple[str, ...]:
    """What a reader must know about the registration."""
    if found.n_windows < LEAST_WINDOWS:
        return ("The overlap is too small or too uniform to measure whether prior and current are displaced.",)
    if not found.is_measured:
        return (f"Only {found.agreement:.0%} of the windows agree on a displacement; none was removed.",)
    distance = math.hypot(found.rows, found.columns)
    if not any(applied) and distance >= MOST_PX:
        return (
            f"Prior and current are displaced by {distance:.1f} pixels, more than registration explains; nothing was "
            "moved. Check the georeference of both files.",
        )
    return ()
