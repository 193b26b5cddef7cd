"""What does the index know about one raster file?"""

import hashlib
import math
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.acquisition import Acquisition
from ingest.geotiff.acquired import Acquired, find_time
from ingest.geotiff.bands import Product, choose_bands, mask_reason, product_of_name
from ingest.geotiff.common_bands import common_bands
from ingest.geotiff.errors import (
    NoCrs,
    NotARaster,
    NoValidPixels,
    TruncatedRaster,
    UnsupportedBands,
    without_path,
)
from ingest.grid import Grid

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

#: Suffixes of rasters.
SUFFIXES = frozenset({".tif", ".tiff", ".gtif", ".gtiff", ".jp2", ".j2k", ".vrt", ".png", ".jpg", ".jpeg"})

#: Suffixes of files that GDAL reads together with the raster of the same name.
_COMPANIONS = {
    ".ovr": "Overviews of the raster of the same name.",
    ".msk": "Valid mask of the raster of the same name, applied with it.",
    **dict.fromkeys((".tfw", ".tifw", ".j2w", ".pgw", ".jgw", ".wld"), "World file of the raster of the same name."),
    ".prj": "Coordinate reference system of the raster of the same name.",
}
COMPANION_SUFFIXES = frozenset(_COMPANIONS)

#: First bytes of the formats that are read, and GDAL's driver for each. No other driver is ever tried on a file.
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"II*\0", "GTiff"),
    (b"MM\0*", "GTiff"),
    (b"II+\0", "GTiff"),
    (b"MM\0+", "GTiff"),
    (b"\0\0\0\x0cjP  ", "JP2OpenJPEG"),
    (b"\xff\x4f\xff\x51", "JP2OpenJPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
)


def is_raster(path: Path) -> bool:
    """True if the suffix or the first bytes are those of a raster, or of its companion, that `index_scene` takes."""
    return path.suffix.lower() in SUFFIXES or _companion_reason(path) is not None or _driver(path) is not None


def index_scene(path: Path, root: Path) -> Acquisition | str:
    """The scene in a raster file, or the reason why the file is a sidecar and no scene.

    Reads every block once, in strips: whether the file is whole, its pixel hash and its valid-data footprint come from
    the same pass. `subject` is a place of its own until `ingest.geotiff.place.assign_places` has seen all scenes.

    Raises:
        NotARaster: The bytes are not those of a supported raster.
        TruncatedRaster: A block cannot be read, or the end of the file is missing.
        NoCrs: The raster does not say where it lies.
        UnsupportedBands: No bands can be shown as red, green and blue.
        NoValidPixels: Every pixel is nodata.
    """
    from rasterio.errors import RasterioIOError

    from ingest.geotiff.environment import gdal_environment
    from ingest.geotiff.tail import check_tail

    name = path.relative_to(root).as_posix()
    if path.suffix.lower() == ".vrt":
        return "Virtual mosaic: it holds no pixels of its own; the rasters it names are indexed themselves."
    companion = _companion_reason(path)
    if companion is not None:
        return companion
    driver = _driver(path)
    if driver is None:
        raise NotARaster(f"{path.name} is named like a raster, but its first bytes are those of none; remove it.")
    check_tail(path, driver)
    try:
        with gdal_environment():
            return _index(path, name, driver)
    except RasterioIOError as error:
        # `from None`: GDAL's own text spells the absolute path
        raise TruncatedRaster(
            f"{path.name} cannot be read to its end ({without_path(error, path)}); copy it again from its source."
        ) from None


def _companion_reason(path: Path) -> str | None:
    """What a file beside a raster is for; None if it is no companion or its raster is not there."""
    reason = _COMPANIONS.get(path.suffix.lower())
    # scene.tif.msk and scene.tfw both belong to scene.tif
    owners = (path.with_suffix(""), *(path.with_suffix(suffix) for suffix in sorted(SUFFIXES)))
    return reason if reason and any(owner.suffix.lower() in SUFFIXES and owner.is_file() for owner in owners) else None


def has_raster_magic(head: bytes) -> bool:
    """True if the first bytes of a file are those of a supported raster."""
    return any(head.startswith(magic) for magic, _ in _MAGIC)


def _driver(path: Path) -> str | None:
    """GDAL's driver for the first bytes of a file; None if they belong to no supported raster."""
    with path.open("rb") as file:
        head = file.read(12)
    return next((driver for magic, driver in _MAGIC if head.startswith(magic)), None)


