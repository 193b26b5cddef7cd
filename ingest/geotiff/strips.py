"""Can every block of a raster be read, and what do its pixels amount to?"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window

from ingest.geotiff.coarse import Coarse, cell_factor, reduce_mask
from ingest.geotiff.fill import Fill, valid_of

#: Bytes of one strip in memory.
STRIP_BYTES = 32 * 2**20


def read_whole(src: DatasetReader, indexes: Sequence[int], fill: Fill) -> tuple[str, Coarse]:
    """One pass over every block of an open raster, in strips: memory is flat in its height.

    Returns the hash of dtype, shape and stored values, row by row with the bands of a pixel together (the same for
    equal pictures in other codings and block sizes), and the reduced mask of the valid pixels.

    Raises:
        rasterio.errors.RasterioError: A block cannot be read.
    """
    factor = cell_factor(src.height, src.width)
    digest = hashlib.sha256(f"{src.dtypes[0]} {src.height} {src.width} {src.count}\n".encode())
    rows_of_cells: list[NDArray[np.float64]] = []
    n_valid = 0
    for window in _strips(src, factor):
        stored = src.read(window=window)
        digest.update(np.ascontiguousarray(np.moveaxis(stored, 0, -1)).data)
        valid = valid_of(src, fill, window, stored[[index - 1 for index in indexes]])
        n_valid += int(valid.sum())
        rows_of_cells.append(reduce_mask(valid, factor))
    coarse = Coarse(
        share=np.concatenate(rows_of_cells),
        factor=factor,
        valid_share=n_valid / (src.height * src.width),
        origin="pixels",
    )
    return digest.hexdigest(), coarse


def _strips(src: DatasetReader, factor: int) -> Iterator[Window]:
    """Windows of full width, from top to bottom, whose height is a multiple of `factor`."""
    row_bytes = src.width * sum(np.dtype(dtype).itemsize for dtype in src.dtypes)
    rows = max(src.block_shapes[0][0], min(1024, STRIP_BYTES // row_bytes))
    rows = max(1, rows // factor) * factor
    for top in range(0, src.height, rows):
        yield Window(0, top, src.width, min(rows, src.height - top))
