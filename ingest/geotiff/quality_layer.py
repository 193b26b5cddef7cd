"""Where does a scene show the ground, and where a cloud or its shadow?"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioIOError
from rasterio.transform import Affine
from rasterio.warp import reproject
from scipy.ndimage import binary_dilation

from ingest.acquisition import Acquisition
from ingest.geotiff.crs import crs_of
from ingest.geotiff.environment import gdal_environment
from ingest.geotiff.errors import TruncatedRaster, without_path
from ingest.geotiff.layout import layout_of_text
from ingest.geotiff.window import window_around
from ingest.grid import Grid

#: Pixels of the layer by which cloud and shadow are widened: the layers miss their thin edges.
_BUFFER = 1

#: From this day on, QA60 of Sentinel-2 is empty in many archives, which then says nothing.
_QA60_EMPTY_FROM = datetime(2022, 1, 25)

#: (C, H, W) stored values to (H, W) True where the ground is hidden.
Hidden = Callable[[NDArray[np.integer]], NDArray[np.bool_]]


def _values(*hidden: int) -> Hidden:
    return lambda stored: np.isin(stored[0], hidden)


def _bits(*hidden: int) -> Hidden:
    mask = sum(1 << bit for bit in hidden)
    return lambda stored: (stored[0] & mask) != 0


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """One sort of quality layer.

    Attributes:
        name: For provenance.
        tokens: What stands in the layer's file name and not in the scene's.
        bands: Band numbers that are read.
        hidden: True for each pixel, of the (C, H, W) values of these bands, that does not show the ground.
    """

    name: str
    tokens: frozenset[str]
    bands: tuple[int, ...]
    hidden: Hidden


#: In order of trust; 255, the fill of HLS, has all the bits that hide. Sources: Sentinel-2 SCL table of the L2A product
#: definition; Landsat Collection 2 LSDS-1619, table 6-2; HLS v2.0 user guide; Fmask: Zhu and Woodcock 2012, doi
#: 10.1016/j.rse.2011.10.028.
_KINDS: Final = (
    _Kind(name="SCL", tokens=frozenset({"SCL"}), bands=(1,), hidden=_values(0, 1, 3, 8, 9, 10)),
    _Kind(name="QA_PIXEL", tokens=frozenset({"QA", "PIXEL"}), bands=(1,), hidden=_bits(0, 1, 2, 3, 4)),
    _Kind(name="HLS Fmask", tokens=frozenset({"FMASK", "HLS"}), bands=(1,), hidden=_bits(1, 2, 3)),
    _Kind(name="Fmask", tokens=frozenset({"FMASK"}), bands=(1,), hidden=_values(2, 4, 255)),
    _Kind(name="CMASK", tokens=frozenset({"CMASK"}), bands=(1,), hidden=_values(2, 4, 255)),
    _Kind(
        name="MSK_CLASSI",
        tokens=frozenset({"MSK", "CLASSI"}),
        bands=(1, 2),
        hidden=lambda stored: (stored != 0).any(axis=0),
    ),
    _Kind(name="QA60", tokens=frozenset({"QA60"}), bands=(1,), hidden=_bits(10, 11)),
)

#: Words of file names that differ between the layers of one acquisition: bands, products, resolutions.
_LAYER_WORD = re.compile(r"B\d{1,2}A?|\d{1,3}M|BOA|TOA|SR|TCI|RGB\w*|B00")


@dataclass(frozen=True, kw_only=True)
class QualityLayer:
    """The raster beside a scene that says what hides the ground.

    Attributes:
        path: The file.
        kind: Its sort, such as "SCL".
    """

    path: Path
    kind: str

    @property
    def step(self) -> str:
        """For provenance."""
        return f"cloud and shadow by {self.kind} ({self.path.name}), widened by {_BUFFER} of its pixels"

    def read(self, grid: Grid) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(H, W) True where the ground is seen, as the layer has it, and the same with cloud and shadow widened.

        By the nearest pixel of the layer; where the layer ends, nothing is known to be seen.

        Raises:
            TruncatedRaster: The file cannot be read.
        """
        _, seen, clear = self.planes(grid)
        return seen, clear

    def planes(self, grid: Grid) -> NDArray[np.bool_]:
        """(3, H, W) True where the layer reaches; and the two of `read`.

        Raises:
            TruncatedRaster: The file cannot be read.
        """
        kind = next(kind for kind in _KINDS if kind.name == self.kind)
        try:
            with gdal_environment(), rasterio.open(self.path) as src:
                own = Grid(affine=tuple(src.transform)[:6], height=src.height, width=src.width, frame=src.crs.to_wkt())
                window = window_around(own, grid)
                stored = src.read(list(kind.bands), window=window).astype(np.int64)
        except RasterioIOError as error:
            raise TruncatedRaster(
                f"{self.path.name}, the quality layer of a scene, cannot be read ({without_path(error, self.path)}); "
                "copy it again from its source, or remove it to compare without it."
            ) from None
        hidden = kind.hidden(stored)
        widened = binary_dilation(hidden, np.ones((3, 3), dtype=np.bool_), iterations=_BUFFER)
        rows = slice(int(window.row_off), int(window.row_off + window.height))
        columns = slice(int(window.col_off), int(window.col_off + window.width))
        return _nearest(np.stack([np.ones_like(hidden), ~hidden, ~widened]), own.part(rows, columns), grid)


