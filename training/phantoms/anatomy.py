"""What does a normal chest look like in a frontal radiograph?

Coordinates: x from -1 (image's left, the patient's right) to 1, y from -1 (top) to 1, both in half image widths. All
shapes are functions of x and y, so one subject can be drawn at any size, rotated or shifted, without resampling.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_TABLE: Final = 2048
_LOW: Final = -1.6
_HIGH: Final = 1.6
_KNOTS: Final = np.linspace(_LOW, _HIGH, _TABLE)


@dataclass(frozen=True, kw_only=True)
class RadiographSubject:
    """Anatomy of one generated patient, in half image widths, densities in units of picture value."""

    half_width: float
    apex: float
    shoulder_power: float
    dome_right: float
    dome_drop: float
    dome_curve: float
    heart_ratio: float
    heart_tilt: float
    knob: float
    rib_spacing: float
    rib_start: float
    rib_slope: float
    rib_density: float
    bone_density: float
    clavicle_height: float
    clavicle_tilt: float
    spine_width: float
    breast: float
    soft_tissue: float
    bubble: float
    trachea_shift: float
    texture_seed: int


def draw_subject(rng: np.random.Generator) -> RadiographSubject:
    """A random patient."""
    u = rng.uniform
    female = rng.random() < 0.5
    return RadiographSubject(
        half_width=u(0.70, 0.79),
        apex=u(-0.82, -0.74),
        shoulder_power=u(0.52, 0.66),
        dome_right=u(0.38, 0.48),
        dome_drop=u(0.02, 0.06),
        dome_curve=u(0.9, 1.35),
        heart_ratio=u(0.39, 0.445),
        heart_tilt=u(0.35, 0.75),
        knob=u(0.07, 0.10),
        rib_spacing=u(0.135, 0.16),
        rib_start=u(-0.86, -0.76),
        rib_slope=u(0.02, 0.14),
        rib_density=u(0.075, 0.115),
        bone_density=u(0.8, 1.2),
        clavicle_height=u(-0.66, -0.58),
        clavicle_tilt=u(0.10, 0.22),
        spine_width=u(0.075, 0.095),
        breast=u(0.03, 0.10) if female else 0.0,
        soft_tissue=u(0.66, 0.74),
        bubble=u(0.5, 1.0),
        trachea_shift=u(-0.02, 0.01),
        texture_seed=int(rng.integers(2**31)),
    )


def lookup(profile: Callable[[NDArray[np.float64]], NDArray[np.float64]], at: Array) -> Array:
    """A function of one coordinate, evaluated on a table and read at `at` (any shape): much faster than powers."""
    table: Array = profile(_KNOTS).astype(np.float32)
    index = ((at - np.float32(_LOW)) * np.float32((_TABLE - 1) / (_HIGH - _LOW))).astype(np.int32)
    found: Array = table.take(index, mode="clip")
    return found


def edge(distance: Array, softness: float = 0.012) -> Array:
    """1 where `distance` (in half widths) is well above 0, 0 well below, smooth between."""
    ramp: Array = np.clip(distance * np.float32(0.5 / softness) + np.float32(0.5), 0, 1)
    return ramp * ramp * (np.float32(3) - np.float32(2) * ramp)


def spot(x: Array, y: Array, at: tuple[float, float], radii: tuple[float, float]) -> Array:
    """Gaussian spot of height 1."""
    dx = (x - np.float32(at[0])) * np.float32(1 / radii[0])
    dy = (y - np.float32(at[1])) * np.float32(1 / radii[1])
    height: Array = np.exp(-(dx * dx + dy * dy))
    return height


@dataclass(kw_only=True)
class Chest:
    """A frontal chest being drawn; lesions change `air`, `dense`, `bone` and `vessels` before `compose`.

    All arrays are (rows, columns) float32. `depth` runs from 0 at the apex to 1 at the dome of the diaphragm, `lateral`
    from 0 in the middle to 1 at the chest wall, `phase` counts posterior ribs.
    """

    subject: RadiographSubject
    x: Array
    y: Array
    left: NDArray[np.bool_]
    wall: Array
    lateral: Array
    floor: Array
    phase: Array
    lung: Array
    heart: Array
    air: Array
    bone: Array
    vessels: Array
    dense: Array
    masks: dict[tuple[str, str], NDArray[np.bool_]] = field(default_factory=dict)

    def side(self, place: str) -> NDArray[np.bool_]:
        """Where the half of the picture lies that a place names: "left ..." is the image's right."""
        return self.left if place.startswith("left") else ~self.left

    def compose(self) -> Array:
        """Picture values before exposure: about 0.1 in lungs, 0.7 in soft tissue, more in bone."""
        subject = self.subject
        ax = np.abs(self.x)
        # Shoulders widen the body at the top; below, air lies at the sides.
        half = lookup(lambda y: 0.9 + 0.55 / (1 + np.exp((y + 0.42) / 0.06)), self.y)
        body = edge(half * np.float32(subject.half_width / 0.75) - ax, 0.03)
        neck = edge(np.float32(0.42) - ax - (self.y + np.float32(0.78)) * 3.2, 0.12)
        shoulder = edge(self.y + np.float32(0.86), 0.09)
        body *= np.maximum(neck, shoulder)
        value = np.float32(subject.soft_tissue) - np.float32(0.54) * self.air
        value += np.float32(0.14) * self.vessels * self.air
        value += self.dense + np.float32(subject.bone_density) * self.bone
        return value * body


