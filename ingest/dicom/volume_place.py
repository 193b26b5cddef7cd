"""How is a volume seen on another grid?"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.dicom.volume import Volume, VolumeGrid

#: Slices that are resampled at a time, so that the table of positions stays small beside the volume.
_SLAB = 16


def place_volume(
    volume: Volume, grid: VolumeGrid, *, moved: NDArray[np.float64] | None = None, step: str = "placed"
) -> Volume:
    """`volume` on another grid: linear between voxels, smoothed first along axes on which it is shrunk.

    Invalid voxels lend no value to their neighbours; outside the volume nothing is valid. Grids may be oblique or
    sheared. Only places count here, not frames of reference: whoever calls has compared those.

    Args:
        volume: The values to resample.
        grid: The grid to fill.
        moved: (4, 4), from a place in the coordinates of `grid` to a place in those of `volume`, in mm; None if the
            coordinates are one.
        step: Sentence for the record.

    Source: MONAI's `ResampleToMatch`, slab by slab.
    """
    import torch

    source = (np.eye(4) if moved is None else np.linalg.inv(moved)) @ volume.grid.matrix
    values, weights = _smoothed(volume, np.linalg.inv(source) @ grid.matrix)
    shown = np.zeros(grid.shape, dtype=np.float32)
    valid = np.zeros(grid.shape, dtype=np.bool_)
    for first in range(0, grid.shape[0], _SLAB):
        last = min(first + _SLAB, grid.shape[0])
        slab = grid.slab(first, last)
        seen = _resampled(torch.from_numpy(values), source, slab)
        # Zeros surround the volume, so more than half of a voxel's weight means: no further out than half a voxel.
        weight = _resampled(weights, source, slab)
        valid[first:last] = weight > 0.5
        np.divide(seen, weight, out=shown[first:last], where=valid[first:last])
    steps = (*volume.steps, step) if step else volume.steps
    return Volume(values=shown, valid=valid, grid=grid, modality=volume.modality, window=volume.window, steps=steps)


def _smoothed(volume: Volume, to_source: NDArray[np.float64]) -> tuple[NDArray[np.float32], Any]:
    """Values and weights, (D, H, W) each, blurred along the axes of which one new voxel covers more than one old.

    Where several voxels become one, their mean is wanted: a Gaussian of half the excess keeps what is below Nyquist.
    """
    import torch
    from scipy import ndimage

    covered = np.linalg.norm(to_source[:3, :3], axis=1)
    sigma = [max(0.0, (float(one) - 1.0) / 2.0) for one in covered]
    values = volume.values
    if volume.valid.all():
        if any(sigma):
            values = ndimage.gaussian_filter(values, sigma, mode="nearest")
        return values, torch.ones(1).expand(volume.grid.shape)
    weights = volume.valid.astype(np.float32)
    values = values * weights
    if any(sigma):
        values = ndimage.gaussian_filter(values, sigma, mode="nearest")
        weights = ndimage.gaussian_filter(weights, sigma, mode="nearest")
    return values, torch.from_numpy(weights)


def _resampled(image: Any, affine: NDArray[np.float64], grid: VolumeGrid) -> NDArray[np.float32]:
    """(D, H, W) of a tensor whose voxels lie by `affine`, on `grid`."""
    import torch
    from monai.data.meta_tensor import MetaTensor

    with warnings.catch_warnings():
        # The package warns of optional parts that are not installed.
        warnings.simplefilter("ignore")
        from monai.transforms.spatial.array import ResampleToMatch

    resample = ResampleToMatch(mode="bilinear", padding_mode="zeros", dtype=np.float32)
    target = MetaTensor(torch.empty((1, *grid.shape)), affine=torch.from_numpy(grid.matrix))
    seen = resample(MetaTensor(image[None], affine=torch.from_numpy(affine)), target)
    return np.asarray(seen[0], dtype=np.float32)
