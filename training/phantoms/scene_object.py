"""What does an object of a generated scene look like, and which ground does it cover?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.phantoms.scene_ground import smooth_noise

#: North-west corner of each quadrant in shares of the place's side, x east, y south.
QUADRANTS: Final[dict[str, tuple[float, float]]] = {
    "north-west": (0.0, 0.0),
    "north-east": (0.5, 0.0),
    "south-west": (0.0, 0.5),
    "south-east": (0.5, 0.5),
}

#: No object comes nearer to a border of its quadrant, in shares of the place's side.
MARGIN: Final = 0.06

#: Parts of a quadrant's inside that an object may have to itself: west, north, east, south borders within the quadrant.
SLOTS: Final[dict[str, tuple[float, float, float, float]]] = {
    "whole": (0.06, 0.06, 0.44, 0.44),
    "west": (0.06, 0.06, 0.24, 0.44),
    "east": (0.26, 0.06, 0.44, 0.44),
    "north": (0.06, 0.06, 0.44, 0.24),
    "south": (0.06, 0.26, 0.44, 0.44),
}

#: The part that stays free beside another.
OPPOSITE: Final[dict[str, str]] = {"west": "east", "east": "west", "north": "south", "south": "north"}

#: Linear size of a patch or pond by grade 1, 2, 3; areas stand as 1 : 1.78 : 3.2.
_SCALE: Final = (0.559, 0.746, 1.0)
#: Length and width of a road by grade; areas stand as 1 : 1.76 : 3.0.
_ROAD_LENGTH: Final = (0.42, 0.66, 1.0)
_ROAD_WIDTH: Final = (0.80, 0.90, 1.0)
#: Number of roofs by grade, and their size.
_ROOFS: Final = (2, 4, 8)
_ROOF_SIZE: Final = (0.92, 0.96, 1.0)


@dataclass(frozen=True, kw_only=True, order=True)
class ObjectState:
    """One object of a place at one date.

    Attributes:
        finding: Kind, one of `reports.vocabulary.SCENE_FINDINGS`.
        place: Quadrant, one of the satellite places of `reports.vocabulary.PLACES`.
        grade: Extent, 1 to 3; the area grows by a factor of at least 1.6 from one to the next.
        slot: The part of the quadrant it has to itself, a key of `SLOTS`.
        seed: Shape, colour and position within the slot; the same at every date.

    Raises:
        ValueError: Kind, place, slot or grade is unknown.
    """

    finding: str
    place: str
    grade: int
    slot: str
    seed: int

    def __post_init__(self) -> None:
        if self.finding not in _PAINTERS:
            raise ValueError(f"{self.finding!r} is no object of a scene; known: {', '.join(_PAINTERS)}.")
        if self.place not in QUADRANTS:
            raise ValueError(f"{self.place!r} is no quadrant; known: {', '.join(QUADRANTS)}.")
        if self.slot not in SLOTS:
            raise ValueError(f"{self.slot!r} is no slot of a quadrant; known: {', '.join(SLOTS)}.")
        if self.grade not in (1, 2, 3):
            raise ValueError(f"grade {self.grade} is not 1, 2 or 3.")

    @property
    def box(self) -> tuple[float, float, float, float]:
        """West, north, east, south limits in shares of the place's side."""
        west, north = QUADRANTS[self.place]
        box = SLOTS[self.slot]
        return west + box[0], north + box[1], west + box[2], north + box[3]


class Light(NamedTuple):
    """Sun and season of one acquisition, as far as objects show them.

    Attributes:
        shadow_x: How far a roof's shadow falls to the east, in shares of the place's side.
        shadow_y: How far it falls to the south.
        shadow: What remains of the light in the shadow, 0 to 1.
        dryness: -1 lush to 1 dry.
    """

    shadow_x: float
    shadow_y: float
    shadow: float
    dryness: float


class _Canvas(NamedTuple):
    """The part of the picture that an object may touch."""

    values: NDArray[np.float32]  # (3, h, w), a view of the picture
    xs: NDArray[np.float32]
    ys: NDArray[np.float32]
    pixel: float  # in shares of the side


def paint_object(
    values: NDArray[np.float32], xs: NDArray[np.float32], ys: NDArray[np.float32], state: ObjectState, light: Light
) -> NDArray[np.bool_]:
    """Paints the object into `values` (3, H, W) in place; gives its mask (H, W), True on at least half covered pixels.

    Args:
        values: The picture so far.
        xs: (W,) positions of the columns in shares of the place's side.
        ys: (H,) positions of the rows.
        state: The object.
        light: Sun and season.
    """
    mask = np.zeros(values.shape[1:], dtype=np.bool_)
    box = state.box
    reach = 0.05  # shadows and soft edges beyond the slot
    columns = slice(*np.searchsorted(xs, (box[0] - reach, box[2] + reach)).tolist())
    rows = slice(*np.searchsorted(ys, (box[1] - reach, box[3] + reach)).tolist())
    if columns.start >= columns.stop or rows.start >= rows.stop:
        return mask
    pixel = float(xs[-1] - xs[0]) / max(len(xs) - 1, 1)
    canvas = _Canvas(values[:, rows, columns], xs[columns], ys[rows], pixel)
    cover = _PAINTERS[state.finding](canvas, state, np.random.default_rng(state.seed), light)
    mask[rows, columns] = cover >= 0.5
    return mask


