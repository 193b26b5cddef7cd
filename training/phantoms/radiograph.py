"""What picture does a radiograph of a generated subject with given lesions show?"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from reports.finding import Finding
from training.errors import TrainingError
from training.phantoms.anatomy import Array, RadiographSubject, draw_chest, draw_subject
from training.phantoms.radiograph_findings import (
    DRAWN,
    GRADES,
    LesionState,
    UnknownLesion,
    draw_pair,
    evolve,
    findings_between,
)
from training.phantoms.radiograph_lateral import draw_lateral
from training.phantoms.radiograph_lesions import draw_lesions, heart_scale, raised_domes

__all__ = [
    "DRAWN",
    "GRADES",
    "VIEWS",
    "LesionState",
    "RadiographSubject",
    "Rendered",
    "UnknownLesion",
    "UnknownView",
    "draw_case",
    "draw_subject",
    "evolve",
    "findings_between",
    "render",
]

#: Projections that are drawn.
VIEWS: Final = ("PA", "AP", "LATERAL")

_GLYPHS: Final[dict[str, tuple[str, ...]]] = {
    "L": ("10000", "10000", "10000", "10000", "10000", "10000", "11111"),
    "R": ("11110", "10001", "10001", "11110", "10100", "10010", "10001"),
}


class UnknownView(TrainingError, ValueError):
    """The view is none of `VIEWS`."""


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """One generated radiograph.

    Attributes:
        values: (rows, columns) float32 in [0, 1]; air is dark, bone is bright; the patient's left is on the right.
        masks: (finding, place) to a boolean (rows, columns) mask of where the lesion is visible.
    """

    values: NDArray[np.float32]
    masks: dict[tuple[str, str], NDArray[np.bool_]]


def draw_case(
    rng: np.random.Generator,
) -> tuple[RadiographSubject, tuple[LesionState, ...], tuple[LesionState, ...], tuple[Finding, ...]]:
    """A subject, the lesions of a prior and of a current, and the findings between them."""
    subject = draw_subject(rng)
    prior, current = draw_pair(rng)
    return subject, prior, current, findings_between(prior, current)


def render(
    subject: RadiographSubject,
    lesions: Sequence[LesionState],
    rng: np.random.Generator,
    *,
    size: int | tuple[int, int] = 160,
    view: str = "PA",
) -> Rendered:
    """The radiograph of a subject with lesions.

    Args:
        subject: Anatomy.
        lesions: What is to be seen; the same lesions give the same shapes at the same places.
        rng: Draws the acquisition: position, inspiration, exposure, blur, noise, marker, collimation.
        size: Pixels of the square picture, or (rows, columns).
        view: Projection; "AP" magnifies the heart.

    Raises:
        UnknownView: The view is none of `VIEWS`.
    """
    if view not in VIEWS:
        raise UnknownView(f"No {view!r} view is drawn; use one of {', '.join(VIEWS)}.")
    shape = (size, size) if isinstance(size, int) else size
    x, y = _position(rng, shape)
    inspiration = float(rng.uniform(-0.04, 0.035))
    held = tuple(lesions)
    if view == "LATERAL":
        value, masks = draw_lateral(subject, held, x, y, inspiration=inspiration)
        return Rendered(values=_expose(value, rng), masks=masks)
    chest = draw_chest(
        subject,
        x,
        y,
        inspiration=inspiration - (0.02 if view == "AP" else 0.0),
        heart_scale=heart_scale(held) * (float(rng.uniform(1.05, 1.09)) if view == "AP" else 1.0),
        raised=raised_domes(held),
    )
    draw_lesions(chest, held)
    return Rendered(values=_expose(chest.compose(), rng), masks=chest.masks)


@lru_cache(maxsize=16)
def _plane(shape: tuple[int, int]) -> tuple[Array, Array]:
    """Column and row coordinates of a picture's pixels, -1 to 1 over its shorter side."""
    rows, columns = shape
    half = min(shape) / 2
    y = ((np.arange(rows, dtype=np.float32) + 0.5 - rows / 2) / half).astype(np.float32)
    x = ((np.arange(columns, dtype=np.float32) + 0.5 - columns / 2) / half).astype(np.float32)
    plane = np.ascontiguousarray(np.broadcast_to(x, shape)), np.ascontiguousarray(np.broadcast_to(y[:, None], shape))
    for axis in plane:
        axis.flags.writeable = False  # shared by all pictures of this shape
    return plane


def _position(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Body coordinates of each pixel for a patient who stands a little askew, off centre, nearer or farther."""
    turn = np.deg2rad(np.clip(rng.normal(0, 1.6), -4, 4))
    shift_x, shift_y = np.clip(rng.normal(0, 0.03, 2), -0.08, 0.08)  # half widths: 4 % of the picture
    scale = np.clip(rng.normal(1, 0.02), 0.95, 1.05)
    cos, sin = np.float32(np.cos(turn) * scale), np.float32(np.sin(turn) * scale)
    x, y = _plane(shape)
    return x * cos - y * sin + np.float32(shift_x), x * sin + y * cos + np.float32(shift_y)


def _expose(value: Array, rng: np.random.Generator) -> Array:
    """Detector and processing: blur, uneven field, contrast, noise, marker, collimation."""
    rows, columns = value.shape
    value = ndimage.gaussian_filter(value, rng.uniform(0.25, 0.6) * min(rows, columns) / 160, truncate=2.5)
    x, y = _plane((rows, columns))
    tilt_x, tilt_y = rng.normal(0, 0.018, 2)
    value += x * np.float32(tilt_x) + y * np.float32(tilt_y)
    value = (value - np.float32(0.45)) * np.float32(rng.uniform(0.88, 1.14)) + np.float32(0.45 + rng.normal(0, 0.025))
    np.clip(value, 0, 1, out=value)
    value **= np.float32(rng.uniform(0.85, 1.18))
    noise = rng.standard_normal(value.shape, dtype=np.float32)
    noise *= np.float32(rng.uniform(0.006, 0.02))
    value += noise
    _mark(value, rng)
    _collimate(value, rng)
    return np.clip(value, 0, 1, out=value)


def _mark(value: Array, rng: np.random.Generator) -> None:
    """A lead letter in the upper corner of its side, on most films."""
    if rng.random() < 0.15:
        return
    letter = "L" if rng.random() < 0.7 else "R"
    rows, columns = value.shape
    pixel = max(1, round(min(rows, columns) / 160))
    glyph = np.kron(
        np.array([[int(bit) for bit in row] for row in _GLYPHS[letter]], np.float32),
        np.ones((pixel, pixel), np.float32),
    )
    high, wide = glyph.shape
    top, inset = int(rows * rng.uniform(0.06, 0.14)), int(columns * rng.uniform(0.05, 0.09))
    start = columns - inset - wide if letter == "L" else inset
    corner = value[top : top + high, start : start + wide]
    np.maximum(corner, glyph * np.float32(0.97), out=corner)


def _collimate(value: Array, rng: np.random.Generator) -> None:
    """Black borders where the beam was shut."""
    rows, columns = value.shape
    top, bottom, left, right = rng.uniform(-0.015, 0.03, 4)
    value[: max(0, int(top * rows))] = 0
    value[rows - max(0, int(bottom * rows)) :] = 0
    value[:, : max(0, int(left * columns))] = 0
    value[:, columns - max(0, int(right * columns)) :] = 0
