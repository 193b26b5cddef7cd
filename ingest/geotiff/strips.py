"""Can every block of a raster be read, and what do its pixels amount to?"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window

from ingest.geotiff.fill import Fill, valid_of

#: Longest side of the reduced valid mask, in cells: enough for a footprint, small enough to keep.
COARSE_CELLS = 256

#: Bytes of one strip in memory.
STRIP_BYTES = 32 * 2**20


@dataclass(frozen=True, kw_only=True)
class WholeRead:
    """What one pass over a raster found.

    Attributes:
        pixel_sha256: Hash of dtype, shape and stored values, row by row with the bands of a pixel together: the same
            for equal pictures in other codings and block sizes.
        valid_share: Share of the pixels that mean something.
        coarse: (rows, columns) share of valid pixels in each cell of `factor` by `factor` pixels.
        factor: Pixels a cell, along one side.
    """

    pixel_sha256: str
    valid_share: float
    coarse: NDArray[np.float64]
    factor: int


def cell_factor(height: int, width: int) -> int:
    """Pixels along one side of a cell of the reduced valid mask."""
    return max(1, math.ceil(max(height, width) / COARSE_CELLS))


def read_whole(src: DatasetReader, indexes: Sequence[int], fill: Fill) -> WholeRead:
    """One pass over every block of an open raster, in strips: memory is flat in its height.

    Raises:
        rasterio.errors.RasterioError: A block cannot be read.
    """
    factor = cell_factor(src.height, src.width)
    columns = np.arange(0, src.width, factor)
    digest = hashlib.sha256(f"{src.dtypes[0]} {src.height} {src.width} {src.count}\n".encode())
    rows_of_cells: list[NDArray[np.float64]] = []
    n_valid = 0
    for window in _strips(src, factor):
        stored = src.read(window=window)
        digest.update(np.ascontiguousarray(np.moveaxis(stored, 0, -1)).tobytes())
        valid = valid_of(src, fill, window, stored[[index - 1 for index in indexes]])
        n_valid += int(valid.sum())
        rows = np.arange(0, valid.shape[0], factor)
        sums = np.add.reduceat(np.add.reduceat(valid.astype(np.float64), rows, axis=0), columns, axis=1)
        heights = np.diff(np.append(rows, valid.shape[0]))
        widths = np.diff(np.append(columns, src.width))
        rows_of_cells.append(sums / np.outer(heights, widths))
    return WholeRead(
        pixel_sha256=digest.hexdigest(),
        valid_share=n_valid / (src.height * src.width),
        coarse=np.concatenate(rows_of_cells),
        factor=factor,
    )


def _strips(src: DatasetReader, factor: int) -> Iterator[Window]:
    """Windows of full width, from top to bottom, whose height is a multiple of `factor`."""
    row_bytes = src.width * sum(np.dtype(dtype).itemsize for dtype in src.dtypes)
    rows = max(src.block_shapes[0][0], min(1024, STRIP_BYTES // row_bytes))
    rows = max(1, rows // factor) * factor
    for top in range(0, src.height, rows):
        yield Window(0, top, src.width, min(rows, src.height - top))