def _index(path: Path, name: str, driver: str) -> Acquisition | str:
    """The scene or the sidecar's reason; rasterio's errors pass through."""
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    from ingest.geotiff.crs import ground_gsd, longitude_latitude
    from ingest.geotiff.fill import find_fill
    from ingest.geotiff.footprint import to_geojson, to_wkt, valid_polygon
    from ingest.geotiff.strips import read_whole

    product = product_of_name(path.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        src = rasterio.open(path, driver=driver)
    with src:
        fill = find_fill(src, product)
        aside = mask_reason(name)
        if aside is not None:
            read_whole(src, (1,), fill)
            return aside
        grid = _grid(src, path.name)
        if len(set(src.dtypes)) > 1:
            raise UnsupportedBands(f"{path.name} mixes band types; write one type for all bands.")
        colours = [colour.name for colour in src.colorinterp]
        named = common_bands(path.name, src.descriptions, colours)
        display = choose_bands(path.name, src.descriptions, colours, src.dtypes[0])
        whole = read_whole(src, display.indexes, fill)
        if whole.valid_share == 0:
            raise NoValidPixels(f"Every pixel of {path.name} is nodata; leave the file out.")
        acquired = find_time(path.name, src.tags(), src.tags(ns="IMAGERY"))
        dtype = str(src.dtypes[0])

    outline = valid_polygon(grid, whole.coarse, whole.factor)
    gsd = ground_gsd(grid)
    longitude, _ = longitude_latitude(grid.frame, outline.centroid.x, outline.centroid.y)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    identity = f"scene:{sha256[:32]}"
    depth = "8-bit" if dtype == "uint8" else "float" if dtype.startswith("float") else "integer"
    return Acquisition(
        id=identity,
        domain="satellite",
        subject=f"place:{sha256[:32]}",
        time=acquired.time,
        time_source=acquired.source,
        path=path,
        name=name,
        sha256=sha256,
        pixel_sha256=whole.pixel_sha256,
        grid=grid,
        group=f"{display.role} {depth}",
        study=_pass(product, acquired, longitude) or identity,
        attributes={
            "driver": driver,
            "dtype": dtype,
            "bands": display.role,
            "band_indexes": ",".join(str(index) for index in display.indexes),
            "common_bands": ",".join(f"{common}={number}" for common, number in named.items()),
            "nodata": "" if fill.value is None else repr(fill.value),
            "nodata_origin": fill.origin,
            "valid_share": f"{whole.valid_share:.4f}",
            "gsd_m": f"{math.sqrt(gsd[0] * gsd[1]):.4g}",
            "platform": product.platform,
            "product": f"{product.family} {product.level}".strip(),
            "baseline": product.baseline,
            "time_precision": "day" if acquired.by_day else "second",
            "footprint": to_wkt(outline, grid),
            "footprint_wgs84": to_geojson(outline, grid.frame),
            "warnings": " ".join((*acquired.warnings, *filter(None, (display.warning,)))),
        },
    )


def _grid(src: "DatasetReader", name: str) -> Grid:
    """Grid of an open raster.

    Raises:
        NoCrs: The raster has no CRS, no geotransform, or coordinates that are nowhere on the earth.
    """
    from ingest.geotiff.crs import longitude_latitude

    if src.crs is None or not (src.crs.is_projected or src.crs.is_geographic):
        if src.driver in ("PNG", "JPEG"):
            raise NoCrs(
                f"{name} is a picture without a place. Pairs of a change data set (folders A and B) have an order and "
                "no place: they are material for training and evaluation, not an archive of scenes."
            )
        raise NoCrs(f"{name} states no coordinate reference system; assign one (gdal_edit -a_srs) and index again.")
    affine = src.transform
    if affine.is_identity or affine.determinant == 0:
        raise NoCrs(f"{name} states a CRS but no geotransform; assign one (gdal_edit -a_ullr) and index again.")
    grid = Grid(affine=tuple(affine)[:6], height=src.height, width=src.width, frame=src.crs.to_wkt())
    x, y = affine @ (src.width / 2, src.height / 2)
    if not all(math.isfinite(value) for value in longitude_latitude(grid.frame, x, y)):
        raise NoCrs(f"The coordinates of {name} are nowhere in its CRS; assign the right CRS and index again.")
    return grid


def _pass(product: Product, acquired: Acquired, longitude: float) -> str:
    """Platform and solar day, which all tiles of one pass share; "" without a time."""
    if acquired.time is None:
        return ""
    # a day without a time is taken as it stands; a time is UTC and moves by an hour every 15 degrees
    shift = timedelta(0) if acquired.by_day else timedelta(hours=longitude / 15)
    return f"pass:{product.platform or 'unknown platform'}:{acquired.time + shift:%Y-%m-%d}"