@dataclass(frozen=True, kw_only=True)
class QualityLayers:
    """What the layers beside all files of a scene say together.

    Attributes:
        layers: One or more.
        grid: The scene's.
        bare: Column, row, width and height on that grid of files that have no layer: as in a scene without one, their
            ground is taken to be seen.
    """

    layers: tuple[QualityLayer, ...]
    grid: Grid
    bare: tuple[tuple[float, float, float, float], ...] = ()

    @property
    def steps(self) -> tuple[str, ...]:
        """For provenance."""
        return tuple(layer.step for layer in self.layers)

    def read(self, rows: slice, columns: slice) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """As `QualityLayer.read` of a part of the scene's grid; what one of several layers hides is hidden.

        Raises:
            TruncatedRaster: A layer cannot be read.
        """
        part = self.grid.part(rows, columns)
        reached, seen, clear = self.layers[0].planes(part)
        for layer in self.layers[1:]:
            also, *planes = layer.planes(part)
            seen, clear = (
                np.where(also, np.where(reached, one & other, other), one)
                for one, other in zip((seen, clear), planes, strict=True)
            )
            reached = reached | also
        for left, top, width, height in self.bare:
            box = np.zeros(part.shape, dtype=np.bool_)
            box[
                max(0, round(top) - rows.start) : max(0, round(top + height) - rows.start),
                max(0, round(left) - columns.start) : max(0, round(left + width) - columns.start),
            ] = True
            seen, clear = seen | (box & ~reached), clear | (box & ~reached)
        return seen, clear


def find_quality_layers(scene: Acquisition) -> QualityLayers | None:
    """The layers beside the files that a scene is made of: bands share one, tiles have one each; None without any."""
    paths = [file.path for file in scene.files] or [scene.path]
    found = [find_quality_layer(path, scene.time) for path in paths]
    layers = tuple(dict.fromkeys(layer for layer in found if layer is not None))
    if not layers:
        return None
    bare: tuple[tuple[float, float, float, float], ...] = ()
    if None in found:
        parts = {part for band in layout_of_text(scene.attributes["layout"]).bands for part in band}
        bare = tuple(sorted({part.target for part in parts if found[part.file] is None}))
    return QualityLayers(layers=layers, grid=scene.grid, bare=bare)


def find_quality_layer(scene: Path, time: datetime | None) -> QualityLayer | None:
    """The most trusted quality layer of one file's acquisition beside it, by their names; None if there is none.

    Looked for in the file's folder, and for a Sentinel-2 product also in its folders of the other resolutions. The
    name has to hold a date, and every other word of it has to stand in the scene's name. Without such a layer the
    cloud mask of a Sentinel-2 granule is taken, which has no date in its name.
    """
    words = _words(scene)
    folders = [scene.parent]
    if re.fullmatch(r"R\d0m", scene.parent.name):
        folders += sorted(one for one in scene.parent.parent.glob("R?0m") if one != scene.parent)
    beside = [one for folder in folders for one in _layers_in(folder, folder.stat().st_mtime_ns) if one[0] != scene]
    for kind in _KINDS:
        if kind.name == "QA60" and time is not None and time.replace(tzinfo=None) >= _QA60_EMPTY_FROM:
            continue
        for path, others in beside:
            if not kind.tokens <= others:
                continue
            shared = {word for word in others - kind.tokens if not _LAYER_WORD.fullmatch(word)}
            has_date = any(re.match("T?(19|20)[0-9]{2}", word) for word in shared)
            if shared <= words and has_date:
                return QualityLayer(path=path, kind=kind.name)
    granule = scene.parent.parent if re.fullmatch(r"R\d0m", scene.parent.name) else scene.parent
    mask = granule.parent / "QI_DATA" / "MSK_CLASSI_B00.jp2"
    if granule.name == "IMG_DATA" and mask.is_file():
        return QualityLayer(path=mask, kind="MSK_CLASSI")
    return None


@lru_cache(maxsize=32)
def _layers_in(folder: Path, _mtime_ns: int) -> tuple[tuple[Path, frozenset[str]], ...]:
    """Rasters of a folder that have the words of a quality layer in their names, with all words.

    A large pair is read in many parts, and each asks: a folder is listed anew when its time says that it changed.
    """
    named = ((path, frozenset(_words(path))) for path in sorted(folder.iterdir()))
    return tuple(
        (path, words)
        for path, words in named
        if path.suffix.lower() in {".tif", ".tiff", ".jp2"} and any(kind.tokens <= words for kind in _KINDS)
    )


def _words(path: Path) -> set[str]:
    return set(filter(None, re.split(r"[_\-. ]", path.name.rsplit(".", 1)[0].upper())))


def _nearest(seen: NDArray[np.bool_], own: Grid, target: Grid) -> NDArray[np.bool_]:
    """(C, H, W) of the target by the nearest pixel; False outside."""
    out = np.zeros((seen.shape[0], *target.shape), dtype=np.uint8)
    reproject(
        source=seen.astype(np.uint8),
        destination=out,
        src_transform=Affine(*own.affine),
        src_crs=crs_of(own.frame),
        dst_transform=Affine(*target.affine),
        dst_crs=crs_of(target.frame),
        init_dest_nodata=False,
        resampling=Resampling.nearest,
        num_threads=1,
    )
    return out.astype(np.bool_)
