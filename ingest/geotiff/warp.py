"""What are a scene's bands on another grid?"""

import math
import os

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject

from ingest.geotiff.crs import crs_of, ground_gsd, same_crs
from ingest.geotiff.source import LARGE, Source
from ingest.grid import Grid

#: Memory that GDAL may use for one warp, in MB; with four times as much, which no cache holds, it took a fifth longer.
_WARP_MB = 64

#: Value types that GDAL warps by a way of their own; others are made float32 before.
_QUICK = (np.uint8, np.uint16, np.int16, np.float32)


def warp(
    source: Source, target: Grid, *, shift_px: tuple[float, float] = (0.0, 0.0), threads: int | None = None
) -> NDArray[np.float32]:
    """(C, H, W) values on the target grid, NaN where the source means nothing; one resampling.

    Validity goes by the nearest source pixel, so that no value creeps into nodata and no nodata into a value.

    Args:
        source: What to warp.
        target: Where to.
        shift_px: Rows and columns by which the content is moved on the target grid, downwards and to the right.
        threads: Of GDAL; None for two where the target is large.
    """
    values = warp_values(source, target, shift_px=shift_px, threads=threads)
    if source.shown is not None:
        values[:, ~warp_mask(source, source.shown, target, shift_px=shift_px)] = np.nan
    return values


def warp_values(
    source: Source, target: Grid, *, shift_px: tuple[float, float] = (0.0, 0.0), threads: int | None = None
) -> NDArray[np.float32]:
    """As `warp`, but a value reaches up to half a pixel over the edge of the valid ones.

    A crop where source and target share one lattice and nothing is shifted (then every value is exact), averaging
    where the target is coarser, else bilinear over valid neighbours only.
    """
    placed = _moved(target, shift_px)
    if is_on_lattice(source.grid, placed):
        return _cropped(source.values, source.grid, placed)
    ratio = math.sqrt(math.prod(ground_gsd(placed)) / math.prod(ground_gsd(source.grid)))
    method = Resampling.average if ratio > 1.2 else Resampling.bilinear
    # GDAL takes the sizes of the two windows for the change of scale. Around a grid that is turned the source's is
    # larger though no pixel is, and GDAL would blur, and take twice the time.  Source: GDALWarpOptions, XSCALE.
    scale = min(1.0, 1 / ratio)
    values = _reproject(source.values, source.grid, placed, method, threads, scale=scale)
    if source.shown is not None:
        # the mean over valid neighbours: what is not valid counts zero above and below the line. GDAL does the same
        # with nodata, and takes twice the time (measured)
        weight = _reproject(source.shown[None].astype(np.uint8), source.grid, placed, method, threads, scale=scale)
        with np.errstate(divide="ignore", invalid="ignore"):
            values /= weight
    return values


def has_value(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(H, W) True where the (C, H, W) values of a `warp` are some: a pixel has them in all bands or in none."""
    return np.asarray(np.isfinite(values[0]), dtype=np.bool_)


def warp_mask(
    source: Source, mask: NDArray[np.bool_], target: Grid, *, shift_px: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.bool_]:
    """(H, W) True where the nearest pixel of a mask of the source is; False outside; much cheaper than `warp`."""
    placed = _moved(target, shift_px)
    if is_on_lattice(source.grid, placed):
        found = _cropped(mask[None], source.grid, placed)
    else:
        found = _reproject(mask[None].astype(np.uint8), source.grid, placed, Resampling.nearest, 1)
    is_set: NDArray[np.bool_] = found[0] > 0  # NaN, outside the source, is not
    return is_set


def _moved(target: Grid, shift_px: tuple[float, float]) -> Grid:
    """Where the pixels of the target look when the content is to move by `shift_px`: back by as much."""
    rows, columns = shift_px
    affine = Affine(*target.affine) @ Affine.translation(-columns, -rows)
    return Grid(affine=tuple(affine)[:6], height=target.height, width=target.width, frame=target.frame)


def is_on_lattice(one: Grid, other: Grid) -> bool:
    """True if two grids, mirrored or not, put their pixels at the same places."""
    if not same_crs(one.frame, other.frame):
        return False
    a, b, c, d, e, f = tuple(~Affine(*other.affine) @ Affine(*one.affine))[:6]
    whole = all(abs(offset - round(offset)) < 1e-3 for offset in (c, f))
    return whole and all(abs(x) < 1e-6 for x in (abs(a) - 1, abs(e) - 1, b, d))


def _cropped(values: NDArray[np.generic], source: Grid, target: Grid) -> NDArray[np.float32]:
    """(C, H, W) of the target's own pixels in the source, NaN outside; the two share one lattice."""
    a, _, column, _, e, row = tuple(~Affine(*target.affine) @ Affine(*source.affine))[:6]
    # a mirrored source ends where it would begin
    values = values[:, :: round(e), :: round(a)]
    top = round(row) - (source.height if e < 0 else 0)
    left = round(column) - (source.width if a < 0 else 0)
    if top <= 0 and left <= 0 and top + source.height >= target.height and left + source.width >= target.width:
        return values[:, -top : target.height - top, -left : target.width - left].astype(np.float32)
    out = np.full((values.shape[0], *target.shape), np.nan, dtype=np.float32)
    rows = slice(max(0, top), max(0, min(target.height, top + source.height)))
    columns = slice(max(0, left), max(0, min(target.width, left + source.width)))
    out[:, rows, columns] = values[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return out


def _reproject(
    values: NDArray[np.generic],
    source: Grid,
    target: Grid,
    method: Resampling,
    threads: int | None,
    *,
    scale: float = 1.0,
) -> NDArray[np.float32]:
    """GDAL's warp between two arrays; what lies outside the source is NaN.

    Args:
        values: (C, H, W) of the source.
        source: Where they lie.
        target: Where to.
        method: How to resample.
        threads: Of GDAL; None for two where the target is large.
        scale: Pixels of the target for one of the source, along both axes.
    """
    out = np.full((values.shape[0], target.height, target.width), np.nan, dtype=np.float32)
    if threads is None:
        threads = min(2, os.cpu_count() or 1) if target.height * target.width > LARGE else 1
    reproject(
        source=values if values.dtype in _QUICK else values.astype(np.float32),
        destination=out,
        src_transform=Affine(*source.affine),
        src_crs=crs_of(source.frame),
        dst_transform=Affine(*target.affine),
        dst_crs=crs_of(target.frame),
        init_dest_nodata=False,
        resampling=method,
        num_threads=threads,
        warp_mem_limit=_WARP_MB,
        XSCALE=scale,
        YSCALE=scale,
    )
    return out
