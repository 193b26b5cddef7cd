"""How do several files make one scene: its bands in files of their own, or its ground in several tiles?"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from ingest.acquisition import Acquisition
from ingest.grid import Grid, grid_from_values, grid_values

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

#: GDAL's names of the value types that a layout may have.
TYPES = {
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32",
    "float32": "Float32", "float64": "Float64",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Part:
    """Pixels of one band of one file, and where they go.

    Attributes:
        file: Which of the acquisition's files.
        band: Band number from 1.
        source: Column, row, width and height in the file.
        target: The same on the scene's grid; of another size where the file is coarser or finer.
    """

    file: int
    band: int
    source: tuple[float, float, float, float]
    target: tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Bands of a scene as parts of files.

    It names no files itself: an acquisition's `files` do, and nothing else can be opened by it.

    Attributes:
        grid: The scene's grid.
        dtype: NumPy name of the value type.
        nodata: Value of pixels without meaning, and of ground that no part covers; None for none.
        names: Description of each band.
        bands: Parts of each band; where they overlap the first one that means something counts.
    """

    grid: Grid
    dtype: str
    nodata: float | None
    names: tuple[str, ...]
    bands: tuple[tuple[Part, ...], ...]

    def as_text(self) -> str:
        """The layout as JSON text."""
        parts = [[[one.file, one.band, one.source, one.target] for one in band] for band in self.bands]
        values = {"grid": grid_values(self.grid), "dtype": self.dtype, "nodata": self.nodata, "names": self.names}
        return json.dumps({**values, "bands": parts}, separators=(",", ":"))


def layout_of_text(text: str) -> Layout:
    """The layout that `Layout.as_text` wrote."""
    values: dict[str, Any] = json.loads(text)
    return Layout(
        grid=grid_from_values(values["grid"]),
        dtype=values["dtype"],
        nodata=values["nodata"],
        names=tuple(values["names"]),
        bands=tuple(
            tuple(
                Part(file=file, band=band, source=tuple(source), target=tuple(target))
                for file, band, source, target in parts
            )
            for parts in values["bands"]
        ),
    )


def layout_to_vrt(layout: Layout, paths: Sequence[Path]) -> str:
    """The layout as GDAL's virtual raster over these files.

    Source: GDAL's documentation of the VRT driver, ComplexSource.
    """
    root = ElementTree.Element("VRTDataset")
    root.set("rasterXSize", str(layout.grid.width))
    root.set("rasterYSize", str(layout.grid.height))
    _add(root, "SRS", layout.grid.frame)
    a, b, c, d, e, f = layout.grid.affine
    _add(root, "GeoTransform", ", ".join(repr(value) for value in (c, a, b, f, d, e)))
    for number, (name, parts) in enumerate(zip(layout.names, layout.bands, strict=True), start=1):
        band = ElementTree.SubElement(root, "VRTRasterBand", dataType=TYPES[layout.dtype], band=str(number))
        if name:
            _add(band, "Description", name)
        if layout.nodata is not None:
            _add(band, "NoDataValue", repr(layout.nodata))
        # GDAL paints the later ones over the earlier ones
        for part in reversed(parts):
            source = ElementTree.SubElement(band, "ComplexSource")
            _add(source, "SourceFilename", str(paths[part.file]), relativeToVRT="0")
            _add(source, "SourceBand", str(part.band))
            for tag, box in (("SrcRect", part.source), ("DstRect", part.target)):
                keys = ("xOff", "yOff", "xSize", "ySize")
                ElementTree.SubElement(source, tag, dict(zip(keys, map(repr, box), strict=True)))
            if layout.nodata is not None:
                _add(source, "NODATA", repr(layout.nodata))
    return ElementTree.tostring(root, encoding="unicode")


@contextmanager
def open_scene(scene: Acquisition) -> "Iterator[DatasetReader]":
    """The raster of a scene, open: its file, or its files laid out as one.

    Raises:
        rasterio.errors.RasterioIOError: A file cannot be opened.
    """
    import rasterio

    text = scene.attributes.get("layout", "")
    if text:
        virtual = layout_to_vrt(layout_of_text(text), [file.path for file in scene.files])
        with rasterio.open(virtual, driver="VRT") as src:
            yield src
    else:
        with rasterio.open(scene.path, driver=scene.attributes["driver"]) as src:
            yield src


def _add(parent: ElementTree.Element, tag: str, text: str, **attributes: str) -> None:
    ElementTree.SubElement(parent, tag, attributes).text = text
