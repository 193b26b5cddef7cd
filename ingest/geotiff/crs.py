"""What do coordinates in a frame mean on the ground?"""

import math
from functools import lru_cache
from typing import Final

from rasterio._err import CPLE_BaseError  # the errors of PROJ have no public name
from rasterio.crs import CRS
from rasterio.warp import transform

from ingest.grid import Grid

#: Frame of pictures without a place, in pixels. GDAL computes between grids of one such system, and with no other.
PICTURE: Final = 'LOCAL_CS["picture",UNIT["pixel",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'

#: No coordinate of a place is as large: the earth's circumference is 4e7 m, or 1.6e9 inches.
_FARTHEST = 1e10

#: Metres a degree of latitude on a sphere of the earth's mean radius.
_METRES_A_DEGREE = 111_195.0


@lru_cache(maxsize=256)
def crs_of(frame: str) -> CRS:
    """The CRS that a grid's frame spells as WKT."""
    return CRS.from_wkt(frame)


@lru_cache(maxsize=4096)
def same_crs(one: str, other: str) -> bool:
    """True if two frames are the same CRS, however they are spelt."""
    return one == other or crs_of(one) == crs_of(other)


def longitude_latitude(frame: str, x: float, y: float) -> tuple[float, float]:
    """Longitude and latitude in degrees (WGS84) of one point; infinite where that lies outside of the projection."""
    # PROJ takes minutes to find that a coordinate of 1e30 is nowhere.
    if not max(abs(x), abs(y)) < _FARTHEST:
        return math.inf, math.inf
    try:
        longitudes, latitudes = transform(crs_of(frame), CRS.from_epsg(4326), [x], [y])
    except CPLE_BaseError:
        return math.inf, math.inf
    return longitudes[0], latitudes[0]


def local_crs(longitude: float, latitude: float) -> CRS:
    """Equal-area CRS in metres around one point: areas hold across the antimeridian and at the poles."""
    return CRS.from_proj4(f"+proj=laea +lat_0={latitude:.4f} +lon_0={longitude:.4f} +datum=WGS84 +units=m")


def utm_crs(longitude: float, latitude: float) -> CRS:
    """UTM zone of a point, or the polar stereographic CRS beyond 84 N and 80 S."""
    if latitude > 84:
        return CRS.from_epsg(5041)
    if latitude < -80:
        return CRS.from_epsg(5042)
    zone = int(((longitude + 180) % 360) // 6) + 1
    return CRS.from_epsg((32600 if latitude >= 0 else 32700) + zone)


def ground_gsd(grid: Grid) -> tuple[float, float]:
    """Metres on the ground that one column step and one row step cover, at the middle of the grid; else pixels."""
    a, b, c, d, e, f = grid.affine
    if grid.frame == PICTURE:
        return math.hypot(a, d), math.hypot(b, e)
    crs = crs_of(grid.frame)
    if crs.is_projected:
        metres = crs.linear_units_factor[1]
        nominal = (math.hypot(a, d) * metres, math.hypot(b, e) * metres)
    else:
        nominal = (0.0, 0.0)
    column, row = grid.width / 2, grid.height / 2
    points = [(column, row), (column + 1, row), (column, row + 1)]
    xs = [a * x + b * y + c for x, y in points]
    ys = [d * x + e * y + f for x, y in points]
    longitudes, latitudes = transform(crs, CRS.from_epsg(4326), xs, ys)
    steps = []
    for i in (1, 2):
        east = (longitudes[i] - longitudes[0] + 180) % 360 - 180
        north = latitudes[i] - latitudes[0]
        steps.append(math.hypot(east * math.cos(math.radians(latitudes[0])), north) * _METRES_A_DEGREE)
    # UTM and its like are true to about 0.1 %, the sphere above to 0.5 %: then the nominal size is the better figure
    if all(size and abs(step / size - 1) < 0.01 for step, size in zip(steps, nominal, strict=True)):
        return nominal
    return steps[0], steps[1]
