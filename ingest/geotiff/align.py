"""What do prior and current scene look like on one grid?"""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ingest.geotiff.bands import is_comparable
from ingest.geotiff.errors import AlignmentFailed, NoOverlap, TooCloudy
from ingest.geotiff.shift import LEAST_WINDOWS, MOST_PX, Shift
from ingest.grid import Grid
from ingest.pairing import Pair
from ingest.pixels import AlignedPair, Pixels

if TYPE_CHECKING:
    from ingest.geotiff.warp import Source

#: Most pixels of a pair that is held at once: 4096 x 4096 with three float32 bands is 200 MB a date.
MOST_PIXELS = 4096 * 4096

#: Least share of the target's pixels that must be valid in both dates.
LEAST_VALID = 0.2

#: Least share of the ground valid in both dates that the quality layers must see in both.
LEAST_CLEAR = 0.2


def align_scenes(pair: Pair, *, most_pixels: int = MOST_PIXELS) -> AlignedPair:
    """Prior and current on one north-up grid cropped to the ground that both show, with one stretch for both.

    The grid is the current's own wherever that is possible (`ingest.geotiff.lattice.choose_target`); the prior is
    warped once, with a constant displacement folded into that warp if enough windows agree on one. What a quality layer
    beside a scene hides (`ingest.geotiff.quality_layer`) counts as not valid. A pair too large to be held at once is
    reduced, and its `native` gives the parts at native resolution.

    Where both scenes name the bands for it, areas are measured beside (`ingest.geotiff.measure`).

    `quality` holds `valid_share_prior`, `valid_share_current`, `valid_share_both` (of the grid), `clear_share_both` (of
    what is valid in both, where a scene has a quality layer), `shift_row_px` and
    `shift_col_px` (applied to the prior, downwards and to the right), `shift_agreement` (share of windows), `gsd_m`,
    `area_ha` (valid in both), and where it could be measured `residual_row_px`, `residual_col_px`: the displacement
    that is left.

    Args:
        pair: Two scenes of one place.
        most_pixels: Pixels of the shared ground above which it is not held at once.

    Raises:
        NoOverlap: Less than a fifth of the grid is valid in both dates.
        TooCloudy: Less than a fifth of that is clear in both dates.
        AlignmentFailed: The two scenes have other bands or value types, or are displaced by more than registration
            explains.
        TruncatedRaster: A file cannot be read any more.
    """
    from ingest.geotiff.lattice import choose_target
    from ingest.geotiff.measure import measure_areas
    from ingest.geotiff.parts import SceneParts
    from ingest.geotiff.stretch import common_stretch, display
    from ingest.geotiff.warp import read_source, warp, warp_mask

    if not is_comparable(pair.prior, pair.current):
        raise AlignmentFailed(
            "Prior and current differ in bands, value type or product; compare one product with itself."
        )
    target = choose_target(pair.prior, pair.current, most_pixels=most_pixels)
    prior, current = read_source(pair.prior, target.grid), read_source(pair.current, target.grid)
    grid = _trim(
        target.grid, warp_mask(prior, prior.valid, target.grid) & warp_mask(current, current.valid, target.grid)
    )
    values_current = warp(current, grid)
    usable_current = _valid(values_current)
    rough = warp_mask(prior, prior.usable, grid) & usable_current
    found, applied, residual = _register(pair, prior, values_current, grid, rough, target.factor)

    # what is applied counts in native pixels
    shift_px = (applied[0] / target.factor, applied[1] / target.factor)
    values_prior = warp(prior, grid, shift_px=shift_px)
    usable_prior = _valid(values_prior)
    both = usable_prior & usable_current
    valid_prior = warp_mask(prior, prior.valid, grid, shift_px=shift_px)
    valid_current = warp_mask(current, current.valid, grid)
    valid_both = valid_prior & valid_current
    if valid_both.mean() < LEAST_VALID:
        raise NoOverlap(
            f"Only {valid_both.mean():.0%} of the shared ground is valid in both scenes, at least {LEAST_VALID:.0%} is "
            "needed; choose another prior."
        )
    clear = valid_both & _seen(prior, grid, shift_px) & _seen(current, grid, (0.0, 0.0))
    clear_share = float(clear.sum() / valid_both.sum())
    if clear_share < LEAST_CLEAR or not both.any():
        raise TooCloudy(
            f"Only {clear_share:.0%} of the shared ground is clear in both scenes, at least {LEAST_CLEAR:.0%} is "
            "needed; choose another prior, or wait for a clear scene."
        )
    is_8_bit = pair.current.attributes["dtype"] == "uint8"
    if target.factor == 1:
        sampled = values_prior[:, both], values_current[:, both]
    else:
        sampled = _native_samples(pair, grid.refined(target.factor), both, target.factor)
    low, high, stretched = common_stretch(*sampled, is_8_bit=is_8_bit)
    moved = (f"registration: moved by {applied[0]:+.2f} rows, {applied[1]:+.2f} columns",) if any(applied) else ()
    quality = {
        "valid_share_prior": float(valid_prior.mean()),
        "valid_share_current": float(valid_current.mean()),
        "valid_share_both": float(valid_both.mean()),
        "clear_share_both": clear_share,
        "shift_row_px": applied[0],
        "shift_col_px": applied[1],
        "shift_agreement": found.agreement,
        "gsd_m": math.sqrt(math.prod(target.gsd_m)) / target.factor,
        "area_ha": float(both.sum()) * math.prod(target.gsd_m) / 10_000,
    }
    if prior.seen is None and current.seen is None:
        del quality["clear_share_both"]
    if residual.is_measured:
        quality |= {"residual_row_px": residual.rows, "residual_col_px": residual.columns}
    areas = measure_areas(pair, grid, gsd_m=target.gsd_m, shift_px=shift_px)
    quality |= areas.hectares
    steps_prior = (*target.steps, *prior.steps, *moved, stretched)
    steps_current = (*target.steps, *current.steps, stretched, *areas.steps)
    warnings = (*pair.warnings, *_shift_warnings(found), *areas.warnings)
    native = None
    if target.factor > 1:
        native = SceneParts(
            pair=pair,
            grid=grid.refined(target.factor),
            shift_px=applied,
            low=low,
            high=high,
            quality=quality,
            steps_prior=steps_prior,
            steps_current=steps_current,
            warnings=warnings,
        )
    return AlignedPair(
        prior=Pixels(values=display(values_prior, low, high), valid=usable_prior, grid=grid, steps=steps_prior),
        current=Pixels(values=display(values_current, low, high), valid=usable_current, grid=grid, steps=steps_current),
        quality=quality,
        warnings=warnings,
        native=native,
    )


