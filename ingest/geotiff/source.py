"""What do the bands of a scene hold around a target grid?"""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioIOError
from rasterio.transform import Affine
from rasterio.windows import Window

from ingest.acquisition import Acquisition
from ingest.geotiff.bands import product_of_name
from ingest.geotiff.crs import ground_gsd
from ingest.geotiff.environment import gdal_environment
from ingest.geotiff.errors import TruncatedRaster, without_path
from ingest.geotiff.fill import find_fill, valid_of
from ingest.geotiff.layout import open_scene
from ingest.geotiff.quality_layer import find_quality_layers
from ingest.geotiff.scene import display_indexes
from ingest.geotiff.window import MARGIN, window_around
from ingest.grid import Grid
from ingest.pairing import Pair

#: Pixels of a target from which on two threads are at work: small pairs are many, and their jobs run side by side.
LARGE = 2**21

#: Rows of a file that are read at a time where blocks of pixels are averaged.
_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class Source:
    """Bands of a scene around a target grid, in memory.

    Attributes:
        values: (C, H, W) values as stored, or their float32 means over blocks; 0 in every band at once where the pixel
            means nothing or the ground is hidden.
        shown: (H, W) False where there is no value; None where there is one everywhere.
        valid: (H, W) True where the pixel means something.
        seen: (H, W) True where the quality layer sees the ground; None without such a layer.
        grid: Where they lie: the scene's own grid, cropped, and reduced by a whole factor where the target is coarser.
        steps: What was done to them.
    """

    values: NDArray[np.generic]
    shown: NDArray[np.bool_] | None
    valid: NDArray[np.bool_]
    seen: NDArray[np.bool_] | None
    grid: Grid
    steps: tuple[str, ...]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(H, W) True where there is a value."""
        return np.ones(self.grid.shape, dtype=np.bool_) if self.shown is None else self.shown


def read_both(pair: Pair, target: Grid, *, also: Mapping[str, Sequence[int]] | None = None) -> tuple[Source, Source]:
    """Sources of prior and current, at the same time where the target is large.

    Args:
        pair: Both scenes.
        target: Where their values are needed.
        also: Numbers, from 1, of bands that are read after the display bands, under "prior" and "current".

    Raises:
        TruncatedRaster: A file, or its quality layer, cannot be read any more.
    """

    def read(role: str) -> Source:
        scene: Acquisition = getattr(pair, role)
        return read_source(scene, target, indexes=[*display_indexes(scene), *(also or {}).get(role, ())])

    with ThreadPoolExecutor(2 if target.height * target.width > LARGE else 1) as threads:
        prior, current = threads.map(read, ("prior", "current"))
    return prior, current


def read_source(scene: Acquisition, target: Grid, *, indexes: Sequence[int] = (), margin: int = MARGIN) -> Source:
    """Bands of a scene around a target grid, each block read once, without what its quality layer hides.

    Where the target is at least twice as coarse, valid pixels are averaged in whole blocks while reading, so memory
    follows the target and not the file; a block is valid if at least half of it is.

    Args:
        scene: The scene.
        target: Where its values are needed.
        indexes: Band numbers from 1; none for the display bands.
        margin: Pixels around the target that are read, too; none are needed where its pixels are the scene's own.

    Raises:
        TruncatedRaster: The file, or its quality layer, cannot be read any more.
    """
    own = math.sqrt(math.prod(ground_gsd(scene.grid)))
    factor = max(1, math.floor(math.sqrt(math.prod(ground_gsd(target))) / own + 0.01))
    window = window_around(scene.grid, target, factor=factor, margin=margin)
    wanted = list(indexes or display_indexes(scene))
    layers = find_quality_layers(scene)
    rows, columns = window.height // factor, window.width // factor
    strip = rows if factor == 1 else max(1, _ROWS // factor)
    parts: list[_Part] = []
    try:
        with gdal_environment(), open_scene(scene) as src:
            fill = find_fill(src, product_of_name(scene.path.name))
            for top in range(0, rows, strip):
                height = min(strip, rows - top)
                part = Window(window.col_off, window.row_off + top * factor, window.width, height * factor)
                stored = src.read(wanted, window=part)
                valid = valid_of(src, fill, part, stored)
                seen = clear = None
                if layers is not None:
                    seen, clear = layers.read(*(slice(*span) for span in part.toranges()))
                shown = valid if clear is None else valid & clear
                parts.append(_reduced(_Part(stored, shown, valid, seen), factor))
    except RasterioIOError as error:
        raise TruncatedRaster(
            f"{scene.path.name} cannot be read any more ({without_path(error, scene.path)}); index the archive again."
        ) from None
    affine = Affine(*scene.grid.affine) @ Affine.translation(window.col_off, window.row_off) @ Affine.scale(factor)
    steps = [] if layers is None else [*layers.steps]
    if factor > 1:
        steps.append(f"averaged in blocks of {factor} x {factor} pixels")
    shown = _joined([part.shown for part in parts])
    return Source(
        values=parts[0].values if len(parts) == 1 else np.concatenate([part.values for part in parts], axis=1),
        shown=None if shown.all() else shown,
        valid=_joined([part.valid for part in parts]),
        seen=None if layers is None else _joined([part.seen for part in parts if part.seen is not None]),
        grid=Grid(affine=tuple(affine)[:6], height=rows, width=columns, frame=scene.grid.frame),
        steps=tuple(steps),
    )


@dataclass(frozen=True)
class _Part:
    """Some rows of a source; `shown` is not yet left out where it is true everywhere."""

    values: NDArray[np.generic]
    shown: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    seen: NDArray[np.bool_] | None


def _joined(masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return masks[0] if len(masks) == 1 else np.concatenate(masks)


def _reduced(part: _Part, factor: int) -> _Part:
    """Means over the shown pixels of blocks of `factor` by `factor`; a block is what at least half of it is."""
    values, shown = part.values, part.shown
    is_whole = bool(shown.all())
    if not is_whole:
        values[:, ~shown] = 0
    if factor == 1:
        return part
    n_shown = np.float32(factor**2) if is_whole else np.maximum(_block_sum(shown, factor), 1)
    means = _block_sum(values, factor) / n_shown
    kept = np.ones(means.shape[1:], dtype=np.bool_) if is_whole else _mostly(shown, factor)
    if not is_whole:
        means[:, ~kept] = 0
    seen = None if part.seen is None else _mostly(part.seen, factor)
    return _Part(means, kept, kept if part.valid is part.shown else _mostly(part.valid, factor), seen)


def _mostly(mask: NDArray[np.bool_], factor: int) -> NDArray[np.bool_]:
    return np.asarray(2 * _block_sum(mask, factor) >= factor**2, dtype=np.bool_)


def _block_sum(values: NDArray[Any], factor: int) -> NDArray[np.float32]:
    """(..., H / factor, W / factor) sums; whole rows first, which is how they lie in memory."""
    rows = values[..., ::factor, :].astype(np.float32)
    for row in range(1, factor):
        rows += values[..., row::factor, :]
    total = rows[..., ::factor].copy()
    for column in range(1, factor):
        total += rows[..., column::factor]
    return total
