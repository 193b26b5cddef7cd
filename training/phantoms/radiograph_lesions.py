"""How does each finding look in a frontal radiograph?

Every function changes the chest in place and returns the mask of where its lesion is visible. Shape and position come
from the lesion's own seed, so that prior and current show one lesion, only larger or smaller.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.phantoms.anatomy import Array, Chest, edge, lookup, spot
from training.phantoms.radiograph_findings import LesionState

Mask = NDArray[np.bool_]

#: Scale of the heart (AP magnification comes on top), area about 1.7 between neighbours.
HEART_SCALES: Final = (1.0, 1.30, 1.74)


def draw_lesions(chest: Chest, lesions: tuple[LesionState, ...]) -> None:
    """Draw all lesions and leave their masks in `chest.masks`."""
    # Pleural air last but one: it removes vessels also where other lesions drew; bones lie over all.
    for lesion in sorted(lesions, key=lambda item: _ORDER.index(item.finding)):
        rng = np.random.default_rng(lesion.seed)
        chest.masks[lesion.key] = _DRAW[lesion.finding](chest, lesion, rng)


def heart_scale(lesions: tuple[LesionState, ...]) -> float:
    """How much larger than normal the lesions make the heart."""
    return next((HEART_SCALES[lesion.grade] for lesion in lesions if lesion.finding == "cardiomegaly"), 1.0)


def raised_domes(lesions: tuple[LesionState, ...]) -> tuple[float, float]:
    """How much lost lung volume raises each dome of the diaphragm, (right, left)."""
    lost = {lesion.place: 0.02 + 0.025 * lesion.grade for lesion in lesions if lesion.finding == "atelectasis"}
    return lost.get("right lower", 0.0), lost.get("left lower", 0.0)


def _centre(chest: Chest, place: str, rng: np.random.Generator) -> tuple[float, float]:
    """Middle of a lung zone with some play, inside the lung for every subject and inspiration."""
    sign = 1.0 if place.startswith("left") else -1.0
    width, apex = chest.subject.half_width, chest.subject.apex
    if place.endswith("upper"):
        return sign * width * rng.uniform(0.50, 0.60), apex + rng.uniform(0.34, 0.42)
    return sign * width * rng.uniform(0.60, 0.70), apex + rng.uniform(0.87, 0.95)


def _ripple(chest: Chest, at: tuple[float, float], rng: np.random.Generator) -> Array:
    """Smooth noise around a point, about -1 to 1, from the lesion's own seed."""
    total = np.zeros_like(chest.x)
    for frequency in (11.0, 19.0, 29.0):
        turn, shift = rng.uniform(0, 2 * np.pi, 2)
        cos, sin = np.float32(frequency * np.cos(turn)), np.float32(frequency * np.sin(turn))
        total += np.sin((chest.x - np.float32(at[0])) * cos + (chest.y - np.float32(at[1])) * sin + np.float32(shift))
    return total * np.float32(1 / 2.2)


def _effusion(chest: Chest, lesion: LesionState, rng: np.random.Generator) -> Mask:
    side = chest.side(lesion.place)
    apex, dome = chest.subject.apex, chest.subject.dome_right
    height = (0.0, 0.10, 0.36, 0.72)[lesion.grade] * rng.uniform(0.95, 1.05)
    level = dome + 0.06 - height * (dome - apex) * 0.72
    rise = lookup(
        lambda q: 0.20 * np.clip((q - 0.45) / 0.55, 0, 1.1) ** 2.2 + 0.05 * np.clip(1 - q / 0.3, 0, 1), chest.lateral
    )
    fluid = edge(chest.y - np.float32(level) + rise, 0.022) * side * edge(chest.wall - np.abs(chest.x), 0.02)
    opaque = fluid * edge(np.float32(0.95) - chest.y, 0.05)
    before = chest.air
    chest.air = before * (1 - np.float32(0.93) * opaque)
    # The bases are as white as fluid: the lower edge of the lung and the stomach's bubble fade into it.
    chest.dense += np.float32(0.05) * opaque * (chest.y < chest.floor + np.float32(0.04))
    return (before > 0.3) & (opaque > 0.5)


