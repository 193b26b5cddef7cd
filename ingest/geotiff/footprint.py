"""Which ground does a scene cover with valid data, and how much of it does another scene share?"""

import json

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.features import shapes
from rasterio.warp import transform, transform_geom
from shapely import affinity
from shapely.geometry import MultiPolygon, Polygon, box, mapping, shape

from ingest.acquisition import Acquisition
from ingest.geotiff.crs import crs_of, local_crs, longitude_latitude, same_crs
from ingest.grid import Grid

_WGS84 = CRS.from_epsg(4326)

#: Holes and islands below this share of the footprint are cloud-sized detail that pairing does not need.
_DETAIL = 0.002


def valid_polygon(grid: Grid, coarse: NDArray[np.float64], factor: float) -> Polygon | MultiPolygon:
    """Ground with valid data, in the grid's own frame.

    Args:
        grid: Where the scene lies.
        coarse: (rows, columns) share of valid pixels a cell; at least one is above zero.
        factor: Pixels a cell, along one side. The outline is true to about one cell.
    """
    raster = box(0, 0, grid.width, grid.height)
    if coarse.min() == 1.0:
        outline: Polygon | MultiPolygon = raster
    else:
        is_valid = coarse >= 0.5
        if not is_valid.any():
            is_valid = coarse > 0
        cells = _cells(is_valid)
        whole = affinity.scale(shapely.union_all(cells), factor, factor, origin=(0, 0)).intersection(raster)
        outline = _without_detail(whole.simplify(factor, preserve_topology=True))
    return _to_frame(outline, grid)


def _cells(is_valid: NDArray[np.bool_]) -> list[Polygon]:
    """Outlines of the cells that are valid; at least one is."""
    rows, columns = np.flatnonzero(is_valid.any(axis=1)), np.flatnonzero(is_valid.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    # most scenes are a box, and to trace it takes longer than all else that is done with a header
    if is_valid[top:bottom, left:right].all():
        return [box(left, top, right, bottom)]
    return [shape(cell) for cell, _ in shapes(is_valid.astype(np.uint8), mask=is_valid)]


def raster_outline(grid: Grid) -> Polygon:
    """Outline of all pixels of a grid, in its frame."""
    return _to_frame(box(0, 0, grid.width, grid.height), grid)


def _to_frame(outline: Polygon | MultiPolygon, grid: Grid) -> Polygon | MultiPolygon:
    """From columns and rows to the coordinates of the grid's frame."""
    a, b, c, d, e, f = grid.affine
    return affinity.affine_transform(outline, [a, b, d, e, c, f])


def _without_detail(outline: Polygon | MultiPolygon) -> Polygon | MultiPolygon:
    """The outline without holes and islands too small to matter for pairing."""
    least = outline.area * _DETAIL
    parts = []
    for part in shapely.get_parts(outline):
        if part.area >= least:
            parts.append(Polygon(part.exterior, [hole for hole in part.interiors if Polygon(hole).area >= least]))
    return shapely.union_all(parts)


def to_wkt(polygon: Polygon | MultiPolygon, grid: Grid) -> str:
    """The polygon as WKT, rounded to about a hundredth of a pixel."""
    pixel = min(abs(step) for step in (*grid.affine[:2], *grid.affine[3:5]) if step)
    return str(shapely.to_wkt(polygon, rounding_precision=max(0, 2 - int(np.floor(np.log10(pixel)))), trim=True))


def to_geojson(polygon: Polygon | MultiPolygon, frame: str) -> str:
    """The polygon as GeoJSON geometry in longitude and latitude, cut at the antimeridian.

    Source: RFC 7946, sections 3.1.9 and 4.
    """
    west, south, east, north = polygon.bounds
    # straight edges of the grid are curves in longitude and latitude
    dense = polygon.segmentize(max(east - west, north - south) / 8)
    xy = shapely.get_coordinates(dense)
    longitudes, latitudes = (np.round(values, 6) for values in transform(crs_of(frame), _WGS84, xy[:, 0], xy[:, 1]))
    if np.isfinite(longitudes).all() and np.ptp(longitudes) < 180:
        placed = shapely.set_coordinates(dense, np.column_stack([longitudes, latitudes]))
    else:
        # GDAL cuts at the antimeridian, and takes eight times as long
        placed = shape(transform_geom(crs_of(frame), _WGS84, mapping(dense), precision=6))
    return json.dumps(mapping(shapely.make_valid(placed)), separators=(",", ":"))


class Footprints:
    """Valid-data footprints of scenes, parsed once, and their overlaps."""

    def __init__(self, acquisitions: tuple[Acquisition, ...]) -> None:
        self._acquisitions = acquisitions
        self._native = [native_footprint(acquisition) for acquisition in acquisitions]
        geographic = [shape(json.loads(a.attributes["footprint_wgs84"])) for a in acquisitions]
        # one box for each side of the antimeridian: a single box would span the globe
        boxes = [
            (box(*part.bounds), i) for i, geometry in enumerate(geographic) for part in shapely.get_parts(geometry)
        ]
        self._owners = [i for _, i in boxes]
        self._tree = shapely.STRtree([outline for outline, _ in boxes])
        self._boxes: list[list[Polygon]] = [[] for _ in acquisitions]
        for outline, i in boxes:
            self._boxes[i].append(outline)

    def near(self, index: int) -> list[int]:
        """Indexes of the scenes whose boxes touch this one's, in ascending order, without itself."""
        hits = {self._owners[hit] for part in self._boxes[index] for hit in self._tree.query(part)}
        return sorted(hits - {index})

    def overlap(self, one: int, other: int) -> float:
        """Shared valid ground as a share of the smaller of two footprints, 0 to 1."""
        shared, first, second = self._areas(one, other)
        return shared / min(first, second) if min(first, second) > 0 else 0.0

    def coverage(self, one: int, other: int) -> float:
        """Share of `one`'s valid ground that `other` covers with valid data, 0 to 1."""
        shared, first, _ = self._areas(one, other)
        return shared / first if first > 0 else 0.0

    def _areas(self, one: int, other: int) -> tuple[float, float, float]:
        """Area shared, of the one and of the other, in one unit."""
        first, second = self._native[one], self._native[other]
        frame, other_frame = self._acquisitions[one].grid.frame, self._acquisitions[other].grid.frame
        if not same_crs(frame, other_frame):
            centre = first.representative_point()
            local = local_crs(*longitude_latitude(frame, centre.x, centre.y))
            first, second = project(first, frame, local), project(second, other_frame, local)
        return float(first.intersection(second).area), float(first.area), float(second.area)


def native_footprint(acquisition: Acquisition) -> Polygon | MultiPolygon:
    """Footprint of an indexed scene in its own frame."""
    return shapely.make_valid(shapely.from_wkt(acquisition.attributes["footprint"]))


def project(polygon: Polygon | MultiPolygon, frame: str, target: CRS) -> Polygon | MultiPolygon:
    """The polygon in another CRS, with its long edges bent as they should be."""
    west, south, east, north = polygon.bounds
    dense = polygon.segmentize(max(east - west, north - south) / 8)
    return shapely.make_valid(shape(transform_geom(crs_of(frame), target, mapping(dense))))
