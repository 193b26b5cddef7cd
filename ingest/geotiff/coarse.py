"""Where does a raster hold valid data, as far as a header and little more tell?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window

from ingest.geotiff.fill import Fill, valid_of

#: Longest side of the reduced valid mask, in cells: enough for a footprint, small enough to keep.
COARSE_CELLS = 256

#: Most pixels that are read beside a header: of an overview, or of a raster that has none.
_MOST_PIXELS = 2**21


@dataclass(frozen=True, kw_only=True)
class Coarse:
    """Reduced mask of a raster's valid pixels.

    Attributes:
        share: (rows, columns) share of valid pixels in each cell.
        factor: Pixels a cell, along one side.
        valid_share: Share of all pixels that mean something.
        origin: What was read: "pixels" (all of them), "overview", or "outline" (none: every pixel is taken for valid).
    """

    share: NDArray[np.float64]
    factor: float
    valid_share: float
    origin: str


def cell_factor(height: int, width: int) -> int:
    """Pixels along one side of a cell of the reduced valid mask."""
    return max(1, math.ceil(max(height, width) / COARSE_CELLS))


def reduce_mask(valid: NDArray[np.bool_], factor: int) -> NDArray[np.float64]:
    """(rows, columns) share of True in each cell of `factor` by `factor`; the last ones may be smaller."""
    if factor == 1:
        return valid.astype(np.float64)
    rows, columns = np.arange(0, valid.shape[0], factor), np.arange(0, valid.shape[1], factor)
    sums = np.add.reduceat(np.add.reduceat(valid, rows, axis=0, dtype=np.float64), columns, axis=1)
    heights = np.diff(np.append(rows, valid.shape[0]))
    widths = np.diff(np.append(columns, valid.shape[1]))
    return np.asarray(sums / np.outer(heights, widths))


def read_coarse(src: DatasetReader, indexes: Sequence[int], fill: Fill) -> Coarse:
    """The valid mask from the coarsest overview that shows enough, from all of a small raster, or else the outline.

    Raises:
        rasterio.errors.RasterioError: What has to be read cannot be.
    """
    outline = Coarse(share=np.ones((1, 1)), factor=max(src.height, src.width), valid_share=1.0, origin="outline")
    if fill.origin == "none" and not np.issubdtype(np.dtype(src.dtypes[0]), np.floating):
        return replace(outline, origin="pixels")
    for factor in sorted(src.overviews(1), reverse=True):
        shape = math.ceil(src.height / factor), math.ceil(src.width / factor)
        if factor > 1 and max(shape) >= COARSE_CELLS and math.prod(shape) <= _MOST_PIXELS:
            found = _read(src, indexes, fill, shape)
            # an overview without any valid pixel may have missed them
            if found.valid_share > 0:
                return replace(found, origin="overview")
    return _read(src, indexes, fill, src.shape) if src.height * src.width <= _MOST_PIXELS else outline


def _read(src: DatasetReader, indexes: Sequence[int], fill: Fill, shape: tuple[int, int]) -> Coarse:
    """The mask at a size; GDAL reads the overview of that size, if there is one."""
    stored = src.read(list(indexes), out_shape=(len(indexes), *shape))
    valid = valid_of(src, fill, Window(0, 0, src.width, src.height), stored)
    cells = cell_factor(*shape)
    return Coarse(
        share=reduce_mask(valid, cells),
        factor=cells * src.width / shape[1],
        valid_share=float(valid.mean()),
        origin="pixels",
    )
