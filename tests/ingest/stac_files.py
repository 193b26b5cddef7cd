"""STAC items beside small GeoTIFF bands, as archives and servers hold them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.transform import Affine

from tests.ingest.scene_files import NORTH, WEST, ground, write_scene

#: Bands of an item: key, STAC common name, size of a pixel in metres.
BANDS = (("B04", "red", 10), ("B03", "green", 10), ("B02", "blue", 10), ("B08", "nir", 10), ("B11", "swir16", 20))


def item_values(
    name: str, *, time: str | None = "2020-05-01T10:00:00Z", assets: Mapping[str, Any], **properties: Any
) -> dict[str, Any]:
    """A STAC 1.0.0 item."""
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": {"type": "Point", "coordinates": [13.5, 52.3]},
        "bbox": [13.5, 52.3, 13.6, 52.4],
        "properties": {"datetime": time, **properties},
        "links": [],
        "assets": assets,
        "stac_extensions": [],
    }


def write_item(
    folder: Path,
    name: str,
    *,
    time: str = "2020-05-01T10:00:00Z",
    seed: int = 0,
    size: int = 64,
    east: int = 0,
    nodata: float | None = None,
    shift: tuple[float, float] = (0.0, 0.0),
    **properties: Any,
) -> dict[str, NDArray[Any]]:
    """Writes an item with its bands, undated themselves, into a folder; gives the bands by common name.

    Args:
        folder: Of the item; the rasters lie in it, too.
        name: Its id.
        time: Its datetime.
        seed: Of the texture.
        size: Pixels of 10 m along one side; even.
        east: Pixels of 10 m by which it lies farther east.
        nodata: Tag of the files.
        shift: Rows and columns by which the texture is moved.
        properties: Further properties.
    """
    written, assets = {}, {}
    for number, (key, common, pixel) in enumerate(BANDS):
        side = size * 10 // pixel
        values = np.round(ground(side, side, seed=seed, shift=shift) * 10 + number * 100).astype(np.uint16)
        transform = Affine(pixel, 0, WEST + 10 * east, 0, -pixel, NORTH)
        path = folder / f"{name}_{key}.tif"
        write_scene(path, values, dtype="uint16", count=1, transform=transform, time=None, nodata=nodata)
        written[common] = values
        assets[key] = {
            "href": f"./{path.name}",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data"],
            "eo:bands": [{"name": key, "common_name": common}],
        }
    values = item_values(name, time=time, assets=assets, **properties)
    (folder / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
    return written