def _blob(
    canvas: _Canvas, state: ObjectState, rng: np.random.Generator, *, harmonics: int, roughness: float
) -> NDArray[np.float32]:
    """Share of each pixel that an irregular patch covers; the whole of grade 3 fits the slot."""
    west, north, east, south = state.box
    fill_x, fill_y = rng.uniform(0.88, 1.0, 2)
    if state.slot == "whole":
        fill_x, fill_y = fill_x * rng.uniform(0.78, 1.0), fill_y * rng.uniform(0.78, 1.0)
    radius_x, radius_y = 0.5 * (east - west) * fill_x, 0.5 * (south - north) * fill_y
    centre_x = 0.5 * (west + east) + (0.5 * (east - west) - radius_x) * rng.uniform(-1, 1)
    centre_y = 0.5 * (north + south) + (0.5 * (south - north) - radius_y) * rng.uniform(-1, 1)
    turn = np.linspace(-np.pi, np.pi, 257)
    order = np.arange(2, 2 + harmonics)
    weights = rng.normal(0.0, roughness, harmonics) / np.sqrt(order)
    outline = 1.0 + np.cos(order[None, :] * turn[:, None] + rng.uniform(0, 2 * np.pi, harmonics)) @ weights
    outline = np.maximum(outline / outline.max(), 0.55).astype(np.float32)
    scale = _SCALE[state.grade - 1]
    x = ((canvas.xs - np.float32(centre_x)) / np.float32(radius_x * scale))[None, :]
    y = ((canvas.ys - np.float32(centre_y)) / np.float32(radius_y * scale))[:, None]
    angle = np.arctan2(y, x)
    bound = outline[((angle + np.float32(np.pi)) * np.float32(256 / (2 * np.pi))).astype(np.intp)]
    inside = (bound - np.sqrt(x * x + y * y)) * np.float32(min(radius_x, radius_y) * scale / canvas.pixel)
    cover: NDArray[np.float32] = np.clip(inside + np.float32(0.5), 0, 1)
    return cover


def _cover(canvas: _Canvas, cover: NDArray[np.float32], colour: NDArray[np.float32]) -> None:
    """Blends (3, h, w) or (3, 1, 1) colours over the picture."""
    canvas.values[...] += (colour - canvas.values) * cover


def _column(colour: tuple[float, float, float]) -> NDArray[np.float32]:
    return np.array(colour, dtype=np.float32)[:, None, None]


def _grain(canvas: _Canvas, state: ObjectState, rng: np.random.Generator, step: float) -> NDArray[np.float32]:
    """Noise fixed to the object with the given distance between its nodes, in shares of the side."""
    west, north, _, _ = state.box
    count = int(0.38 / step) + 1
    nodes = rng.standard_normal((count, count), dtype=np.float32)
    return smooth_noise(nodes, canvas.xs - np.float32(west), canvas.ys - np.float32(north), low=0.0, high=0.38)


def _vegetation(canvas: _Canvas, state: ObjectState, rng: np.random.Generator, light: Light) -> NDArray[np.float32]:
    cover = _blob(canvas, state, rng, harmonics=7, roughness=0.10)
    crowns = _grain(canvas, state, rng, 0.013)
    colour = _column((0.13 + 0.03 * light.dryness, 0.28, 0.13)) * (1 + np.float32(0.30) * crowns)
    _cover(canvas, cover, colour)
    return cover


def _water(canvas: _Canvas, state: ObjectState, rng: np.random.Generator, light: Light) -> NDArray[np.float32]:
    cover = _blob(canvas, state, rng, harmonics=3, roughness=0.09)
    depth = float(rng.uniform(0.0, 1.0))
    colour = _column((0.10 + 0.05 * depth, 0.22 + 0.08 * depth, 0.40 + 0.10 * depth))
    _cover(canvas, cover, colour)
    return cover


def _bare_soil(canvas: _Canvas, state: ObjectState, rng: np.random.Generator, light: Light) -> NDArray[np.float32]:
    cover = _blob(canvas, state, rng, harmonics=9, roughness=0.12)
    tone = float(rng.uniform(-0.04, 0.04))
    clods = _grain(canvas, state, rng, 0.03)
    colour = _column((0.63 + tone, 0.43 + tone, 0.24 + tone)) * (1 + np.float32(0.05) * clods)
    _cover(canvas, cover, colour)
    return cover


