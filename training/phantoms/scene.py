"""What does a generated satellite scene look like, and where does each of its objects lie?"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.phantoms.scene_case import draw_case, evolve, findings_between
from training.phantoms.scene_ground import PlaceBackground, draw_place, paint_ground, smooth_noise
from training.phantoms.scene_object import Light, ObjectState, paint_object

__all__ = [
    "ObjectState",
    "PlaceBackground",
    "Rendered",
    "draw_case",
    "draw_place",
    "evolve",
    "findings_between",
    "render",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rendered:
    """One generated scene.

    Attributes:
        values: (3, H, W) float32 in [0, 1], red, green, blue; row 0 is north, column 0 is west.
        masks: (H, W) bool by (finding, place): the pixels of each object.
    """

    values: NDArray[np.float32]
    masks: dict[tuple[str, str], NDArray[np.bool_]]


def render(
    background: PlaceBackground,
    objects: Iterable[ObjectState],
    rng: np.random.Generator,
    *,
    size: int | tuple[int, int] = 160,
    offset: tuple[float, float] = (0.0, 0.0),
    window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
) -> Rendered:
    """The place as one acquisition shows it; `rng` draws sun, season, haze, blur and noise, nothing of the place.

    Args:
        background: The place.
        objects: What stands there at this date.
        rng: Source of what differs between acquisitions of an unchanged place.
        size: Side in pixels, or (height, width).
        offset: Registration error (rows, columns) in pixels: the content lies this much further south and east.
        window: West, north, east, south limits of the picture in shares of the place's side; the ground goes on up to
            0.25 beyond the place.
    """
    height, width = (size, size) if isinstance(size, int) else size
    west, north, east, south = window
    xs = (west + (np.arange(width) + 0.5 - offset[1]) * ((east - west) / width)).astype(np.float32)
    ys = (north + (np.arange(height) + 0.5 - offset[0]) * ((south - north) / height)).astype(np.float32)
    azimuth, reach = rng.uniform(-1.1, 1.1), rng.uniform(0.012, 0.026)
    dryness = float(rng.uniform(-1.0, 1.0))
    light = Light(
        shadow_x=float(reach * np.sin(azimuth)),
        shadow_y=float(-reach * np.cos(azimuth)),
        shadow=float(rng.uniform(0.30, 0.50)),
        dryness=dryness,
    )
    values = paint_ground(background, xs, ys, dryness=dryness)
    masks = {(state.finding, state.place): paint_object(values, xs, ys, state, light) for state in objects}
    return Rendered(values=_acquire(values, xs, ys, rng), masks=masks)


def _acquire(
    values: NDArray[np.float32], xs: NDArray[np.float32], ys: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """What the sensor makes of the scene: light, contrast, tint, haze, blur and noise."""
    gain = rng.uniform(0.90, 1.10)
    contrast = rng.uniform(0.90, 1.10)
    tint = rng.uniform(0.97, 1.03, 3)
    slope = (gain * contrast * tint).astype(np.float32)[:, None, None]
    level = np.float32(0.48 * gain * (1 - contrast))
    values = values * slope + level
    haze = smooth_noise(rng.random((3, 3), dtype=np.float32), xs, ys, low=0.0, high=1.0)
    haze *= np.float32(rng.uniform(0.0, 0.16))
    values += (np.array([0.74, 0.77, 0.81], dtype=np.float32)[:, None, None] - values) * haze
    values = _blur(values, float(rng.uniform(0.0, 0.24)))
    values += rng.standard_normal(values.shape, dtype=np.float32) * np.float32(rng.uniform(0.004, 0.018))
    return np.clip(values, np.float32(0), np.float32(1))


def _blur(values: NDArray[np.float32], side: float) -> NDArray[np.float32]:
    """Each pixel mixed with its four neighbours' rows and columns, weights (side, 1 - 2 side, side)."""
    outer, inner = np.float32(side), np.float32(1 - 2 * side)
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, 1:-1] * inner + (padded[:, :-2] + padded[:, 2:]) * outer
    blurred = rows[:, :, 1:-1] * inner
    blurred += (rows[:, :, :-2] + rows[:, :, 2:]) * outer
    return blurred
