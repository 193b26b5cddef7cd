"""Which pixels of a raster lie around a grid?"""

import math

from rasterio.transform import Affine
from rasterio.windows import Window

from ingest.geotiff.crs import crs_of
from ingest.geotiff.footprint import project, raster_outline
from ingest.grid import Grid

#: Pixels kept around the target, so that the kernel and a registration shift find their neighbours.
MARGIN = 16


def window_around(own: Grid, target: Grid, *, factor: int = 1, margin: int = MARGIN) -> Window:
    """Pixels of `own` under the target with a margin, in whole blocks of `factor` counted from the raster's corner.

    A target beside the raster gives the nearest block, never an empty window.
    """
    west, south, east, north = project(raster_outline(target), target.frame, crs_of(own.frame)).bounds
    inverse = ~Affine(*own.affine)
    corners = [inverse @ point for point in ((west, south), (west, north), (east, south), (east, north))]
    lows = [min(corner[axis] for corner in corners) - margin * factor for axis in (0, 1)]
    highs = [max(corner[axis] for corner in corners) + margin * factor for axis in (0, 1)]
    # the last incomplete block of a file is left out
    sizes = [own.width // factor, own.height // factor]
    starts = [min(max(0, math.floor(low / factor)), size - 1) for low, size in zip(lows, sizes, strict=True)]
    ends = [
        max(start + 1, min(size, math.ceil(high / factor)))
        for high, size, start in zip(highs, sizes, starts, strict=True)
    ]
    return Window(
        starts[0] * factor, starts[1] * factor, (ends[0] - starts[0]) * factor, (ends[1] - starts[1]) * factor
    )