def _road(canvas: _Canvas, state: ObjectState, rng: np.random.Generator, light: Light) -> NDArray[np.float32]:
    west, north, east, south = state.box
    width = float(rng.uniform(0.032, 0.040))
    bend = float(rng.uniform(-0.035, 0.035)) if rng.random() < 0.6 else 0.0
    inset = 0.5 * width + abs(bend) + 0.004
    lengthwise = south - north >= east - west if south - north != east - west else bool(rng.random() < 0.5)
    ends = rng.uniform(0.0, 1.0, 2)
    if lengthwise:
        xs = west + inset + ends * (east - west - 2 * inset)
        ys = np.array([north + 0.5 * width, south - 0.5 * width])
    else:
        xs = np.array([west + 0.5 * width, east - 0.5 * width])
        ys = north + inset + ends * (south - north - 2 * inset)
    if rng.random() < 0.5:
        xs, ys = xs[::-1], ys[::-1]
    length = float(np.hypot(xs[1] - xs[0], ys[1] - ys[0]))
    cos, sin = np.float32((xs[1] - xs[0]) / length), np.float32((ys[1] - ys[0]) / length)
    x, y = (canvas.xs - np.float32(xs[0]))[None, :], (canvas.ys - np.float32(ys[0]))[:, None]
    along, across = x * cos + y * sin, y * cos - x * sin
    share = along * np.float32(1 / length)
    axis = share * (1 - share) * np.float32(4 * bend)
    slope = (1 - 2 * share) * np.float32(4 * bend / length)
    distance = np.abs(across - axis) / np.sqrt(1 + slope * slope)
    half = np.float32(0.5 * width * _ROAD_WIDTH[state.grade - 1])
    middle = np.float32(0.5 * length * _ROAD_LENGTH[state.grade - 1])
    inside = np.minimum(half - distance, middle - np.abs(along - middle))
    cover: NDArray[np.float32] = np.clip(inside * np.float32(1 / canvas.pixel) + np.float32(0.5), 0, 1)
    tone = float(rng.uniform(-0.03, 0.05))
    _cover(canvas, cover, _column((0.76 + tone, 0.75 + tone, 0.75 + tone)))
    return cover


#: Red, green, blue of roofs: tiles, metal, concrete.
_ROOF_COLOURS: Final = ((0.74, 0.30, 0.22), (0.93, 0.93, 0.92), (0.82, 0.46, 0.38))


def _building(canvas: _Canvas, state: ObjectState, rng: np.random.Generator, light: Light) -> NDArray[np.float32]:
    west, north, east, south = state.box
    columns = {"west": 2, "east": 2, "north": 4, "south": 4}.get(state.slot, 3)
    rows = {"west": 4, "east": 4, "north": 2, "south": 2}.get(state.slot, 3)
    step_x, step_y = (east - west) / columns, (south - north) / rows
    cell = min(step_x, step_y)
    cells = np.array([(c + 0.5, r + 0.5) for r in range(rows) for c in range(columns)])
    start = cells[rng.integers(len(cells))]
    # The cluster grows outwards from its first roof.
    cells = cells[np.argsort(np.abs(cells - start).max(1) + 0.3 * rng.random(len(cells)), kind="stable")][: _ROOFS[-1]]
    centres = np.array([west, north]) + cells * [step_x, step_y] + rng.uniform(-0.03, 0.03, cells.shape) * cell
    angle = float(rng.uniform(-0.4, 0.4))
    sides = rng.uniform([0.66, 0.50], [0.74, 0.58], (len(cells), 2)) * (0.5 * cell)
    base = np.array(_ROOF_COLOURS[rng.integers(len(_ROOF_COLOURS))], dtype=np.float32)
    tones = rng.uniform(0.93, 1.05, len(cells)).astype(np.float32)
    count = _ROOFS[state.grade - 1]
    centres, tones = centres[:count], tones[:count]
    sides = sides[:count] * _ROOF_SIZE[state.grade - 1]
    shadow, _ = _rectangles(canvas, centres + np.array([light.shadow_x, light.shadow_y]), sides, angle)
    canvas.values[...] *= 1 - shadow.max(0) * np.float32(1 - light.shadow)
    roofs, ridge = _rectangles(canvas, centres, sides, angle)
    nearest = roofs.argmax(0)
    # The two sides of a ridge catch the sun differently.
    lit = np.where(np.take_along_axis(ridge, nearest[None], 0)[0] > 0, np.float32(1.05), np.float32(0.86))
    cover: NDArray[np.float32] = roofs.max(0)
    _cover(canvas, cover, base[:, None, None] * (tones[nearest] * lit))
    return cover


def _rectangles(
    canvas: _Canvas, centres: NDArray[np.float64], sides: NDArray[np.float64], angle: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(n, h, w) covered share by each of n rectangles with half sides `sides`, and the distance across their ridges."""
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x = (canvas.xs[None, :] - centres[:, 0, None].astype(np.float32))[:, None, :]
    y = (canvas.ys[None, :] - centres[:, 1, None].astype(np.float32))[:, :, None]
    along, across = x * cos + y * sin, y * cos - x * sin
    half = sides.astype(np.float32)[:, :, None, None]
    inside = np.minimum(half[:, 0] - np.abs(along), half[:, 1] - np.abs(across))
    return np.clip(inside * np.float32(1 / canvas.pixel) + np.float32(0.5), 0, 1), across


_PAINTERS: Final[dict[str, Callable[[_Canvas, ObjectState, np.random.Generator, Light], NDArray[np.float32]]]] = {
    "building": _building,
    "road": _road,
    "vegetation": _vegetation,
    "water": _water,
    "bare soil": _bare_soil,
}
