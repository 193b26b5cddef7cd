"""What does the index know about one raster file: from its header first, from its pixels later?"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ingest.acquisition import Acquisition
from ingest.geotiff.acquired import Acquired, find_time
from ingest.geotiff.bands import choose_bands, mask_reason, preview_reason, product_of_name
from ingest.geotiff.common_bands import common_bands
from ingest.geotiff.errors import (
    LeadsElsewhere,
    NoCrs,
    NotARaster,
    NoValidPixels,
    TooLargeBlocks,
    TruncatedRaster,
    UnsupportedBands,
    without_path,
)
from ingest.geotiff.formats import check_beside, companion_reason, driver_of
from ingest.grid import Grid

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

    from ingest.geotiff.coarse import Coarse

#: Most bytes of the blocks that one read needs at least, and most bands: GDAL holds a row of whole blocks.
_MOST_BLOCK_BYTES, _MOST_BANDS = 2**28, 1000

#: Bytes at the beginning and at the end of a file by which it is known, and of each sample in between.
_ENDS, _SAMPLE, _N_SAMPLES = 2**16, 2**12, 16


def read_header(path: Path, root: Path) -> Acquisition | str:
    """The scene in a raster file by its header, or the reason why the file is a sidecar and no scene.

    Of the pixels only overviews are read, or all of a small raster, for the footprint of valid data; the hashes stay
    empty. `subject` is a place of its own until `ingest.geotiff.place.assign_places` has seen all scenes.

    Raises:
        NotARaster: The bytes are not those of a supported raster.
        TruncatedRaster: A block lies beyond the end of the file, or the header cannot be read.
        LeadsElsewhere: Its overviews or mask are said to lie in another file.
        NoCrs: The raster does not say where it lies.
        UnsupportedBands: No bands can be shown as red, green and blue.
        NoValidPixels: Every pixel is nodata.
        TooLargeBlocks: A block, or the number of bands, takes too much memory.
    """
    return _scene(path, root, is_whole=False)


def index_scene(path: Path, root: Path) -> Acquisition | str:
    """The same after reading every block once, in strips: with hashes and the exact footprint.

    Raises:
        IngestError: As `read_header`; `TruncatedRaster` also where a block cannot be read.
    """
    return _scene(path, root, is_whole=True)


def _scene(path: Path, root: Path, *, is_whole: bool) -> Acquisition | str:
    from rasterio.errors import CRSError, RasterioError

    from ingest.geotiff.environment import gdal_environment
    from ingest.geotiff.tail import check_tail

    companion = companion_reason(path)
    if companion is not None:
        return companion
    driver = driver_of(path)
    if driver is None:
        raise NotARaster(f"{path.name} is named like a raster, but its first bytes are those of none; remove it.")
    check_beside(path)
    check_tail(path, driver)
    try:
        with gdal_environment():
            return _read(path, path.relative_to(root).as_posix(), driver, is_whole)
    except (RasterioError, CRSError) as error:
        # `from None`: GDAL's own text spells the absolute path
        raise TruncatedRaster(
            f"{path.name} cannot be read to its end ({without_path(error, path)}); copy it again from its source."
        ) from None


def _read(path: Path, name: str, driver: str, is_whole: bool) -> Acquisition | str:
    """The scene or the sidecar's reason; rasterio's errors pass through."""
    from ingest.geotiff.coarse import read_coarse
    from ingest.geotiff.fill import find_fill
    from ingest.geotiff.pictures import as_picture, is_picture, may_be_picture
    from ingest.geotiff.strips import read_whole

    product = product_of_name(path.name)
    with open_raster(path, driver) as src:
        check_blocks(src, path.name)
        fill = find_fill(src, product)
        aside = mask_reason(name)
        if src.crs is None and not may_be_picture(path):
            aside = aside or preview_reason(path.name)
        if aside is not None:
            return aside
        grid = _grid(src, path)
        if len(set(src.dtypes)) > 1:
            raise UnsupportedBands(f"{path.name} mixes band types; write one type for all bands.")
        colours = [colour.name for colour in src.colorinterp]
        display = choose_bands(path.name, src.descriptions, colours, src.dtypes[0])
        named = common_bands(path.name, src.descriptions, colours)
        pixel_sha256 = ""
        if is_whole:
            pixel_sha256, coarse = read_whole(src, display.indexes, fill)
        else:
            coarse = read_coarse(src, display.indexes, fill)
        n_bands = src.count
        acquired = find_time(path.name, src.tags(), src.tags(ns="IMAGERY"))
        dtype = str(src.dtypes[0])

    sha256 = ""
    if is_whole:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    identity = f"scene:{_sample(path)[:32]}"
    depth = "8-bit" if dtype == "uint8" else "float" if dtype.startswith("float") else "integer"
    scene = Acquisition(
        id=identity,
        domain="satellite",
        subject=identity.replace("scene", "place"),
        time=acquired.time,
        time_source=acquired.source,
        path=path,
        name=name,
        sha256=sha256,
        pixel_sha256=pixel_sha256,
        grid=grid,
        group=f"{display.role} {depth}",
        attributes={
            "driver": driver,
            "dtype": dtype,
            "n_bands": str(n_bands),
            "bands": display.role,
            "band_indexes": ",".join(str(index) for index in display.indexes),
            "common_bands": ",".join(f"{common}={number}" for common, number in named.items()),
            "nodata": "" if fill.value is None else repr(fill.value),
            "nodata_origin": fill.origin,
            "platform": product.platform,
            "product": f"{product.family} {product.level}".strip(),
            "baseline": product.baseline,
            "processed": product.processed,
            "time_precision": precision_of(acquired),
            "warnings": " ".join(acquired.warnings),
        },
    )
    if is_picture(scene):
        _check_some_valid(scene, coarse)
        return as_picture(scene, coarse.valid_share)
    return with_pass(with_footprint(scene, coarse))


@contextmanager
def open_raster(path: Path, driver: str) -> "Iterator[DatasetReader]":
    """A raster of an archive, opened with the driver that its first bytes ask for and no other."""
    import rasterio

    with rasterio.open(path, driver=driver) as src:
        # asked before any overview is: GDAL would open the file that is named here, whatever it is
        if any(key.upper() == "OVERVIEW_FILE" for key in src.tags(ns="OVERVIEWS")):
            raise LeadsElsewhere(
                f"The metadata of {path.name} names another file for its overviews; remove that entry."
            )
        yield src


def check_blocks(src: "DatasetReader", name: str) -> None:
    """Refuses what cannot be read in parts that fit into memory.

    Raises:
        TooLargeBlocks: A row of blocks over all bands is too large, or there are too many bands.
    """
    if src.count > _MOST_BANDS:
        raise TooLargeBlocks(f"{name} has {src.count} bands; write at most {_MOST_BANDS} into one file.")
    rows = max(height for height, _ in src.block_shapes)
    width = max(src.width, max(width for _, width in src.block_shapes))
    # 16: complex numbers, some of which NumPy does not know
    value_bytes = 16 if "complex" in src.dtypes[0] else np.dtype(src.dtypes[0]).itemsize
    if rows * width * src.count * value_bytes > _MOST_BLOCK_BYTES:
        raise TooLargeBlocks(
            f"A row of blocks of {name} ({rows} x {width} pixels, {src.count} bands) takes too much memory; write it "
            "in tiles (gdal_translate -of COG) and index again."
        )


def with_footprint(scene: Acquisition, coarse: "Coarse") -> Acquisition:
    """The scene with what the reduced mask of its valid pixels tells.

    Raises:
        NoValidPixels: Every pixel is nodata.
    """
    from ingest.geotiff.crs import ground_gsd
    from ingest.geotiff.footprint import to_geojson, to_wkt, valid_polygon

    _check_some_valid(scene, coarse)
    outline = valid_polygon(scene.grid, coarse.share, coarse.factor)
    gsd = ground_gsd(scene.grid)
    found = {
        "valid_share": f"{coarse.valid_share:.4f}",
        "footprint_origin": coarse.origin,
        "gsd_m": f"{math.sqrt(gsd[0] * gsd[1]):.4g}",
        "footprint": to_wkt(outline, scene.grid),
        "footprint_wgs84": to_geojson(outline, scene.grid.frame),
    }
    return replace(scene, attributes={**scene.attributes, **found})


def _check_some_valid(scene: Acquisition, coarse: "Coarse") -> None:
    if coarse.valid_share == 0:
        raise NoValidPixels(f"Every pixel of {scene.path.name} is nodata; leave the file out.")


def with_pass(scene: Acquisition) -> Acquisition:
    """The scene with the pass that it belongs to: platform and solar day, which all tiles of one pass share."""
    import json

    from shapely.geometry import shape

    study = scene.id
    if scene.time is not None:
        longitude = shape(json.loads(scene.attributes["footprint_wgs84"])).representative_point().x
        study = f"pass:{scene.attributes['platform'] or 'unknown platform'}:{solar_day(scene, longitude):%Y-%m-%d}"
    return replace(scene, study=study)


def solar_day(scene: Acquisition, longitude: float) -> datetime:
    """The acquisition time of a dated scene moved to local solar time.

    Raises:
        ValueError: The scene has no date.
    """
    if scene.time is None:
        raise ValueError("an undated scene belongs to no day")
    # a day without a time is taken as it stands; a time is UTC and moves by an hour every 15 degrees
    by_day = scene.attributes["time_precision"] == "day"
    return scene.time + (timedelta(0) if by_day else timedelta(hours=longitude / 15))


def precision_of(acquired: Acquired) -> str:
    """How exactly the acquisition time is known: "day" or "second"."""
    return "day" if acquired.by_day else "second"


def _sample(path: Path) -> str:
    """Hash of a file's size, its ends and samples in between; of all of it where it is small.

    Equal files have equal ones. Different files may, too, and are told apart by the hash of all their bytes.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= 2 * _ENDS + _SAMPLE * _N_SAMPLES:
            digest.update(file.read())
        else:
            digest.update(file.read(_ENDS))
            for number in range(1, _N_SAMPLES + 1):
                file.seek(size * number // (_N_SAMPLES + 1))
                digest.update(file.read(_SAMPLE))
            file.seek(size - _ENDS)
            digest.update(file.read(_ENDS))
    return digest.hexdigest()


def _grid(src: "DatasetReader", path: Path) -> Grid:
    """Grid of an open raster; that of a picture without a place in the folders of a change data set.

    Raises:
        NoCrs: The raster has no CRS, no geotransform, or coordinates that are nowhere on the earth.
    """
    from ingest.geotiff.crs import longitude_latitude
    from ingest.geotiff.pictures import may_be_picture, picture_grid

    name = path.name
    if src.crs is None and src.transform.is_identity and may_be_picture(path):
        return picture_grid(src.height, src.width)
    if src.crs is None or not (src.crs.is_projected or src.crs.is_geographic):
        if src.driver in ("PNG", "JPEG"):
            raise NoCrs(
                f"{name} is a picture without a place. Only the two pictures of a change data set, of one name in "
                "folders A and B beside each other, are taken without one."
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


def display_indexes(scene: Acquisition) -> Sequence[int]:
    """Numbers, from 1, of the bands that are shown."""
    return [int(index) for index in scene.attributes["band_indexes"].split(",")]