def _pneumothorax(chest: Chest, lesion: LesionState, rng: np.random.Generator) -> Mask:
    side = chest.side(lesion.place)
    apex = chest.subject.apex
    rim = (0.0, 0.13, 0.27, 0.56)[lesion.grade] * rng.uniform(0.96, 1.04)
    drop = (0.0, 0.15, 0.25, 0.42)[lesion.grade]

    def line(y: NDArray[np.float64]) -> NDArray[np.float64]:
        down = np.clip((y - apex - drop) / 0.22, 0, 1)
        return (1 - rim * (0.72 + 0.28 * np.exp(-np.clip(y - apex, 0, None) / 0.5))) * np.sqrt(down * (2 - down))

    away = (chest.lateral - lookup(line, chest.y)) * chest.wall
    pleural = edge(away, 0.012) * side
    rest = chest.lung * (1 - chest.heart) * side
    space = pleural * edge(rest - np.float32(0.4), 0.3)
    chest.vessels *= 1 - pleural
    # Free air is blacker than lung, and the lung that gave way is a little whiter.
    collapse = np.float32(1 - 0.10 * lesion.grade)
    chest.air = np.where(side, chest.air * collapse, chest.air)
    chest.air = chest.air * (1 - space) + np.float32(1.16) * space * rest
    chest.dense += np.float32(0.13) * edge(np.float32(0.012) - np.abs(away), 0.014) * rest
    return (space > 0.5) & (rest > 0.5)


def _consolidation(chest: Chest, lesion: LesionState, rng: np.random.Generator) -> Mask:
    at = _centre(chest, lesion.place, rng)
    radius = (0.0, 0.105, 0.15, 0.215)[lesion.grade]
    flat = rng.uniform(0.85, 1.2)
    ripple = _ripple(chest, at, rng)
    dx, dy = (chest.x - np.float32(at[0])) * np.float32(flat), (chest.y - np.float32(at[1])) / np.float32(flat)
    away = np.sqrt(dx * dx + dy * dy) / np.float32(radius)
    blob = edge(1 - away + np.float32(0.16) * ripple, 0.42)
    patch = blob * (np.float32(0.80) + np.float32(0.10) * ripple)
    chest.air *= 1 - np.clip(patch, 0, 0.9)
    return (blob > 0.4) & (chest.lung > 0.5)


def _atelectasis(chest: Chest, lesion: LesionState, rng: np.random.Generator) -> Mask:
    sign = 1.0 if lesion.place.startswith("left") else -1.0
    subject = chest.subject
    tilt, middle = sign * rng.uniform(0.10, 0.35), sign * subject.half_width * rng.uniform(0.66, 0.72)
    base = subject.apex + rng.uniform(1.02, 1.06)
    length = (0.0, 0.15, 0.18, 0.23)[lesion.grade]
    shown = np.zeros(chest.x.shape, np.bool_)
    for band in range(lesion.grade):
        shift, turn = rng.uniform(-0.04, 0.04), rng.uniform(-0.08, 0.08)
        dx = chest.x - np.float32(middle + shift)
        dy = chest.y - np.float32(base - 0.105 * band) - (np.float32(tilt + turn)) * dx
        plate = edge(np.float32(0.028) - np.abs(dy), 0.014) * edge(np.float32(length) - np.abs(dx), 0.03)
        chest.air *= 1 - np.float32(0.78) * plate
        chest.dense += np.float32(0.05) * plate * chest.lung
        shown |= (plate > 0.5) & (chest.lung > 0.4) & (chest.heart < 0.5)
    return shown


def _cardiomegaly(chest: Chest, lesion: LesionState, rng: np.random.Generator) -> Mask:
    return (chest.heart > 0.5) & (chest.y < chest.floor)


def _edema(chest: Chest, lesion: LesionState, rng: np.random.Generator) -> Mask:
    scale = (0.0, 0.70, 1.0, 1.48)[lesion.grade]
    strength = (0.0, 0.62, 0.72, 0.82)[lesion.grade]
    hub = chest.subject.apex + 0.68
    ax = np.abs(chest.x)
    wing = spot(ax, chest.y, (0.27, hub), (0.20 * scale, 0.27 * scale))
    ripple = _ripple(chest, (0.0, 0.0), rng)
    haze = np.clip(wing * (1 + np.float32(0.18) * ripple), 0, 1)
    chest.air *= 1 - np.float32(strength) * haze
    chest.vessels *= 1 + np.float32(0.5 * lesion.grade) * wing
    # Kerley B lines: short, level, at the outer edge of the bases.
    fraction = chest.y * np.float32(1 / 0.052)
    fraction -= np.floor(fraction)
    reach = 0.70 if lesion.grade > 1 else 0.78
    lines = edge(np.float32(0.2) - np.abs(fraction - np.float32(0.5)), 0.12) * edge(
        chest.lateral - np.float32(reach), 0.05
    )
    lines *= edge(chest.y - np.float32(hub + 0.14), 0.05) * chest.lung
    chest.dense += np.float32(0.05 + 0.03 * lesion.grade) * lines
    return (wing > 0.35) & (chest.lung > 0.5) & (chest.heart < 0.5)