def cage(subject: RadiographSubject) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Half width of the rib cage's inside at each height."""

    def profile(y: NDArray[np.float64]) -> NDArray[np.float64]:
        t = np.clip((y - subject.apex) / (0.40 - subject.apex), 0, 1)
        return subject.half_width * (1 - (1 - t) ** 2.3) ** subject.shoulder_power

    return profile


def draw_chest(
    subject: RadiographSubject,
    x: Array,
    y: Array,
    *,
    inspiration: float,
    heart_scale: float,
    raised: tuple[float, float],
) -> Chest:
    """The chest without findings, but with the heart and diaphragm where the findings put them.

    Args:
        subject: Whose chest.
        x: Column coordinate of each pixel.
        y: Row coordinate of each pixel.
        inspiration: Lowers the diaphragm by so much.
        heart_scale: 1 for a normal heart.
        raised: How much each dome is raised, (right, left).
    """
    left = x > 0
    ax = np.abs(x)
    wall = lookup(cage(subject), y)
    open_wall: Array = np.maximum(wall, np.float32(0.05))
    lateral: Array = np.divide(ax, open_wall)
    dome_right = subject.dome_right + inspiration - raised[0]
    dome_left = subject.dome_right + inspiration + subject.dome_drop - raised[1]
    bowl = lookup(lambda a: subject.dome_curve * (a - 0.36) ** 2 + 6.0 * np.clip(a - 0.5, 0, None) ** 4, ax)
    floor = np.where(left, np.float32(dome_left), np.float32(dome_right)) + bowl
    rim = subject.apex
    inner = lookup(
        lambda v: (
            0.085 + 0.13 * np.exp(-np.clip(v - rim, 0, None) / 0.10) + 0.02 * np.exp(-(((v - rim - 0.5) / 0.2) ** 2))
        ),
        y,
    )
    lung = edge(wall - ax, 0.02) * edge(ax - inner, 0.02) * edge(floor - y, 0.014)

    heart = _heart(subject, x, y, dome_left, heart_scale)
    knob = spot(x, y, (0.085, subject.apex + 0.44), (subject.knob * 1.1, subject.knob * 1.5))
    solid = np.maximum(heart, edge(knob - np.float32(0.4), 0.12))
    air = lung * (1 - solid) * lookup(lambda v: 0.82 + 0.10 * np.clip(v + 0.7, 0, 1), y)

    phase = (y - np.float32(subject.rib_start)) - lookup(
        lambda q: -0.04 * np.sin(np.pi * np.clip(q, 0, 1)) + subject.rib_slope * q + 0.16 * q**4,
        np.minimum(lateral, 1.3),
    )
    phase *= np.float32(1 / subject.rib_spacing)
    return Chest(
        subject=subject, x=x, y=y, left=left, wall=wall, lateral=lateral, floor=floor, phase=phase, lung=lung,
        heart=heart, air=air, bone=_bones(subject, x, y, ax, lateral, wall, floor, phase),
        vessels=_vessels(subject, x, y, left), dense=_soft(subject, x, y, ax, floor, dome_left),
    )  # fmt: skip


def _heart(subject: RadiographSubject, x: Array, y: Array, dome: float, scale: float) -> Array:
    half = subject.heart_ratio * subject.half_width * scale
    # A failing heart widens more than it rises.
    long, short = 1.08 * half, 0.86 * half * scale**-0.2
    centre_x, centre_y = 0.10 + 0.12 * (scale - 1), dome + 0.04 - 0.72 * short
    cos, sin = np.float32(np.cos(subject.heart_tilt)), np.float32(np.sin(subject.heart_tilt))
    dx, dy = x - np.float32(centre_x), y - np.float32(centre_y)
    along, across = (dx * cos + dy * sin) / np.float32(long), (dy * cos - dx * sin) / np.float32(short)
    return edge((1 - np.sqrt(along * along + across * across)) * np.float32(short), 0.016)


