"""What do the bands of a scene hold around a target grid?"""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioIOError
from rasterio.io import DatasetReader
from rasterio.transform import Affine
from rasterio.windows import Window

from ingest.acquisition import Acquisition
from ingest.geotiff.bands import product_of_name
from ingest.geotiff.crs import ground_gsd
from ingest.geotiff.environment import CACHE, gdal_environment
from ingest.geotiff.errors import TruncatedRaster, without_path
from ingest.geotiff.fill import Fill, find_fill, valid_of
from ingest.geotiff.layout import open_scene
from ingest.geotiff.quality_layer import QualityLayers, find_quality_layers
from ingest.geotiff.scene import display_indexes
from ingest.geotiff.window import MARGIN, window_around
from ingest.grid import Grid
from ingest.pairing import Pair

#: Pixels of a target from which on two threads are at work: small pairs are many, and their jobs run side by side.
LARGE = 2**21

#: Rows of a file that are read at a time where blocks of pixels are averaged.
_ROWS = 1024

#: Rows of sums that are worked on at a time, few enough to stay in a processor's cache from one addition to the next.
_CACHED = 8


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


def read_both(pair: Pair, target: Grid, *, indexes: Mapping[str, Sequence[int]] | None = None) -> tuple[Source, Source]:
    """Sources of prior and current, at the same time where the target is large.

    Args:
        pair: Both scenes.
        target: Where their values are needed.
        indexes: Band numbers from 1 under "prior" and "current"; None for the display bands.

    Raises:
        TruncatedRaster: A file, or its quality layer, cannot be read any more.
    """

    def read(role: str) -> Source:
        scene: Acquisition = getattr(pair, role)
        return read_source(scene, target, indexes=indexes[role] if indexes else ())

    with ThreadPoolExecutor(2 if target.height * target.width > LARGE else 1) as threads:
        prior, current = threads.map(read, ("prior", "current"))
    return prior, current


def read_source(scene: Acquisition, target: Grid, *, indexes: Sequence[int] = (), margin: int = MARGIN) -> Source:
    """As `SceneReader.read`, of a scene that is opened for it.

    Raises:
        TruncatedRaster: The file, or its quality layer, cannot be read any more.
    """
    with open_reader(scene) as reader:
        return reader.read(target, indexes=indexes, margin=margin)


@contextmanager
def open_reader(scene: Acquisition, *, cache: int = CACHE) -> Iterator["SceneReader"]:
    """A scene, open; for one thread, which also closes it.

    Args:
        scene: What to open.
        cache: Bytes of decoded blocks that GDAL keeps while it is read.

    Raises:
        TruncatedRaster: The file cannot be opened any more.
    """
    with ExitStack() as files:
        with _read_errors(scene), gdal_environment(cache=cache):
            src = files.enter_context(open_scene(scene))
            fill = find_fill(src, product_of_name(scene.path.name))
        yield SceneReader(scene=scene, src=src, fill=fill, layers=find_quality_layers(scene), cache=cache)


@contextmanager
def _read_errors(scene: Acquisition) -> Iterator[None]:
    """GDAL's errors as one that names the file by its name only."""
    try:
        yield
    except RasterioIOError as error:
        raise TruncatedRaster(
            f"{scene.path.name} cannot be read any more ({without_path(error, scene.path)}); index the archive again."
        ) from None


@dataclass(frozen=True, kw_only=True)
class SceneReader:
    """An open scene.

    Attributes:
        scene: What it is.
        src: Its raster.
        fill: Which of its pixels mean nothing.
        layers: What hides its ground; None without quality layers.
        cache: Bytes of decoded blocks that GDAL keeps while it is read.
    """

    scene: Acquisition
    src: DatasetReader
    fill: Fill
    layers: QualityLayers | None
    cache: int

    def read(self, target: Grid, *, indexes: Sequence[int] = (), margin: int = MARGIN) -> Source:
        """Bands of the scene around a target grid, each block read once, without what its quality layer hides.

        Where the target is at least twice as coarse, valid pixels are averaged in whole blocks while reading, so memory
        follows the target and not the file; a block is valid if at least half of it is.

        Args:
            target: Where its values are needed.
            indexes: Band numbers from 1; none for the display bands.
            margin: Pixels around the target that are read, too; none are needed where its pixels are the scene's own.

        Raises:
            TruncatedRaster: The file, or its quality layer, cannot be read any more.
        """
        own = self.scene.grid
        factor = max(1, math.floor(math.sqrt(math.prod(ground_gsd(target)) / math.prod(ground_gsd(own))) + 0.01))
        window = window_around(own, target, factor=factor, margin=margin)
        wanted = list(indexes or display_indexes(self.scene))
        rows, columns = window.height // factor, window.width // factor
        strip = rows if factor == 1 else max(1, _ROWS // factor)
        # strips that are averaged are read into one place
        place = np.empty(len(wanted) * strip * factor * window.width, self.src.dtypes[0])
        parts: list[_Part] = []
        with _read_errors(self.scene), gdal_environment(cache=self.cache):
            for top in range(0, rows, strip):
                height = min(strip, rows - top) * factor
                part = Window(window.col_off, window.row_off + top * factor, window.width, height)
                stored = place[: len(wanted) * height * window.width].reshape(len(wanted), height, window.width)
                self.src.read(wanted, window=part, out=stored)
                parts.append(_reduced(self._part(part, stored), factor))
        affine = Affine(*own.affine) @ Affine.translation(window.col_off, window.row_off) @ Affine.scale(factor)
        steps = [] if self.layers is None else [*self.layers.steps]
        if factor > 1:
            steps.append(f"averaged in blocks of {factor} x {factor} pixels")
        shown = _joined([part.shown for part in parts])
        return Source(
            values=parts[0].values if len(parts) == 1 else np.concatenate([part.values for part in parts], axis=1),
            shown=None if shown.all() else shown,
            valid=_joined([part.valid for part in parts]),
            seen=None if self.layers is None else _joined([part.seen for part in parts if part.seen is not None]),
            grid=Grid(affine=tuple(affine)[:6], height=rows, width=columns, frame=own.frame),
            steps=tuple(steps),
        )

    def _part(self, window: Window, stored: NDArray[np.generic]) -> "_Part":
        """What was read in a window, with its masks."""
        valid = valid_of(self.src, self.fill, window, stored)
        if self.layers is None:
            return _Part(stored, valid, valid, None)
        seen, clear = self.layers.read(*(slice(*span) for span in window.toranges()))
        return _Part(stored, valid & clear, valid, seen)


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
    """(..., H / factor, W / factor) sums; whole rows first, which is how they lie in memory, a few at a time."""
    *bands, height, width = values.shape
    total = np.empty((*bands, height // factor, width // factor), np.float32)
    for band in np.ndindex(*bands):
        for top in range(0, height // factor, _CACHED):
            part = values[band][top * factor : (top + _CACHED) * factor]
            rows = part[::factor].astype(np.float32)
            for row in range(1, factor):
                rows += part[row::factor]
            sums = total[band][top : top + _CACHED]
            sums[:] = rows[:, ::factor]
            for column in range(1, factor):
                sums += rows[:, column::factor]
    return total