def _fracture(chest: Chest, lesion: LesionState, rng: np.random.Generator) -> Mask:
    side = chest.side(lesion.place)
    subject = chest.subject
    broken_at = rng.uniform(0.66, 0.74)
    rib = int(np.floor((subject.apex + rng.uniform(0.42, 0.58) - subject.rib_start) / subject.rib_spacing))
    step = 0.072 * rng.uniform(0.95, 1.1)
    shown = np.zeros(chest.x.shape, np.bool_)
    for offset in (0, 1, -1, 2)[: (0, 1, 2, 4)[lesion.grade]]:
        where = broken_at + rng.uniform(-0.03, 0.03)
        along = (chest.lateral - np.float32(where)) * chest.wall
        across = (chest.phase - np.float32(rib + offset + 0.5)) * np.float32(subject.rib_spacing)
        near = side * edge(np.float32(0.075) - np.abs(across), 0.02) * edge(np.float32(0.13) - np.abs(along), 0.03)
        chest.bone *= 1 - np.float32(0.95) * near
        inner = edge(np.float32(0.03) - np.abs(across + np.float32(step * 0.5)), 0.014) * edge(-along, 0.012)
        outer = edge(np.float32(0.03) - np.abs(across - np.float32(step * 0.5)), 0.014) * edge(along, 0.012)
        ends = (inner + outer) * side * edge(np.float32(0.14) - np.abs(along), 0.03)
        callus = np.exp(-np.square(along * np.float32(1 / 0.04))) * ends
        chest.bone += np.float32(0.23) * ends + np.float32(0.24) * callus
        shown |= ends > 0.5
    return shown


def _granuloma(chest: Chest, lesion: LesionState, rng: np.random.Generator) -> Mask:
    at = _centre(chest, lesion.place, rng)
    radius = (0.0, 0.040, 0.056, 0.080)[lesion.grade]
    dx, dy = chest.x - np.float32(at[0]), chest.y - np.float32(at[1])
    nodule = edge(np.float32(radius) - np.sqrt(dx * dx + dy * dy), 0.014)
    chest.air *= 1 - np.float32(0.5) * nodule
    chest.dense += np.float32(0.36) * nodule
    return nodule > 0.5


def _hernia(chest: Chest, lesion: LesionState, rng: np.random.Generator) -> Mask:
    radius = (0.0, 0.105, 0.14, 0.19)[lesion.grade]
    at = (rng.uniform(0.03, 0.09), chest.subject.dome_right - 0.02 - radius * 0.9)
    level = at[1] + radius * rng.uniform(0.15, 0.25)
    dx, dy = chest.x - np.float32(at[0]), (chest.y - np.float32(at[1])) * np.float32(1.08)
    away = np.float32(radius) - np.sqrt(dx * dx + dy * dy)
    sac = edge(away, 0.02)
    gas = edge(away - np.float32(0.022), 0.02) * edge(np.float32(level) - chest.y, 0.010)
    chest.air *= 1 - sac
    chest.dense += np.float32(0.11) * sac * (1 - gas) - np.float32(0.26) * gas
    return sac > 0.5


_DRAW: Final[dict[str, Callable[[Chest, LesionState, np.random.Generator], Mask]]] = {
    "edema": _edema,
    "consolidation": _consolidation,
    "atelectasis": _atelectasis,
    "pneumothorax": _pneumothorax,
    "pleural effusion": _effusion,
    "cardiomegaly": _cardiomegaly,
    "granuloma": _granuloma,
    "hernia": _hernia,
    "fracture": _fracture,
}
_ORDER: Final = tuple(_DRAW)
