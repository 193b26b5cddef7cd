"""How do several files make one scene: its bands in files of their own, or its ground in several tiles?"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
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


def is_plain(scene: Acquisition) -> bool:
    """True if a scene is one file, whose pixels without meaning are told by a value or not at all."""
    attributes = scene.attributes
    is_known = attributes["dtype"] in TYPES and attributes["nodata_origin"] not in ("mask", "alpha")
    return is_known and not scene.files and not scene.attributes.get("layout")


def with_stated_nodata(scene: Acquisition) -> Acquisition:
    """A scene whose file says nothing of nodata, with the value that its STAC item states for it.

    The footprint stays as it is: it was measured by the file alone.
    """
    stated = scene.attributes.get("stac_nodata", "")
    if not stated or scene.attributes["nodata_origin"] != "none" or not is_plain(scene):
        return scene
    whole = (0, 0, scene.grid.width, scene.grid.height)
    n_bands = int(scene.attributes["n_bands"])
    layout = Layout(
        grid=scene.grid,
        dtype=scene.attributes["dtype"],
        nodata=float(stated),
        names=("",) * n_bands,
        bands=tuple((Part(file=0, band=index, source=whole, target=whole),) for index in range(1, n_bands + 1)),
    )
    told = {"layout": layout.as_text(), "nodata": stated, "nodata_origin": "STAC"}
    return replace(scene, attributes={**scene.attributes, **told})


@contextmanager
def open_scene(scene: Acquisition) -> "Iterator[DatasetReader]":
    """The raster of a scene, open: its file, or its files laid out as one.

    Raises:
        rasterio.errors.RasterioIOError: A file cannot be opened.
    """
    import rasterio

    text = scene.attributes.get("layout", "")
    if text:
        paths = [file.path for file in scene.files] or [scene.path]
        virtual = layout_to_vrt(layout_of_text(text), paths)
        with rasterio.open(virtual, driver="VRT") as src:
            yield src
    else:
        with rasterio.open(scene.path, driver=scene.attributes["driver"]) as src:
            yield src


def _add(parent: ElementTree.Element, tag: str, text: str, **attributes: str) -> None:
    ElementTree.SubElement(parent, tag, attributes).text = text