def _register(
    pair: Pair,
    prior: "Source",
    current: NDArray[np.float32],
    grid: Grid,
    both: NDArray[np.bool_],
    factor: int,
) -> tuple[Shift, tuple[float, float], Shift]:
    """Displacement found, the one to apply to the prior, and what is left after that, in native pixels.

    Only small windows are warped, at native resolution: a reduced picture would hide a displacement of a pixel.

    Args:
        pair: Both scenes.
        prior: The prior as read.
        current: (C, H, W) values on `grid`.
        grid: The target.
        both: (H, W) True where both dates are valid.
        factor: How much the target is reduced.
    """
    from functools import cache

    from ingest.geotiff.shift import estimate_shift, measure_shift
    from ingest.geotiff.warp import read_source, warp, warp_values

    grey_prior = replace(prior, values=prior.values.mean(axis=0, keepdims=True))
    grey_current = current.mean(axis=0)
    native = grid.refined(factor)

    @cache
    def read(top: int, bottom: int, left: int, right: int) -> tuple["Source", NDArray[np.float32]]:
        window = native.part(slice(top, bottom), slice(left, right))
        window_prior = read_source(pair.prior, window)
        grey = replace(window_prior, values=window_prior.values.mean(axis=0, keepdims=True))
        return grey, warp(read_source(pair.current, window), window).mean(axis=0)

    def cut(rows: slice, columns: slice, moved: tuple[float, float]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        source, window_current = grey_prior, grey_current[rows, columns]
        if factor > 1:
            source, window_current = read(rows.start, rows.stop, columns.start, columns.stop)
        return warp_values(source, native.part(rows, columns), shift_px=moved)[0], window_current

    found = estimate_shift(both, cut, factor=factor)
    if found.is_beyond_registration:
        raise AlignmentFailed(
            f"Prior and current are displaced by {found.distance:.1f} pixels, more than the {MOST_PX:g} that "
            "registration explains; check the georeference of both files, or choose another prior."
        )
    if not found.is_worth_applying:
        return found, (0.0, 0.0), found
    applied = (found.rows, found.columns)
    total = measure_shift(both, cut, factor=factor, moved=applied)
    return found, applied, replace(total, rows=total.rows - applied[0], columns=total.columns - applied[1])


def _native_samples(
    pair: Pair, native: Grid, both: NDArray[np.bool_], factor: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(C, N) values of prior and current where both are valid, from windows spread over the native grid.

    The means of a reduced picture would not do: they differ less than the pixels, and would be stretched too far.
    """
    from ingest.geotiff.shift import spread_windows
    from ingest.geotiff.warp import read_source, warp

    samples: tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]] = ([], [])
    everything = slice(0, both.shape[0] * factor), slice(0, both.shape[1] * factor)
    for rows, columns in spread_windows(both, factor=factor) or [everything]:
        window = native.part(rows, columns)
        cut = [warp(read_source(scene, window), window) for scene in (pair.prior, pair.current)]
        usable = _valid(cut[0]) & _valid(cut[1])
        for values, kept in zip(cut, samples, strict=True):
            kept.append(values[:, usable])
    return np.concatenate(samples[0], axis=1), np.concatenate(samples[1], axis=1)


def _seen(source: "Source", grid: Grid, shift_px: tuple[float, float]) -> NDArray[np.bool_]:
    """(H, W) True where the quality layer sees the ground; everywhere without such a layer."""
    from ingest.geotiff.warp import warp_mask

    if source.seen is None:
        return np.ones(grid.shape, dtype=np.bool_)
    return warp_mask(source, source.seen, grid, shift_px=shift_px)


def _valid(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(H, W) True where every band has a value."""
    return np.asarray(np.isfinite(values).all(axis=0), dtype=np.bool_)


def _trim(grid: Grid, both: NDArray[np.bool_]) -> Grid:
    """The grid without the rows and columns at its edges where nothing is valid in both dates.

    Raises:
        NoOverlap: Nothing is valid in both dates.
    """
    rows, columns = np.flatnonzero(both.any(axis=1)), np.flatnonzero(both.any(axis=0))
    if rows.size == 0:
        raise NoOverlap("No pixel is valid in both scenes; choose another prior.")
    return grid.part(slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))


def _shift_warnings(found: Shift) -> tuple[str, ...]:
    """What a reader must know about the registration."""
    if found.n_windows < LEAST_WINDOWS:
        return ("The overlap is too small or too uniform to measure whether prior and current are displaced.",)
    if not found.is_measured:
        return (f"Only {found.agreement:.0%} of the windows agree on a displacement; none was removed.",)
    return ()
