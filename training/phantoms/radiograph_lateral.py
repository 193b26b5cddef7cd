"""What does the chest of a generated subject look like from the side?

A simple lateral, the sternum on the image's left, for archives in which some films are laterals. Sides overlap in this
view, so a mask says where a lesion projects, not on which side it lies.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.phantoms.anatomy import Array, RadiographSubject, edge, lookup, spot
from training.phantoms.radiograph_findings import LesionState
from training.phantoms.radiograph_lesions import heart_scale

Mask = NDArray[np.bool_]

_ZONE_HEIGHT: Final = {"upper": 0.36, "lower": 0.92}


def draw_lateral(
    subject: RadiographSubject, lesions: tuple[LesionState, ...], x: Array, y: Array, *, inspiration: float
) -> tuple[Array, dict[tuple[str, str], Mask]]:
    """Picture values before exposure, and where each lesion projects.

    Args:
        subject: Anatomy, shared with the frontal view.
        lesions: What is to be seen.
        x: Column coordinate of each pixel, front to back.
        y: Row coordinate of each pixel.
        inspiration: Lowers the diaphragm by so much.
    """
    apex, dome = subject.apex, subject.dome_right + inspiration
    front = lookup(lambda v: -0.56 + 0.26 * np.clip((0.1 - v) / 0.9, 0, 1) ** 1.6, y)
    back = lookup(lambda v: 0.44 + 0.10 * np.exp(-(((v + 0.15) / 0.45) ** 2)), y)
    floor = lookup(lambda u: dome + 0.9 * (u + 0.16) ** 2 * np.where(u > -0.16, 1.0, 0.5), x)
    lung = edge(x - front, 0.03) * edge(back - x, 0.03) * edge(floor - y, 0.016) * edge(y - np.float32(apex), 0.06)
    scale = heart_scale(lesions)
    heart = edge((1 - _ellipse(x, y, (-0.24, dome - 0.20), (0.25 * scale, 0.27 * scale))) * np.float32(0.26), 0.02)
    great = spot(x, y, (-0.12, apex + 0.52), (0.15, 0.30))
    air = lung * (1 - heart) * (1 - np.float32(0.45) * great) * np.float32(0.82)
    dense = _skeleton(subject, x, y, front, back) - np.float32(0.14) * edge(
        np.float32(0.04) - np.abs(x - np.float32(0.02) - np.float32(0.15) * (y - np.float32(apex))), 0.03
    ) * edge(np.float32(apex + 0.5) - y, 0.06)
    # The arms are raised: the shoulders whiten the apices.
    dense += np.float32(0.22) * edge(np.float32(apex + 0.16) - y, 0.12)
    masks: dict[tuple[str, str], Mask] = {}
    for lesion in lesions:
        shade, change = _lesion(lesion, x, y, apex, dome, heart)
        masks[lesion.key] = (shade > 0.5) & ((lung > 0.3) | (heart > 0.5))
        air = air * (1 - shade) if change > 0 else air
        dense += np.float32(change) * shade * np.maximum(lung, heart)
    body = edge(x - front + np.float32(0.20), 0.04) * edge(back + np.float32(0.32) - x, 0.05)
    value = np.float32(subject.soft_tissue + 0.02) - np.float32(0.50) * air + dense
    return value * body, masks


def _ellipse(x: Array, y: Array, at: tuple[float, float], radii: tuple[float, float]) -> Array:
    """Distance from a point in units of the radii."""
    dx, dy = (x - np.float32(at[0])) / np.float32(radii[0]), (y - np.float32(at[1])) / np.float32(radii[1])
    away: Array = np.sqrt(dx * dx + dy * dy)
    return away


def _skeleton(subject: RadiographSubject, x: Array, y: Array, front: Array, back: Array) -> Array:
    """Spine behind, breastbone in front, ribs sloping between them."""
    bodies = lookup(lambda v: 0.7 + 0.3 * np.cos(2 * np.pi * v / subject.rib_spacing), y)
    dense = np.float32(0.13) * edge(np.float32(0.085) - np.abs(x - back + np.float32(0.02)), 0.02) * bodies
    dense += np.float32(0.12) * edge(np.float32(0.022) - np.abs(x - front + np.float32(0.03)), 0.014)
    count = (y - np.float32(0.55) * x) * np.float32(1 / subject.rib_spacing)
    count -= np.floor(count)
    rib = lookup(lambda f: np.exp(-(((f - 0.5) / 0.22) ** 4)), count)
    rib *= edge(x - front, 0.03) * edge(back + np.float32(0.1) - x, 0.03)
    return dense + np.float32(0.5 * subject.rib_density) * rib


def _lesion(lesion: LesionState, x: Array, y: Array, apex: float, dome: float, heart: Array) -> tuple[Array, float]:
    """Where a lesion projects (0 to 1), and the density it adds there; a negative one is free air."""
    rng = np.random.default_rng(lesion.seed)
    grade, depth = lesion.grade, rng.uniform(0.05, 0.25)
    height = apex + _ZONE_HEIGHT.get(lesion.place.split()[-1], 0.68)
    if lesion.finding == "pleural effusion":
        level = np.float32(dome + 0.16 - (0.0, 0.12, 0.34, 0.66)[grade])
        return edge(y - level + np.float32(0.25) * np.clip(x - np.float32(0.1), 0, 1), 0.03), 0.04
    if lesion.finding == "pneumothorax":
        return edge(np.float32(apex + (0.0, 0.18, 0.30, 0.48)[grade]) - y, 0.03), -0.10
    if lesion.finding == "cardiomegaly":
        return heart, 0.02
    if lesion.finding == "edema":
        return np.float32(0.6 + 0.1 * grade) * spot(x, y, (0.0, height), (0.22 * grade**0.5, 0.26 * grade**0.5)), 0.02
    if lesion.finding == "hernia":
        radius = (0.0, 0.10, 0.135, 0.18)[grade]
        return _round(x, y, (0.12, dome - radius), radius, 0.02), 0.06
    if lesion.finding == "fracture":
        bend = edge(np.float32(0.03) - np.abs(y - np.float32(height) - np.float32(0.5) * (x - np.float32(0.3))), 0.015)
        return bend * edge(np.float32(0.06 + 0.04 * grade) - np.abs(x - np.float32(0.3)), 0.02), 0.16
    if lesion.finding == "atelectasis":
        plate = edge(np.float32(0.016 * grade + 0.01) - np.abs(y - np.float32(height) - np.float32(0.2) * x), 0.015)
        return plate * edge(np.float32(0.10 + 0.05 * grade) - np.abs(x - np.float32(depth)), 0.03), 0.03
    if lesion.finding == "granuloma":
        return _round(x, y, (depth, height), (0.0, 0.040, 0.056, 0.080)[grade], 0.014), 0.30
    return _round(x, y, (depth, height), (0.0, 0.11, 0.15, 0.21)[grade], 0.06), 0.02


def _round(x: Array, y: Array, at: tuple[float, float], radius: float, softness: float) -> Array:
    return edge(np.float32(radius) * (1 - _ellipse(x, y, at, (radius, radius))), softness)
