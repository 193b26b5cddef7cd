"""Which scenes does the sample archive hold: when, on which grid, coded how, under which name?"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import numpy as np

from training.phantoms.scene import ObjectState, PlaceBackground, draw_case, evolve

#: Where a scene says when it was taken.
DATE_SOURCES: Final = ("tag", "imagery", "name")
#: What covers no ground in a scene.
GAPS: Final = ("none", "border", "corners", "both")
#: Metres of a degree of latitude; good to 0.5 %, which only makes a place that much larger or smaller.
METRES_PER_DEGREE: Final = 111_320.0
#: How far a scene may begin beyond (+) or inside (-) the border of its place, in shares of the side: together with the
#: gaps this leaves at least 85 % common to all scenes of a place.
OVERHANG: Final = (-0.010, 0.015)
#: Largest registration error of a scene on each axis, in pixels of the place's finest scene: two differ by at most 0.8.
WOBBLE_PX: Final = 0.28


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedScene:
    """One scene of the archive before it is rendered.

    Attributes:
        place: Number of the place; not in the file.
        name: Path relative to the archive root, POSIX separators.
        time: When it was taken, UTC.
        date_source: One of `DATE_SOURCES`.
        background: The ground of the place.
        objects: What stands there at this date.
        seed: Seed of the acquisition: light, haze, noise.
        size: (height, width).
        window: West, north, east, south limits in shares of the place's side, see `scene.render`.
        offset: Registration error (rows, columns) in pixels, not recorded in the file.
        crs: "EPSG:<code>".
        affine: (a, b, c, d, e, f) in metres or degrees.
        coding: "rgb8", "reflectance16" (uint16) or "reflectance-signed" (int16).
        nodata: Value of pixels outside the ground, None when the file does not declare one.
        gap: One of `GAPS`.
        internal_mask: Whether the gap is given as a mask in place of a nodata value.
        layout: "strips", "tiles" or "cog".
        compress: GDAL's name of the compression.
    """

    place: int
    name: str
    time: datetime
    date_source: str
    background: PlaceBackground
    objects: tuple[ObjectState, ...]
    seed: int
    size: tuple[int, int]
    window: tuple[float, float, float, float]
    offset: tuple[float, float]
    crs: str
    affine: tuple[float, float, float, float, float, float]
    coding: str
    nodata: float | None
    gap: str
    internal_mask: bool
    layout: str
    compress: str


class _Region(NamedTuple):
    """Places lie on a lattice that starts here, 0.1 degrees or 10 km apart."""

    folder: str
    crs: str
    x: float
    y: float


#: UTM zones of both hemispheres and geographic coordinates; no two lattices meet.
_REGIONS: Final = (
    _Region("europe/central", "EPSG:32633", 430_000.0, 5_410_000.0),
    _Region("america/east", "EPSG:32618", 520_000.0, 4_830_000.0),
    _Region("africa/south", "EPSG:32736", 410_000.0, 8_120_000.0),
    _Region("europe/mediterranean", "EPSG:4326", 14.10, 41.30),
    _Region("oceania/south-east", "EPSG:32755", 540_000.0, 6_080_000.0),
    _Region("america/west", "EPSG:32610", 460_000.0, 5_010_000.0),
)
_ROW_LENGTH: Final = 8
#: Beyond this the lattices would leave their zones.
MOST_PLACES: Final = 2000


class _Site(NamedTuple):
    """What all scenes of a place share."""

    region: _Region
    west: float  # of the place, in units of the CRS
    north: float
    span_x: float  # side in units of the CRS
    span_y: float
    coding: str
    is_product: bool  # its scenes are named after a satellite product, date and all
    pixels: tuple[float, ...]  # pixel sizes in use, (finest, ...), metres or degrees
    on_lattice: bool  # all scenes of equal pixel size share one pixel lattice
    wobble: float  # pixels


def plan_archive(*, places: int, seed: int) -> tuple[PlannedScene, ...]:
    """Every valid scene of the archive, by place and then by time; the same for the same seed.

    Args:
        places: Number of places, each with two to four scenes.
        seed: Seed of everything.

    Raises:
        ValueError: `places` is not between 1 and `MOST_PLACES`.
    """
    if not 1 <= places <= MOST_PLACES:
        raise ValueError(f"{places} places make no archive; ask for 1 to {MOST_PLACES}.")
    rng = np.random.default_rng(seed)
    names: set[str] = set()
    return tuple(scene for number in range(places) for scene in _plan_place(rng, number, names))


def _plan_place(rng: np.random.Generator, number: int, names: set[str]) -> Iterator[PlannedScene]:
    site = _draw_site(rng, number)
    background, objects, later, _ = draw_case(rng)
    time = datetime(2015, 1, 1) + timedelta(days=int(rng.integers(0, 1800)))
    for date in range(int(rng.integers(2, 5))):
        if date:
            objects = later if date == 1 else evolve(rng, objects)
        time += timedelta(days=int(rng.integers(25, 500)))
        moment = time.replace(hour=int(rng.integers(9, 12)), minute=int(rng.integers(60)), second=int(rng.integers(60)))
        yield _plan_scene(rng, number, site, background, objects, moment, names)


def _draw_site(rng: np.random.Generator, number: int) -> _Site:
    region = _REGIONS[number % len(_REGIONS)]
    lattice = number // len(_REGIONS)
    column, row = lattice % _ROW_LENGTH, lattice // _ROW_LENGTH
    coding = "rgb8"
    if rng.random() < 0.25:
        coding = "reflectance16" if rng.random() < 0.7 else "reflectance-signed"
    is_product = coding != "rgb8" and bool(rng.random() < 0.5)
    gsd = 0.5 if coding == "rgb8" else 10.0
    side = gsd * float(rng.integers(240, 281))
    x, y, span_x, span_y = region.x, region.y, side, side
    pixels: tuple[float, ...] = (gsd,)
    if region.crs == "EPSG:4326":
        x, y = x + 0.1 * column, y + 0.1 * row
        span_y = side / METRES_PER_DEGREE
        span_x = span_y / math.cos(math.radians(y))
        # Square in degrees, so not square on the ground.
        pixels = (span_x / 256,)
    else:
        x, y = x + 10_000.0 * column, y + 10_000.0 * row
        if rng.random() < 0.4:
            pixels = (gsd, gsd * float(rng.choice([1.2, 1.25, 2.0])))
    return _Site(
        region=region,
        west=x,
        north=y,
        span_x=span_x,
        span_y=span_y,
        coding=coding,
        is_product=is_product,
        pixels=pixels,
        on_lattice=bool(rng.random() < 0.5),
        wobble=WOBBLE_PX if rng.random() < 0.5 else 0.0,
    )


def _plan_scene(
    rng: np.random.Generator,
    number: int,
    site: _Site,
    background: PlaceBackground,
    objects: tuple[ObjectState, ...],
    time: datetime,
    names: set[str],
) -> PlannedScene:
    pixel = float(rng.choice(site.pixels))
    (west, width), (north, height) = (
        _extent(rng, span / pixel, on_lattice=site.on_lattice) for span in (site.span_x, site.span_y)
    )
    left, top = site.west + west * pixel, site.north - north * pixel
    across, down = pixel / site.span_x, pixel / site.span_y
    gap = str(rng.choice(GAPS, p=(0.6, 0.15, 0.15, 0.1)))
    internal_mask = gap != "none" and bool(rng.random() < 0.3)
    source = "name" if site.is_product else str(rng.choice(DATE_SOURCES))
    plain = source != "imagery" and not internal_mask
    # GDAL's COG driver keeps neither the IMAGERY domain nor, without more options, a mask's compression.
    layout = str(rng.choice(("strips", "tiles", "cog") if plain else ("strips", "tiles")))
    finest = site.pixels[0]
    row_error, column_error = (rng.uniform(-1, 1, 2) * site.wobble * (finest / pixel)).tolist()
    return PlannedScene(
        place=number,
        name=_draw_name(rng, site, time, source, names),
        time=time,
        date_source=source,
        background=background,
        objects=objects,
        seed=int(rng.integers(2**31)),
        size=(height, width),
        window=(west * across, north * down, (west + width) * across, (north + height) * down),
        offset=(row_error, column_error),
        crs=site.region.crs,
        affine=(pixel, 0.0, left, 0.0, -pixel, top),
        coding=site.coding,
        nodata=None if internal_mask else _draw_nodata(rng, site.coding, needed=gap != "none"),
        gap=gap,
        internal_mask=internal_mask,
        layout=layout,
        compress=str(rng.choice(("DEFLATE", "LZW"))),
    )


def _extent(rng: np.random.Generator, span: float, *, on_lattice: bool) -> tuple[float, int]:
    """First pixel and number of pixels along one axis of a place that is `span` pixels long."""
    first, last = -rng.uniform(*OVERHANG) * span, span + rng.uniform(*OVERHANG) * span
    if on_lattice:
        first = float(round(first))
    return first, round(last - first)


def _draw_nodata(rng: np.random.Generator, coding: str, *, needed: bool) -> float | None:
    if not needed and rng.random() < 0.5:
        return None
    if coding == "reflectance-signed":
        return -9999.0
    return float(rng.choice((0, 255))) if coding == "rgb8" else 0.0


def _draw_name(rng: np.random.Generator, site: _Site, time: datetime, source: str, names: set[str]) -> str:
    """A file name as mapping agencies use; it holds the date only when nothing else does, and never the place."""
    while True:
        code = "".join(rng.choice(list("abcdefghjkmnpqrstuvwxyz"), 3))
        folder = f"{site.region.folder}/batch-{rng.choice(list('abc'))}"
        if source != "name":
            stem = f"img_{code}{int(rng.integers(100, 1000))}"
        elif site.is_product:
            stem = f"S2A2A_{time:%Y%m%d}_022_{code.capitalize()}_BOA_10"
        elif rng.random() < 0.5:
            stem = f"ortho_{code}_{time:%Y-%m-%d}"
        else:
            stem = f"{time:%Y%m%d_%H%M%S}_{code}_3B_Visual"
        name = f"{folder}/{stem}.tif"
        if name not in names:
            names.add(name)
            return name
