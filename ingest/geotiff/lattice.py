"""On which grid are two scenes compared?"""

import math
from dataclasses import dataclass

from rasterio.crs import CRS
from shapely.geometry import MultiPolygon, Polygon

from ingest.acquisition import Acquisition
from ingest.geotiff.coarse import cell_factor
from ingest.geotiff.crs import crs_of, ground_gsd, local_crs, longitude_latitude, same_crs, utm_crs
from ingest.geotiff.errors import NoOverlap
from ingest.geotiff.footprint import native_footprint, project, raster_outline
from ingest.grid import Grid

#: Resolutions closer than this ratio count as equal.
SAME_RESOLUTION = 1.2

#: How much smaller the picture of the whole is than that where a larger pair is read in parts.
_REDUCTION = 4


@dataclass(frozen=True, kw_only=True)
class Target:
    """North-up grid of an aligned pair.

    Attributes:
        grid: The grid, cropped to the box around the shared valid ground, true to about a footprint cell.
        factor: Native pixels along the side of one of the grid's; above 1 where the overlap is too large to be held.
        gsd_m: Ground distance of one column step and of one row step, in metres.
        steps: How the grid was chosen, for provenance.
    """

    grid: Grid
    factor: int
    gsd_m: tuple[float, float]
    steps: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Lattice:
    """Endless north-up grid: columns to the east by `x`, rows to the south by `y`, through (`west`, `north`)."""

    crs: CRS
    x: float
    y: float
    west: float
    north: float
    step: str


def choose_target(prior: Acquisition, current: Acquisition, *, most_pixels: int) -> Target:
    """Grid on which two scenes are compared: the current's own where that is possible, so that it is not resampled.

    The coarser of two resolutions is taken where they differ by more than 20 %; degrees become metres in the UTM zone
    of the overlap; a turned grid becomes north-up. Of more than `most_pixels` a picture reduced by a whole factor is
    made; the parts are then read at native resolution (`ingest.pixels.NativeParts`).

    Raises:
        NoOverlap: The valid footprints share no ground.
    """
    shared, extent, local = _shared_ground(prior, current)
    lattice = _choose_lattice(prior, current, shared, local)
    west, south, east, north = project(shared, local.to_wkt(), lattice.crs).bounds
    # the footprint is true to about one of its cells; nothing lies outside both rasters
    margin = cell_factor(*current.grid.shape) * max(lattice.x, lattice.y)
    edge_west, edge_south, edge_east, edge_north = project(extent, local.to_wkt(), lattice.crs).bounds
    bounds = (
        max(west - margin, edge_west),
        max(south - margin, edge_south),
        min(east + margin, edge_east),
        min(north + margin, edge_north),
    )
    grid = _snap(lattice, bounds, factor=1)
    n_pixels = grid.height * grid.width
    factor = 1 if n_pixels <= most_pixels else math.ceil(math.sqrt(_REDUCTION * n_pixels / most_pixels))
    steps = [lattice.step]
    if factor > 1:
        grid = _snap(lattice, bounds, factor=factor)
        steps.append(f"the picture of the whole is reduced by {factor}, since it is too large to be held at once")
    return Target(grid=grid, factor=factor, gsd_m=ground_gsd(grid), steps=tuple(steps))


def _shared_ground(
    prior: Acquisition, current: Acquisition
) -> tuple[Polygon | MultiPolygon, Polygon | MultiPolygon, CRS]:
    """Shared valid ground and shared raster extent of two scenes, in a local equal-area CRS, and that CRS.

    Raises:
        NoOverlap: There is no shared valid ground.
    """
    middle = native_footprint(current).representative_point()
    local = local_crs(*longitude_latitude(current.grid.frame, middle.x, middle.y))
    valid, extents = (
        [project(outline(scene), scene.grid.frame, local) for scene in (prior, current)]
        for outline in (native_footprint, lambda scene: raster_outline(scene.grid))
    )
    shared = valid[0].intersection(valid[1])
    if shared.area == 0:
        raise NoOverlap("The valid footprints of prior and current share no ground; choose another prior.")
    return shared, extents[0].intersection(extents[1]), local


def _choose_lattice(prior: Acquisition, current: Acquisition, shared: Polygon | MultiPolygon, local: CRS) -> _Lattice:
    """The lattice by the rules of `choose_target`."""
    gsd_prior, gsd_current = (math.sqrt(math.prod(ground_gsd(scene.grid))) for scene in (prior, current))
    prior_is_coarser = gsd_prior > SAME_RESOLUTION * gsd_current
    gsd = gsd_prior if prior_is_coarser else gsd_current
    crs = crs_of(current.grid.frame)
    if not crs.is_projected:
        middle = shared.representative_point()
        crs = utm_crs(*longitude_latitude(local.to_wkt(), middle.x, middle.y))
        step = f"target: {crs.to_string()}, the UTM zone of the overlap, because the current is in degrees"
        return _Lattice(crs=crs, x=gsd, y=gsd, west=0.0, north=0.0, step=step)
    if prior_is_coarser and same_crs(prior.grid.frame, current.grid.frame) and _is_upright(prior.grid):
        return _own_lattice(prior.grid, crs, "target: the prior's grid, which is coarser")
    if prior_is_coarser or not _is_upright(current.grid):
        # metres on the ground to units of the CRS, by the current's own pixel
        a, b, _, d, e, _ = current.grid.affine
        size = gsd / gsd_current * math.sqrt(abs(a * e - b * d))
        step = f"target: north-up grid of {gsd:.4g} m in the current's CRS"
        return _Lattice(crs=crs, x=size, y=size, west=0.0, north=0.0, step=step)
    return _own_lattice(current.grid, crs, "target: the current's own grid")


def _is_upright(grid: Grid) -> bool:
    """True if rows and columns run along the axes, in whichever direction."""
    _, b, _, d, _, _ = grid.affine
    return b == 0 and d == 0


def _own_lattice(grid: Grid, crs: CRS, step: str) -> _Lattice:
    """North-up lattice through the pixels of an upright grid; a mirrored grid gives the same lattice."""
    a, _, c, _, e, f = grid.affine
    return _Lattice(crs=crs, x=abs(a), y=abs(e), west=c, north=f, step=step)


def _snap(lattice: _Lattice, bounds: tuple[float, float, float, float], *, factor: int) -> Grid:
    """Smallest grid on the lattice, coarsened by a whole factor, that contains west, south, east and north."""
    x, y = lattice.x * factor, lattice.y * factor
    west, south, east, north = bounds
    # a hundredth of a pixel of rounding in the projection must not add a row
    first_column = math.floor((west - lattice.west) / x + 0.01)
    last_column = math.ceil((east - lattice.west) / x - 0.01)
    first_row = math.floor((lattice.north - north) / y + 0.01)
    last_row = math.ceil((lattice.north - south) / y - 0.01)
    return Grid(
        affine=(x, 0.0, lattice.west + first_column * x, 0.0, -y, lattice.north - first_row * y),
        height=max(1, last_row - first_row),
        width=max(1, last_column - first_column),
        frame=lattice.crs.to_wkt(),
    )
