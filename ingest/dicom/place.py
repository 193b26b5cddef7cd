"""How is an image seen on another grid?"""

import numpy as np
from numpy.typing import NDArray

from ingest.grid import Grid
from ingest.pixels import Pixels


def place(
    image: Pixels,
    grid: Grid,
    *,
    matrix: NDArray[np.float64],
    offset: tuple[float, float],
    step: str = "placed",
) -> Pixels:
    """`image` seen on another grid: linear between pixels, smoothed first where it is shrunk.

    Invalid pixels lend no value to their neighbours. Onto its own grid the image comes back unchanged.

    Args:
        image: (1, H, W).
        grid: The grid to fill.
        matrix: (2, 2), rows then columns: position in `image` = matrix @ position in `grid` + offset.
        offset: Position in `image` of the first pixel's centre of `grid`, rows then columns.
        step: Sentence for the record.
    """
    if np.array_equal(matrix, np.eye(2)) and offset == (0.0, 0.0) and image.grid.shape == grid.shape:
        return Pixels(values=image.values, valid=image.valid, grid=grid, steps=(*image.steps, step))
    values, weight = sampled(image.values[0], image.valid, matrix=matrix, offset=offset, shape=grid.shape)
    valid = weight > 0.5
    shown = np.where(valid, values, 0.0)
    return Pixels(
        values=np.clip(shown, 0.0, 1.0).astype(np.float32)[np.newaxis],
        valid=valid,
        grid=grid,
        steps=(*image.steps, step),
    )


def drawn(
    image: Pixels, *, pixel: tuple[float, float], side: float, size: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A small square copy around the image's centre: values, 0 outside, and where they are valid, both (size, size).

    Args:
        image: (1, H, W).
        pixel: Height and width of its pixels, in any unit of length.
        side: Side of the square in the same unit.
        size: Pixels of the copy along it.
    """
    # Whole blocks first: their mean is quick, and what is left to shrink by interpolation is less than twofold.
    block = (max(1, int(side / size / pixel[0])), max(1, int(side / size / pixel[1])))
    weight = _block_mean(image.valid.astype(np.float32), block)
    total = _block_mean(image.values[0] * image.valid, block)
    values = (total / np.maximum(weight, np.finfo(np.float32).tiny)).astype(np.float32)
    steps = [side / size / (one * count) for one, count in zip(pixel, block, strict=True)]
    offset = [
        ((length - 1) / 2 - (count - 1) / 2) / count - step * (size - 1) / 2
        for length, count, step in zip(image.grid.shape, block, steps, strict=True)
    ]
    values, weight = sampled(
        values, weight > 0.5, matrix=np.diag(steps), offset=(offset[0], offset[1]), shape=(size, size)
    )
    valid = weight > 0.99
    return np.where(valid, values, 0.0).astype(np.float32), valid


def sampled(
    values: NDArray[np.float32],
    valid: NDArray[np.bool_],
    *,
    matrix: NDArray[np.float64],
    offset: tuple[float, float],
    shape: tuple[int, int],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Values by linear interpolation among valid pixels, and the share of valid pixels in each; both of `shape`."""
    from scipy import ndimage

    weight = valid.astype(np.float32)
    values = values * weight
    # Where several pixels become one, their mean is wanted: a Gaussian of half the excess keeps what is below Nyquist.
    sigma = [max(0.0, (float(np.hypot(*row)) - 1.0) / 2.0) for row in matrix]
    if any(sigma):
        values = ndimage.gaussian_filter(values, sigma, mode="constant")
        weight = ndimage.gaussian_filter(weight, sigma, mode="constant")
    resample = {"offset": offset, "output_shape": shape, "order": 1, "mode": "grid-constant", "cval": 0.0}
    # SciPy takes a one-dimensional matrix as a scale along each axis, which is several times quicker.
    plain = matrix.diagonal() if matrix[0, 1] == matrix[1, 0] == 0.0 else matrix
    values = ndimage.affine_transform(values, plain, **resample)
    weight = ndimage.affine_transform(weight, plain, **resample)
    return values / np.maximum(weight, 0.5), weight


def _block_mean(values: NDArray[np.float32], block: tuple[int, int]) -> NDArray[np.float32]:
    """Mean over whole blocks; rows and columns that fill none are left out at the far ends."""
    rows, columns = (max(1, length // count) for length, count in zip(values.shape, block, strict=True))
    down, right = min(block[0], values.shape[0]), min(block[1], values.shape[1])
    blocks = values[: rows * down, : columns * right].reshape(rows, down, columns, right)
    mean: NDArray[np.float32] = blocks.mean(axis=(1, 3))
    return mean
