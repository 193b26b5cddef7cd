"""A control point is at one pixel of both dates, as GDAL's own programs place it, whatever their reference systems."""

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine

from ingest.geotiff.align import align_scenes
from ingest.geotiff.crs import crs_of
from ingest.geotiff.warp import is_on_lattice
from ingest.grid import Grid
from tests.ingest.scene_files import paired, write_scene

LATER = "2021:05:01 10:00:00"

#: The same projection as EPSG:32633, and one like it that no code names.
UTM_33 = "+proj=tmerc +lat_0=0 +lon_0=15 +k=0.9996 +x_0=500000 +y_0=0 +datum=WGS84 +units=m"
NO_CODE = "+proj=laea +lat_0=52.3 +lon_0=17.6 +x_0=1234.5 +y_0=-77 +datum=WGS84 +units=m"

#: Longitude and latitude around the middle of a scene, in pixels of 10 m.
OFFSETS = ((0, 0), (-70, -64), (-61, 72), (66, -70), (73, 59))

#: Standard deviation of a point's picture, in pixels.
SPREAD = 3.0


def transformed(
    program: Path, source: str, target: str, points: list[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Coordinates by `gdaltransform`, which reads and writes longitude first."""
    text = "\n".join(f"{x!r} {y!r}" for x, y in points)
    command = [program, "-s_srs", source, "-t_srs", target, "-output_xy"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return [(float(x), float(y)) for x, y in (line.split()[:2] for line in done.stdout.strip().splitlines())]


def control_points(longitude: float, latitude: float) -> list[tuple[float, float]]:
    north = 10 / 111_195
    east = north / math.cos(math.radians(latitude))
    return [((longitude + right * east + 180) % 360 - 180, latitude - down * north) for down, right in OFFSETS]


def picture(transform: Affine, points: list[tuple[float, float]], side: int) -> NDArray[np.float64]:
    """(side, side) dark ground with a bright spot at each point; positions count from the corner of the first pixel."""
    rows, columns = np.mgrid[0:side, 0:side] + 0.5
    values = np.full((side, side), 40.0)
    for x, y in points:
        column, row = ~transform @ (x, y)
        values += 200 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * SPREAD**2))
    return values


def spots(values: NDArray[np.float32], near: list[tuple[float, float]]) -> NDArray[np.float64]:
    """(N, 2) column and row of the spot around each place, by the centre of its light."""
    found = []
    for column, row in near:
        top, left = round(row) - 12, round(column) - 12
        part = np.clip(values[top : top + 25, left : left + 25].astype(np.float64) * 255 - 40, 0, None)
        rows, columns = np.mgrid[top : top + 25, left : left + 25] + 0.5
        found.append(((columns * part).sum() / part.sum(), (rows * part).sum() / part.sum()))
    return np.asarray(found)


def write(path: Path, program: Path, crs: str, points: list[tuple[float, float]], *, offset: float, time: str) -> Path:
    """A scene around the points in a reference system, its grid `offset` pixels off the whole ones."""
    placed = transformed(program, "EPSG:4326", crs, points)
    degrees = rasterio.crs.CRS.from_user_input(crs).is_geographic
    pixel = 10 / 111_195 if degrees else 10.0
    x, y = placed[0]
    side = 360 if degrees else 260
    wide = pixel * 1.4 if degrees else pixel
    west, north = (round(x / wide) + offset - side // 2) * wide, (round(y / pixel) - offset + side // 2) * pixel
    transform = Affine(wide, 0, west, 0, -pixel, north)
    return write_scene(path, picture(transform, placed, side), crs=crs, transform=transform, time=time)


@pytest.mark.parametrize(
    ("prior", "current", "place"),
    [
        ("EPSG:32634", "EPSG:32633", (18.0, 52.3)),
        ("EPSG:32633", "EPSG:32634", (18.0, -0.001)),
        ("EPSG:4326", "EPSG:32633", (15.3, 52.3)),
        ("EPSG:32633", "EPSG:4326", (15.3, 52.3)),
        ("EPSG:32633", "EPSG:32633", (15.3, 52.3)),
        (UTM_33, "EPSG:32633", (15.3, 52.3)),
        (NO_CODE, "EPSG:32633", (17.6, 52.3)),
        ("EPSG:32633", NO_CODE, (17.6, 52.3)),
        ("EPSG:32601", "EPSG:32660", (180.0, 65.0)),
        ("EPSG:3857", "EPSG:32719", (-68.2, -16.5)),
    ],
)
@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_a_control_point_is_at_one_pixel_of_both_dates(
    tmp_path: Path,
    require_program: Callable[[str], Path],
    prior: str,
    current: str,
    place: tuple[float, float],
    offset: float,
) -> None:
    gdaltransform, gdalwarp = require_program("gdaltransform"), require_program("gdalwarp")
    points = control_points(*place)
    first = write(tmp_path / "a.tif", gdaltransform, prior, points, offset=offset, time="2020:05:01 10:00:00")
    second = write(tmp_path / "b.tif", gdaltransform, current, points, offset=0.0, time=LATER)

    aligned = align_scenes(paired(first, second))

    grid = aligned.current.grid
    assert aligned.quality["shift_row_px"] == aligned.quality["shift_col_px"] == 0
    places = placed_on(grid, gdaltransform, points)
    in_prior, in_current = (spots(date.values[0], places) for date in (aligned.prior, aligned.current))
    assert np.abs(in_prior - in_current).max() < 0.1
    assert np.abs(in_current - places).max() < 0.1
    # and as gdalwarp has it
    theirs = warped(gdalwarp, first, grid, tmp_path / "warped.tif")
    assert np.abs(in_prior - spots(theirs / np.float32(255), places)).max() < 0.05
    inner = (slice(30, -30), slice(30, -30))
    assert np.abs(aligned.prior.values[0][inner] * 255 - theirs[inner]).mean() < 0.3


def placed_on(grid: Grid, program: Path, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Column and row of each point on a grid."""
    return [
        ~Affine(*grid.affine) @ point
        for point in transformed(program, "EPSG:4326", crs_of(grid.frame).to_wkt(), points)
    ]


def warped(program: Path, source: Path, grid: Grid, out: Path) -> NDArray[np.float32]:
    """(H, W) first band of a scene on a grid, by `gdalwarp`."""
    a, _, west, _, e, north = grid.affine
    bounds = (west, north + e * grid.height, west + a * grid.width, north)
    command = [program, "-q", "-r", "bilinear", "-ot", "Float32", "-t_srs", crs_of(grid.frame).to_wkt()]
    command += ["-te", *(repr(one) for one in bounds), "-ts", str(grid.width), str(grid.height), source, out]
    subprocess.run(command, check=True, capture_output=True)
    with rasterio.open(out) as src:
        return np.asarray(src.read(1), dtype=np.float32)


def test_point_and_area_rasters_of_one_place_are_one_grid(
    tmp_path: Path, require_program: Callable[[str], Path]
) -> None:
    import tifffile

    translate, gdaltransform = require_program("gdal_translate"), require_program("gdaltransform")
    points = control_points(15.3, 52.3)
    area = write(tmp_path / "a.tif", gdaltransform, "EPSG:32633", points, offset=0.0, time="2020:05:01 10:00:00")
    plain = write(tmp_path / "plain.tif", gdaltransform, "EPSG:32633", points, offset=0.0, time=LATER)
    point = tmp_path / "b.tif"
    subprocess.run([translate, "-q", "-mo", "AREA_OR_POINT=Point", plain, point], check=True)
    # the two files state other coordinates: of the first pixel's corner, and of its centre
    stated = []
    for path in (area, point):
        with tifffile.TiffFile(path) as tiff:
            stated.append(tiff.pages.first.tags["ModelTiepointTag"].value[3:5])
    assert np.subtract(*stated) == pytest.approx((-5, 5))

    pair = paired(area, point)
    aligned = align_scenes(pair)

    assert is_on_lattice(pair.prior.grid, pair.current.grid)
    assert np.array_equal(aligned.prior.values, aligned.current.values)
    places = placed_on(aligned.current.grid, gdaltransform, points)
    assert np.abs(spots(aligned.current.values[0], places) - places).max() < 0.1


def test_a_point_raster_is_warped_as_gdalwarp_does(tmp_path: Path, require_program: Callable[[str], Path]) -> None:
    gdaltransform, gdalwarp = require_program("gdaltransform"), require_program("gdalwarp")
    points = control_points(18.0, 52.3)
    first = write(tmp_path / "a.tif", gdaltransform, "EPSG:32634", points, offset=0.5, time="2020:05:01 10:00:00")
    with rasterio.open(first, "r+") as out:
        out.update_tags(AREA_OR_POINT="Point")
    second = write(tmp_path / "b.tif", gdaltransform, "EPSG:32633", points, offset=0.0, time=LATER)

    aligned = align_scenes(paired(first, second))

    places = placed_on(aligned.current.grid, gdaltransform, points)
    theirs = warped(gdalwarp, first, aligned.current.grid, tmp_path / "warped.tif")
    assert np.abs(spots(aligned.prior.values[0], places) - spots(theirs / np.float32(255), places)).max() < 0.05
    assert np.abs(spots(aligned.prior.values[0], places) - spots(aligned.current.values[0], places)).max() < 0.1


def test_the_real_scene_across_the_antimeridian_lies_where_gdal_puts_it(
    shared_data: Path, require_program: Callable[[str], Path], tmp_path: Path
) -> None:
    """A part of it with clouds on the meridian, and its copy in the neighbouring zone, made by gdalwarp."""
    gdalwarp, translate = require_program("gdalwarp"), require_program("gdal_translate")
    source, prior, current = (
        shared_data / "satellite/landsat_dateline/cog_dateline.tif",
        tmp_path / "a.tif",
        tmp_path / "b.tif",
    )
    subprocess.run([translate, "-q", "-srcwin", "900", "900", "700", "500", source, current], check=True)
    subprocess.run([gdalwarp, "-q", "-r", "cubic", "-t_srs", "EPSG:32601", current, prior], check=True)
    for path, time in ((prior, "2020:05:01 10:00:00"), (current, LATER)):
        with rasterio.open(path, "r+") as out:
            out.nodata = 0
            out.update_tags(TIFFTAG_DATETIME=time)

    pair = paired(prior, current)
    aligned = align_scenes(pair)

    assert {json.loads(one.attributes["footprint_wgs84"])["type"] for one in (pair.prior, pair.current)} == {
        "MultiPolygon"
    }
    assert aligned.quality["valid_share_both"] > 0.95
    assert aligned.quality["shift_row_px"] == aligned.quality["shift_col_px"] == 0
    both = aligned.prior.valid & aligned.current.valid
    assert np.corrcoef(aligned.prior.values[0, both], aligned.current.values[0, both])[0, 1] > 0.97
