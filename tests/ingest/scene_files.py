"""Small GeoTIFF files for tests: textured ground with a known displacement."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine
from scipy.ndimage import gaussian_filter, map_coordinates

from ingest.acquisition import Acquisition
from ingest.geotiff.place import assign_places
from ingest.geotiff.scene import index_scene
from ingest.pairing import Pair, make_pair

#: Upper left corner of the test scenes in UTM zone 33 north, metres.
WEST, NORTH = 400_000.0, 5_800_000.0


def ground(
    height: int = 256, width: int = 256, *, seed: int = 0, shift: tuple[float, float] = (0.0, 0.0)
) -> NDArray[Any]:
    """(H, W) smooth texture between 40 and 215; `shift` moves its content down and to the right, in pixels."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal((height + 64, width + 64)), 1.5)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64) + 32
    moved = map_coordinates(noise, [rows - shift[0], columns - shift[1]], order=3)
    scaled = (moved - noise.min()) / (noise.max() - noise.min())
    return np.asarray(40 + 175 * scaled)


def write_scene(
    path: Path,
    values: NDArray[Any],
    *,
    dtype: str = "uint8",
    crs: str | None = "EPSG:32633",
    transform: Affine | None = None,
    pixel: float = 10.0,
    nodata: float | None = None,
    time: str | None = "2020:05:01 10:00:00",
    descriptions: tuple[str, ...] = (),
    imagery: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    **profile: Any,
) -> Path:
    """Writes (H, W) or (C, H, W) values; one plane becomes three equal bands unless `profile` says count=1."""
    bands = values if values.ndim == 3 else np.repeat(values[None], profile.pop("count", 3), axis=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=bands.shape[1],
        width=bands.shape[2],
        count=bands.shape[0],
        dtype=dtype,
        crs=crs,
        transform=Affine(pixel, 0, WEST, 0, -pixel, NORTH) if transform is None else transform,
        nodata=nodata,
        **profile,
    ) as out:
        if time is not None:
            out.update_tags(TIFFTAG_DATETIME=time)
        out.update_tags(**(tags or {}))
        if imagery:
            out.update_tags(ns="IMAGERY", **imagery)
        for i, text in enumerate(descriptions, start=1):
            out.set_band_description(i, text)
        out.write(bands.astype(dtype))
    return path


def scene(path: Path) -> Acquisition:
    """The scene in a file that must hold one."""
    found = index_scene(path, path.parent)
    if isinstance(found, str):
        raise TypeError(found)
    return found


def paired(prior: Path, current: Path) -> Pair:
    """The two files as a pair, whatever pairing would say."""
    first, second = assign_places([scene(prior), scene(current)])
    return make_pair(first, second, reason="test")
