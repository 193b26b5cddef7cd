"""Where does a raster hold valid data, as far as a header and little more tell?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import rasterio
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
    rows, columns = np.arange(0, valid.shape[0], factor), np.arange(0, valid.shape[1], factor)
    sums = np.add.reduceat(np.add.reduceat(valid, rows, axis=0, dtype=np.float64), columns, axis=1)
    heights = np.diff(np.append(rows, valid.shape[0]))
    widths = np.diff(np.append(columns, valid.shape[1]))
    return np.asarray(sums / np.outer(heights, widths))


def read_coarse(src: DatasetReader, indexes: Sequence[int], fill: Fill) -> Coarse:
    """The valid mask from the finest overview that is small, from all of a small raster, or else the outline.

    Raises:
        rasterio.errors.RasterioError: What has to be read cannot be.
    """
    outline = Coarse(share=np.ones((1, 1)), factor=max(src.height, src.width), valid_share=1.0, origin="outline")
    if fill.origin == "none" and not np.issubdtype(np.dtype(src.dtypes[0]), np.floating):
        return Coarse(share=outline.share, factor=outline.factor, valid_share=1.0, origin="pixels")
    if src.height * src.width <= _MOST_PIXELS:
        return _read(src, indexes, fill, src)
    for level, factor in enumerate(src.overviews(1)):
        if factor > 1 and math.ceil(src.height / factor) * math.ceil(src.width / factor) <= _MOST_PIXELS:
            with rasterio.open(src.name, driver=src.driver, overview_level=level) as reduced:
                found = _read(reduced, indexes, fill, src)
            # an overview without any valid pixel may have missed them
            return found if found.valid_share > 0 else outline
    return outline


def _read(reduced: DatasetReader, indexes: Sequence[int], fill: Fill, src: DatasetReader) -> Coarse:
    if reduced.height * reduced.width > _MOST_PIXELS:
        raise rasterio.errors.RasterioIOError("an overview is larger than it is said to be")
    stored = reduced.read(list(indexes))
    valid = valid_of(reduced, fill, Window(0, 0, reduced.width, reduced.height), stored)
    cells = cell_factor(reduced.height, reduced.width)
    return Coarse(
        share=reduce_mask(valid, cells),
        factor=cells * src.width / reduced.width,
        valid_share=float(valid.mean()),
        origin="pixels" if reduced is src else "overview",
    )