def _bones(
    subject: RadiographSubject, x: Array, y: Array, ax: Array, lateral: Array, wall: Array, floor: Array, phase: Array
) -> Array:
    """Ribs, clavicles, spine, scapulae: density added to the soft tissue."""
    fraction = phase - np.floor(phase)
    inside = edge(wall + np.float32(0.035) - ax, 0.012) * edge(y - np.float32(subject.apex - 0.02), 0.03)
    posterior = lookup(lambda f: np.exp(-(((f - 0.5) / 0.24) ** 6)) * (0.75 + 1.6 * (f - 0.5) ** 2 * 4), fraction)
    front = (y + lookup(lambda q: 0.42 * np.clip(q, 0, None) ** 1.5, np.minimum(lateral, 1.2))) * np.float32(
        1 / (subject.rib_spacing * 1.12)
    )
    front -= np.floor(front)
    anterior = lookup(lambda f: np.exp(-(((f - 0.5) / 0.26) ** 4)), front)
    anterior *= lookup(lambda q: np.clip((q - 0.42) / 0.2, 0, 1) * 0.55, lateral)
    bone = (posterior + anterior) * inside * np.float32(subject.rib_density)
    bone *= 1 - np.float32(0.65) * edge(y - floor, 0.03)
    # Clavicle: a shallow S from beside the sternum up to the shoulder.
    line = lookup(
        lambda a: subject.clavicle_height - subject.clavicle_tilt * np.clip(a - 0.06, 0, None) + 0.03 * np.sin(5.5 * a),
        ax,
    )
    collar = edge(np.float32(0.034) - np.abs(y - line), 0.016) * edge(ax - np.float32(0.07), 0.03)
    bone += np.float32(0.12) * collar * edge(np.float32(0.86) - ax, 0.05)
    # Vertebral bodies: a column with paler discs.
    disc = lookup(lambda v: 0.75 + 0.25 * np.cos(2 * np.pi * v / (subject.rib_spacing * 0.95)), y)
    bone += np.float32(0.085) * edge(np.float32(subject.spine_width) - ax, 0.02) * disc
    bone += np.float32(0.07) * spot(ax, y, (0.93, -0.42), (0.13, 0.26))
    return bone


def _vessels(subject: RadiographSubject, x: Array, y: Array, left: NDArray[np.bool_]) -> Array:
    """Hila and the branches that leave them, 0 to about 1.5; streaks in angle, bent with distance."""
    rng = np.random.default_rng(subject.texture_seed)
    hub_y = subject.apex + 0.70
    dx = np.abs(x) - np.float32(0.17)
    dy: Array = y - np.where(left, np.float32(hub_y - 0.03), np.float32(hub_y))
    distance = np.sqrt(dx * dx + dy * dy)
    bend: Array = np.sin(distance * 11 + np.float32(rng.uniform(0, 6)))
    angle: Array = np.arctan2(dy, dx)
    angle = angle * np.float32(0.45) + bend * np.float32(0.05)
    centres, widths = rng.uniform(-1.5, 1.5, 40), rng.uniform(0.012, 0.035, 40)
    heights = rng.uniform(0.25, 0.9, 40)

    def streaks(a: NDArray[np.float64]) -> NDArray[np.float64]:
        total: NDArray[np.float64] = (
            heights[:, None] * np.exp(-(((a[None, ::4] - centres[:, None]) / widths[:, None]) ** 2))
        ).sum(axis=0)
        return np.repeat(np.minimum(total, 1.2), 4)

    branch = lookup(streaks, np.where(left, angle, -angle))
    branch *= lookup(lambda d: np.clip(1.05 - d / 0.62, 0, None) * np.clip(d / 0.05, 0, 1), distance)
    return branch + np.float32(1.5) * spot(dx, dy, (0.0, 0.0), (0.0725, 0.12))


def _soft(subject: RadiographSubject, x: Array, y: Array, ax: Array, floor: Array, dome_left: float) -> Array:
    """Windpipe, breasts, stomach bubble and the liver's weight."""
    carina = subject.apex + 0.56
    pipe = edge(np.float32(0.035) - np.abs(x - np.float32(subject.trachea_shift)), 0.02)
    dense = np.float32(-0.13) * pipe * edge(np.float32(carina) - y, 0.06)
    bronchus = np.abs(y - np.float32(carina) - np.abs(x - np.float32(subject.trachea_shift)) * np.float32(0.9))
    dense -= np.float32(0.06) * edge(np.float32(0.022) - bronchus, 0.02) * edge(np.float32(0.15) - ax, 0.04)
    if subject.breast:
        fold = lookup(lambda a: 0.46 - 1.3 * (a - 0.42) ** 2, ax)
        dense += np.float32(subject.breast) * edge(fold - y, 0.03) * spot(ax, y, (0.42, 0.22), (0.36, 0.36))
    bubble = spot(x, y, (0.36, dome_left + 0.13), (0.15, 0.085))
    level = edge(np.float32(dome_left + 0.175) - y, 0.01)
    dense -= np.float32(0.34 * subject.bubble) * edge(bubble - np.float32(0.35), 0.15) * level * edge(y - floor, 0.03)
    dense += np.float32(0.07) * edge(y - floor, 0.05)
    return dense
