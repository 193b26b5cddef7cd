"""Which rasters does a virtual mosaic (VRT) lay out, and how? It is read here and never opened by GDAL."""

import math
import posixpath
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from ingest.geotiff.acquired import find_time
from ingest.geotiff.errors import UnsupportedVrt
from ingest.geotiff.layout import TYPES

#: What a band and a source may consist of; anything else (warping, functions, tables) makes pixels of its own.
_BAND = frozenset({
    "SimpleSource", "ComplexSource", "NoDataValue", "ColorInterp", "Description", "Metadata", "Offset", "Scale",
    "Histograms", "HideNoDataValue", "UnitType", "CategoryNames",
})  # fmt: skip
_SOURCE = frozenset({"SourceFilename", "SourceBand", "SourceProperties", "SrcRect", "DstRect", "NODATA"})
_NAMES = {gdal: numpy for numpy, gdal in TYPES.items()}
_MOST_BANDS, _MOST_SOURCES = 1000, 100_000


def read_virtual(content: bytes, folder: str, name: str, root: str) -> dict[str, Any]:
    """The mosaic as JSON values: grid, type, nodata, acquisition time, and for each band its parts by archive name.

    Args:
        content: Of the file.
        folder: The file's folder, relative to the archive; empty for the archive's own.
        name: The file's name without folders.
        root: The archive's folder, for sources that are given absolute.

    Raises:
        UnsupportedVrt: It is garbled, does more than lay out rasters, or names one outside the archive.

    Source: GDAL's documentation of the VRT driver.
    """
    # no document type: neither entities nor files that they name
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise UnsupportedVrt()
    try:
        return _read(ElementTree.fromstring(content), folder, name, root)
    except (ElementTree.ParseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnsupportedVrt(
            f"{name} cannot be read ({type(error).__name__}); build it again (gdalbuildvrt)."
        ) from None


def _read(root: ElementTree.Element, folder: str, name: str, archive: str) -> dict[str, Any]:
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    if root.tag != "VRTDataset" or root.get("subClass") or root.find("MaskBand") is not None:
        raise UnsupportedVrt()
    bands = root.findall("VRTRasterBand")
    if not 0 < len(bands) <= _MOST_BANDS or any(band.get("subClass") for band in bands):
        raise UnsupportedVrt()
    c, a, b, f, d, e = (float(value) for value in (root.findtext("GeoTransform") or "").split(","))
    if not all(math.isfinite(value) for value in (a, b, c, d, e, f)):
        raise UnsupportedVrt()
    try:
        frame = CRS.from_user_input(root.findtext("SRS") or "").to_wkt()
    except CRSError:
        raise UnsupportedVrt(f"{name} states no coordinate reference system that is known.") from None
    types = {_NAMES[band.get("dataType", "")] for band in bands}
    nodata = {float(band.findtext("NoDataValue") or "nan") for band in bands if band.find("NoDataValue") is not None}
    if len(types) != 1 or len(nodata) > 1:
        raise UnsupportedVrt(f"The bands of {name} differ in type or nodata.")
    tags = {one.get("key", ""): one.text or "" for one in root.findall("Metadata/MDI")}
    acquired = find_time(name, tags, {})
    return {
        "grid": {
            "affine": [a, b, c, d, e, f],
            "height": int(root.attrib["rasterYSize"]),
            "width": int(root.attrib["rasterXSize"]),
            "frame": frame,
        },
        "dtype": types.pop(),
        "nodata": nodata.pop() if nodata else None,
        "names": [band.findtext("Description") or "" for band in bands],
        "colours": [(band.findtext("ColorInterp") or "undefined").lower() for band in bands],
        "bands": [list(_parts(band, folder, name, archive)) for band in bands],
        "time": acquired.time.isoformat() if acquired.time else None,
        "time_source": acquired.source,
        "by_day": acquired.by_day,
    }


def _parts(band: ElementTree.Element, folder: str, name: str, archive: str) -> Iterator[list[Any]]:
    """Archive name, band number, source and target window of each part of a band."""
    if len(band) > _MOST_SOURCES or {child.tag for child in band} - _BAND:
        raise UnsupportedVrt()
    # GDAL paints the later ones over the earlier ones; in a layout the first counts
    for source in reversed([child for child in band if child.tag in ("SimpleSource", "ComplexSource")]):
        if {child.tag for child in source} - _SOURCE:
            raise UnsupportedVrt()
        element = source.find("SourceFilename")
        given = element.text if element is not None else None
        if element is None or not given:
            raise UnsupportedVrt()
        boxes = [_box(source.find(tag)) for tag in ("SrcRect", "DstRect")]
        where = _inside(given, folder if element.get("relativeToVRT") == "1" else None, archive)
        if where is None:
            raise UnsupportedVrt(
                f"{name} names a raster outside the archive, which is never opened; put it into the archive."
            )
        yield [where, int(source.findtext("SourceBand") or "1"), *boxes]


def _inside(given: str, folder: str | None, archive: str) -> str | None:
    """Archive name of a source; None if it is not in the archive or no plain file."""
    if given.startswith(("/vsi", "<")) or "\0" in given or ":" in given.split("/")[0]:
        return None
    path = posixpath.normpath(posixpath.join("/" if folder is None else f"/{folder}", given))
    if folder is None:
        if not posixpath.isabs(given) or not path.startswith(archive.rstrip("/") + "/"):
            return None
        return path[len(archive.rstrip("/")) + 1 :]
    # normpath would swallow a way up beyond the root
    if posixpath.isabs(given) or posixpath.normpath(posixpath.join(folder or ".", given)).startswith(".."):
        return None
    return path[1:]


def _box(element: ElementTree.Element | None) -> list[float]:
    if element is None:
        raise ValueError("no window")
    box = [float(element.attrib[key]) for key in ("xOff", "yOff", "xSize", "ySize")]
    if not all(math.isfinite(value) and abs(value) < 2**31 for value in box) or min(box[2:]) <= 0:
        raise ValueError("no window")
    return box
