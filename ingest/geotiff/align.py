"""What do prior and current scene look like on one grid?"""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ingest.geotiff.bands import is_comparable
from ingest.geotiff.errors import AlignmentFailed, NoOverlap, TooCloudy
from ingest.grid import Grid
from ingest.pairing import Pair
from ingest.pixels import AlignedPair, Pixels

if TYPE_CHECKING:
    from ingest.geotiff.source import Source

#: Most pixels of a pair that is held at once: 4096 x 4096 with three float32 bands is 200 MB a date.
MOST_PIXELS = 4096 * 4096

#: Least share of the target's pixels that must be valid in both dates.
LEAST_VALID = 0.2

#: Least share of the ground valid in both dates that the quality layers must see in both.
LEAST_CLEAR = 0.2


def align_scenes(pair: Pair, *, normalise: bool = False, most_pixels: int = MOST_PIXELS) -> AlignedPair:
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
        normalise: Show the prior in the light of the current (`ingest.geotiff.normalise`): for pictures whose values
            are no reflectance.
        most_pixels: Pixels of the shared ground above which it is not held at once.

    Raises:
        NoOverlap: Less than a fifth of the grid is valid in both dates.
        TooCloudy: Less than a fifth of that is clear in both dates.
        AlignmentFailed: The two scenes have other bands or value types, or are displaced by more than registration
            explains.
        TruncatedRaster: A file cannot be read any more.
    """
    from ingest.geotiff.lattice import choose_target
    from ingest.geotiff.levels import choose_levels
    from ingest.geotiff.measure import bands_read, measure_areas, measured_names, named_bands
    from ingest.geotiff.parts import SceneParts
    from ingest.geotiff.register import NativeWindows, register
    from ingest.geotiff.scene import display_indexes
    from ingest.geotiff.source import read_both
    from ingest.geotiff.warp import has_value, warp, warp_mask

    if not is_comparable(pair.prior, pair.current):
        raise AlignmentFailed(
            "Prior and current differ in bands, value type or product; compare one product with itself."
        )
    target = choose_target(pair.prior, pair.current, most_pixels=most_pixels)
    measured, shown = measured_names(pair), len(display_indexes(pair.current))
    indexes = {"prior": bands_read(pair.prior, measured), "current": bands_read(pair.current, measured)}
    prior, current = read_both(pair, target.grid, indexes=indexes)
    grid = _trim(
        target.grid, warp_mask(prior, prior.valid, target.grid) & warp_mask(current, current.valid, target.grid)
    )
    values_current = warp(current, grid)
    usable_current = has_value(values_current)
    rough = warp_mask(prior, prior.usable, grid) & usable_current
    windows = NativeWindows(pair, grid.refined(target.factor), rough, target.factor) if target.factor > 1 else None
    registration = register(prior, values_current, grid, rough, windows, factor=target.factor, n_shown=shown)

    # what is applied counts in native pixels
    applied = registration.applied
    shift_px = (applied[0] / target.factor, applied[1] / target.factor)
    values_prior = warp(prior, grid, shift_px=shift_px)
    usable_prior = has_value(values_prior)
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
    if windows is None:
        sampled = values_prior[:shown, both], values_current[:shown, both]
    else:
        sampled = windows.samples(both, moved=applied)
    levels = choose_levels(pair, *sampled, normalise=normalise)
    quality = {
        "valid_share_prior": float(valid_prior.mean()),
        "valid_share_current": float(valid_current.mean()),
        "valid_share_both": float(valid_both.mean()),
        "clear_share_both": clear_share,
        "shift_row_px": applied[0],
        "shift_col_px": applied[1],
        "shift_agreement": registration.found.agreement,
        "gsd_m": math.sqrt(math.prod(target.gsd_m)) / target.factor,
        "area_ha": float(both.sum()) * math.prod(target.gsd_m) / 10_000,
    }
    if prior.seen is None and current.seen is None:
        del quality["clear_share_both"]
    left = registration.residual
    if left.is_measured:
        quality |= {"residual_row_px": left.rows, "residual_col_px": left.columns}
    areas = measure_areas(
        pair,
        named_bands(values_prior, pair.prior, measured),
        named_bands(values_current, pair.current, measured),
        both,
        gsd_m=target.gsd_m,
    )
    quality |= areas.hectares
    steps_prior = (*target.steps, *prior.steps, *registration.steps, *levels.prior.steps)
    steps_current = (*target.steps, *current.steps, *levels.current.steps, *areas.steps)
    warnings = (*pair.warnings, *registration.warnings, *levels.warnings)
    native = None
    if target.factor > 1:
        native = SceneParts(
            pair=pair,
            grid=grid.refined(target.factor),
            shift_px=applied,
            levels=levels,
            quality=quality,
            steps_prior=steps_prior,
            steps_current=steps_current,
            warnings=warnings,
        )
    shown_prior = levels.prior.show(values_prior[:shown])
    shown_current = levels.current.show(values_current[:shown])
    return AlignedPair(
        prior=Pixels(values=shown_prior, valid=usable_prior, grid=grid, steps=steps_prior),
        current=Pixels(values=shown_current, valid=usable_current, grid=grid, steps=steps_current),
        quality=quality,
        warnings=warnings,
        native=native,
    )


def _seen(source: "Source", grid: Grid, shift_px: tuple[float, float]) -> NDArray[np.bool_]:
    """(H, W) True where the quality layer sees the ground; everywhere without such a layer."""
    from ingest.geotiff.warp import warp_mask

    if source.seen is None:
        return np.ones(grid.shape, dtype=np.bool_)
    return warp_mask(source, source.seen, grid, shift_px=shift_px)


def _trim(grid: Grid, both: NDArray[np.bool_]) -> Grid:
    """The grid without the rows and columns at its edges where nothing is valid in both dates.

    Raises:
        NoOverlap: Nothing is valid in both dates.
    """
    rows, columns = np.flatnonzero(both.any(axis=1)), np.flatnonzero(both.any(axis=0))
    if rows.size == 0:
        raise NoOverlap("No pixel is valid in both scenes; choose another prior.")
    return grid.part(slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
