"""What does the ground of a generated place look like where no object stands?"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: The ground reaches this far beyond the unit square on each side, so that a scene may show more than its place.
APRON: Final = 0.25

#: Red, green, blue of crops and meadows in [0, 1]: light and yellowish, far from wood (dark) and from soil (brown).
FIELDS: Final = np.array(
    [
        (0.50, 0.60, 0.33),
        (0.57, 0.64, 0.38),
        (0.46, 0.57, 0.35),
        (0.62, 0.65, 0.40),
        (0.54, 0.62, 0.42),
        (0.66, 0.67, 0.44),
    ],
    dtype=np.float32,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class PlaceBackground:
    """Everything about a place that stays the same between dates; lengths are shares of the place's side.

    Attributes:
        angle: Direction of the field edges, radians.
        cuts: (n,) positions of the edges between strips of fields, along the first rotated axis, increasing.
        crossings: (m,) positions of the edges along the second axis, increasing.
        shifts: (n + 1,) by how much each strip's crossings are moved.
        colours: (n + 1, m + 1, 3) red, green, blue of each field.
        furrow: (n + 1, m + 1) cycles of the crop rows a side, 0 for a meadow.
        coarse: (K, K) slow variation of the ground, about N(0, 1).
        fine: (M, M) grain of the ground, about N(0, 1), near a pixel wide: what registration holds on to.
    """

    angle: float
    cuts: NDArray[np.float32]
    crossings: NDArray[np.float32]
    shifts: NDArray[np.float32]
    colours: NDArray[np.float32]
    furrow: NDArray[np.float32]
    coarse: NDArray[np.float32]
    fine: NDArray[np.float32]


def draw_place(rng: np.random.Generator) -> PlaceBackground:
    """The ground of a new place: a mosaic of fields in a few light greens and yellows."""
    strips = int(rng.integers(2, 5))
    rows = int(rng.integers(2, 5))
    shape = (strips, rows)
    drawn = FIELDS[rng.integers(0, len(FIELDS), shape)]
    colours = drawn + rng.normal(0.0, 0.012, (*shape, 1)) + rng.normal(0.0, 0.006, (*shape, 3))
    furrow = np.where(rng.random(shape) < 0.5, rng.uniform(14.0, 26.0, shape), 0.0)
    return PlaceBackground(
        angle=float(rng.uniform(-0.6, 0.6)),
        cuts=_spread(rng, strips - 1),
        crossings=_spread(rng, rows - 1),
        shifts=rng.uniform(-0.12, 0.12, strips).astype(np.float32),
        colours=colours.astype(np.float32),
        furrow=furrow.astype(np.float32),
        coarse=rng.standard_normal((12, 12), dtype=np.float32),
        fine=rng.standard_normal((224, 224), dtype=np.float32),
    )


def _spread(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """`count` increasing positions over [-0.5, 0.5], none near another."""
    cells = (np.arange(count) + rng.uniform(0.3, 0.7, count)) / max(count, 1)
    return (cells - 0.5).astype(np.float32)


def paint_ground(
    background: PlaceBackground, xs: NDArray[np.float32], ys: NDArray[np.float32], *, dryness: float
) -> NDArray[np.float32]:
    """Colours of the ground, (3, H, W) float32.

    Args:
        background: The place.
        xs: (W,) position of each column in shares of the side, 0 west, 1 east; may reach `APRON` beyond.
        ys: (H,) position of each row, 0 north, 1 south.
        dryness: -1 lush to 1 dry; moves the fields between green and yellow.
    """
    cos, sin = np.float32(np.cos(background.angle)), np.float32(np.sin(background.angle))
    half = np.float32(0.5)
    across = (xs - half)[None, :] * cos + (ys - half)[:, None] * sin
    along = (ys - half)[:, None] * cos - (xs - half)[None, :] * sin
    strip = np.zeros(across.shape, dtype=np.intp)
    for cut in background.cuts:
        strip += across > cut
    moved = along - background.shifts[strip]
    row = np.zeros(across.shape, dtype=np.intp)
    for crossing in background.crossings:
        row += moved > crossing
    field = strip * background.colours.shape[1] + row
    season = np.array([0.045, -0.005, -0.012], dtype=np.float32) * np.float32(dryness)
    table = background.colours.reshape(-1, 3).T + season[:, None]
    values = np.ascontiguousarray(table, dtype=np.float32)[:, field]
    wave = np.sin(along * (background.furrow.reshape(-1) * np.float32(2.0 * np.pi))[field])
    texture = wave * np.float32(0.014)
    texture += smooth_noise(background.coarse, xs, ys, low=-APRON, high=1.0 + APRON) * np.float32(0.016)
    texture += smooth_noise(background.fine, xs, ys, low=-APRON, high=1.0 + APRON) * np.float32(0.026)
    values += texture
    return values


def smooth_noise(
    nodes: NDArray[np.float32], xs: NDArray[np.float32], ys: NDArray[np.float32], *, low: float, high: float
) -> NDArray[np.float32]:
    """Bilinear interpolation of values on a square lattice over [low, high], (H, W); constant outside.

    Rows first, then columns. Matrix products would do it too, but their threads wait for each other on a busy machine.
    """
    row, down = _between(ys, nodes.shape[0], low, high)
    column, right = _between(xs, nodes.shape[1], low, high)
    lines = nodes[row]
    lines += (nodes[row + 1] - lines) * down[:, None]
    values = lines[:, column]
    values += (lines[:, column + 1] - values) * right
    return values


def _between(
    positions: NDArray[np.float32], count: int, low: float, high: float
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The node before each position, and how far the position lies on the way to the next one, 0 to 1."""
    scaled = np.clip((positions - np.float32(low)) * np.float32((count - 1) / (high - low)), 0, count - 1)
    before = np.minimum(scaled.astype(np.intp), count - 2)
    return before, (scaled - before).astype(np.float32)
