"""What do two pictures of a change data set look like together?"""

import math

from ingest.geotiff.align import LEAST_VALID, MOST_PIXELS
from ingest.geotiff.errors import AlignmentFailed, NoOverlap
from ingest.geotiff.levels import choose_levels
from ingest.geotiff.parts import SceneParts
from ingest.geotiff.source import read_both
from ingest.geotiff.warp import has_value, warp
from ingest.grid import Grid
from ingest.pairing import Pair
from ingest.pixels import AlignedPair, Pixels

_STEP = "pixels of one column and row belong together, as folders and size say; nothing is moved"


def align_pictures(pair: Pair, *, normalise: bool = False, most_pixels: int = MOST_PIXELS) -> AlignedPair:
    """Prior and current as they lie, with one stretch for both.

    `quality` holds `valid_share_prior`, `valid_share_current` and `valid_share_both`, and nothing in metres.

    Args:
        pair: Two pictures of one size.
        normalise: Show the prior in the light of the current.
        most_pixels: Above this the pair is reduced, and its `native` gives the parts.

    Raises:
        AlignmentFailed: Their sizes differ.
        NoOverlap: Less than a fifth is valid in both.
        TruncatedRaster: A file cannot be read any more.
    """
    native = pair.current.grid
    if pair.prior.grid != native:
        raise AlignmentFailed("The two pictures have other sizes; crop both alike.")
    n_pixels = native.height * native.width
    factor = 1 if n_pixels <= most_pixels else math.ceil(math.sqrt(4 * n_pixels / most_pixels))
    grid = Grid(
        affine=(float(factor), 0.0, 0.0, 0.0, -float(factor), 0.0),
        height=max(1, native.height // factor),
        width=max(1, native.width // factor),
        frame=native.frame,
    )
    prior, current = (warp(source, grid) for source in read_both(pair, grid))
    valid_prior, valid_current = has_value(prior), has_value(current)
    both = valid_prior & valid_current
    if both.mean() < LEAST_VALID:
        raise NoOverlap(f"Only {both.mean():.0%} of the pixels are valid in both pictures; choose another pair.")
    levels = choose_levels(pair, prior[:, both], current[:, both], normalise=normalise)
    quality = {
        "valid_share_prior": float(valid_prior.mean()),
        "valid_share_current": float(valid_current.mean()),
        "valid_share_both": float(both.mean()),
    }
    steps_prior, steps_current = (_STEP, *levels.prior.steps), (_STEP, *levels.current.steps)
    parts = None
    if factor > 1:
        parts = SceneParts(
            pair=pair,
            grid=native,
            shift_px=(0.0, 0.0),
            levels=levels,
            quality=quality,
            steps_prior=steps_prior,
            steps_current=steps_current,
            warnings=levels.warnings,
        )
    return AlignedPair(
        prior=Pixels(values=levels.prior.show(prior), valid=valid_prior, grid=grid, steps=steps_prior),
        current=Pixels(values=levels.current.show(current), valid=valid_current, grid=grid, steps=steps_current),
        quality=quality,
        warnings=levels.warnings,
        native=parts,
    )
