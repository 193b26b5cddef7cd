"""Which samples does the embedded model learn from: generated pairs with the places of every finding?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ingest.geotiff.stretch import common_stretch, display
from reports.change import MIRRORED, PROGRESSION
from reports.compose import compose
from reports.finding import Finding
from reports.vocabulary import PLACES, SCENE_FINDINGS, Domain
from training.batch import PairSample
from training.phantoms import radiograph, scene
from training.phantoms.radiograph_findings import DRAWN
from training.samples import INVALID_GREY, square_image

#: Classes of the dense targets: every finding that the phantoms can draw at each of its places, radiographs first. With
#: the finding alone a token need not say where it lies, and the decoder names the right object in the wrong quarter.
CLASSES: Final[tuple[tuple[Domain, str, str], ...]] = tuple(
    [(Domain.RADIOLOGY, name, place) for name, places in DRAWN.items() for place in places]
    + [(Domain.SATELLITE, name, place) for name in SCENE_FINDINGS for place in PLACES[Domain.SATELLITE]]
)

#: Grades of the dense targets: the phantoms draw each finding in as many sizes, or fewer.
LEVELS: Final = 3

#: Share of a token's area from which on a finding counts in full. The share itself would hardly tell a nodule from
#: nothing: the smallest covers a twelfth of a token.
FULL_SHARE: Final = 1 / 8
_CLASS_INDEX: Final = {key: index for index, key in enumerate(CLASSES)}
_CHANGE_INDEX: Final = {change: index for index, change in enumerate(PROGRESSION)}

#: Pixels a side at which phantoms are drawn before they shrink to the model's size.
RENDER_SIZE: Final = 160

#: Shapes of the films, rows and columns, near those of real detectors.
_FILM_SHAPES: Final = ((160, 160), (160, 144), (160, 132), (144, 160))

#: Share of the scenes that pass through the display stretch, as 16-bit products do; the others are 8-bit pictures.
STRETCHED_SHARE: Final = 0.4


@dataclass(frozen=True, kw_only=True)
class GeneratedPair:
    """One generated pair with its targets.

    Attributes:
        sample: The two model images and the report text.
        findings: What the report says.
        presence: (T, classes * LEVELS, rows, columns) float32 in [0, 1], prior first: whether a finding of at least
            that grade covers a vision token, 1 from `FULL_SHARE` of its area on, in proportion below.
        change: (classes * changes, rows, columns) float32: the same for the union of both masks, by change code.
    """

    sample: PairSample
    findings: tuple[Finding, ...]
    presence: NDArray[np.float32]
    change: NDArray[np.float32]


def generated_pair(domain: Domain, rng: np.random.Generator, *, image_size: int, tokens: int) -> GeneratedPair:
    """Draws one pair as it would leave the alignment: prior on the current's grid, places outside the prior grey.

    Args:
        domain: Radiographs or scenes.
        rng: Source of everything random here; equal state gives an equal pair.
        image_size: Side of the model image in pixels.
        tokens: Vision tokens a side.
    """
    if domain is Domain.RADIOLOGY:
        prior, current, findings = _radiographs(rng)
    else:
        prior, current, findings = _scenes(rng)
    sample = PairSample(
        domain=domain,
        prior=square_image(prior.values, size=image_size),
        current=square_image(current.values, size=image_size),
        report=compose(domain, findings),
    )
    presence = np.zeros((2, len(CLASSES), LEVELS, tokens, tokens), dtype=np.float32)
    change = np.zeros((len(CLASSES), len(PROGRESSION), tokens, tokens), dtype=np.float32)
    changes = {(item.finding, item.place): _CHANGE_INDEX[item.change] for item in findings}
    for time, view in enumerate((prior, current)):
        for key, mask in view.masks.items():
            index, covered = _CLASS_INDEX[(domain, *key)], _coverage(mask, tokens)
            presence[time, index, : view.grades[key]] = covered
            target = change[index, changes[key]]
            np.maximum(target, covered, out=target)
    return GeneratedPair(
        sample=sample,
        findings=findings,
        presence=presence.reshape(2, -1, tokens, tokens),
        change=change.reshape(-1, tokens, tokens),
    )


def swapped(pair: GeneratedPair) -> GeneratedPair:
    """The pair with prior and current in each other's place: what was new is resolved, what was worse is improved."""
    sample = pair.sample
    findings = tuple(replace(item, change=MIRRORED[item.change]) for item in pair.findings)
    codes = pair.change.reshape(len(CLASSES), len(PROGRESSION), *pair.change.shape[1:])
    mirrored = codes[:, [_CHANGE_INDEX[MIRRORED[change]] for change in PROGRESSION]]
    return GeneratedPair(
        sample=replace(sample, prior=sample.current, current=sample.prior, report=compose(sample.domain, findings)),
        findings=findings,
        presence=pair.presence[::-1].copy(),
        change=mirrored.reshape(pair.change.shape),
    )


@dataclass(frozen=True, kw_only=True)
class _View:
    """One image of a pair after alignment: (C, H, W) in [0, 1], where each finding is, and of which grade."""

    values: NDArray[np.float32]
    masks: dict[tuple[str, str], NDArray[np.bool_]]
    grades: dict[tuple[str, str], int]


def _radiographs(rng: np.random.Generator) -> tuple[_View, _View, tuple[Finding, ...]]:
    """Two films of a subject, each with its own shape and view; the prior is fitted into the current's frame."""
    subject, prior_lesions, current_lesions, findings = radiograph.draw_case(rng)
    views = []
    for lesions in (prior_lesions, current_lesions):
        shape = _FILM_SHAPES[int(rng.integers(len(_FILM_SHAPES)))]
        rendered = radiograph.render(subject, lesions, rng, size=shape, view=str(rng.choice(["PA", "AP"])))
        grades = {lesion.key: lesion.grade for lesion in lesions}
        views.append(_View(values=rendered.values[None], masks=rendered.masks, grades=grades))
    prior, current = views
    scale = float(rng.uniform(0.9, 1.03))
    return _fitted(prior, current.values.shape[1:], scale), current, findings


def _fitted(view: _View, shape: tuple[int, ...], scale: float) -> _View:
    """The view in a frame of another shape: aspect kept, centred, times `scale`, grey where it does not reach."""
    height, width = shape
    _, own_height, own_width = view.values.shape
    scale *= min(height / own_height, width / own_width)
    rows = (np.arange(height) - (height - 1) / 2) / scale + (own_height - 1) / 2
    columns = (np.arange(width) - (width - 1) / 2) / scale + (own_width - 1) / 2
    inside = np.outer(_within(rows, own_height), _within(columns, own_width))
    pick = np.ix_(
        np.clip(np.rint(rows), 0, own_height - 1).astype(int), np.clip(np.rint(columns), 0, own_width - 1).astype(int)
    )
    values = np.where(inside, view.values[0][pick], np.float32(INVALID_GREY))[None]
    masks = {key: mask[pick] & inside for key, mask in view.masks.items()}
    return _View(values=values, masks=masks, grades=view.grades)


def _within(positions: NDArray[np.float64], length: int) -> NDArray[np.bool_]:
    return (positions >= -0.5) & (positions <= length - 0.5)


def _scenes(rng: np.random.Generator) -> tuple[_View, _View, tuple[Finding, ...]]:
    """Two scenes of a place, cut to one overlap, some with nodata corners, some with the stretch of 16-bit products."""
    background, prior_objects, current_objects, findings = scene.draw_case(rng)
    offset = (float(rng.uniform(-0.8, 0.8)), float(rng.uniform(-0.8, 0.8)))
    rendered = [
        scene.render(background, prior_objects, rng, size=RENDER_SIZE, offset=offset),
        scene.render(background, current_objects, rng, size=RENDER_SIZE),
    ]
    rows, columns = _overlap(rng), _overlap(rng)
    values = [item.values[:, rows, columns] for item in rendered]
    if rng.random() < STRETCHED_SHARE:
        low, high, _ = common_stretch(*(item.reshape(3, -1) for item in values), is_8_bit=False)
        values = [display(item, low, high) for item in values]
    values = [_with_corner(item, rng) for item in values]
    prior, current = (
        _View(
            values=item,
            masks={key: mask[rows, columns] for key, mask in source.masks.items()},
            grades={(one.finding, one.place): one.grade for one in objects},
        )
        for item, source, objects in zip(values, rendered, (prior_objects, current_objects), strict=True)
    )
    return prior, current, findings


def _overlap(rng: np.random.Generator) -> slice:
    """Cut of at most 5 % a side: objects keep 6 % clear of the border."""
    most = round(0.05 * RENDER_SIZE)
    return slice(int(rng.integers(0, most + 1)), RENDER_SIZE - int(rng.integers(0, most + 1)))


def _with_corner(values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """The image with one or more grey nodata corners, in one image of four."""
    if rng.random() > 0.25:
        return values
    _, height, width = values.shape
    reach = rng.uniform(0.02, 0.16, size=4) * (rng.random(4) < 0.5)
    y = np.arange(height, dtype=np.float32)[:, None] / height
    x = np.arange(width, dtype=np.float32)[None, :] / width
    gone = (x + y < reach[0]) | (1 - x + y < reach[1]) | (x + 1 - y < reach[2]) | (2 - x - y < reach[3])
    return np.where(gone, np.float32(INVALID_GREY), values).astype(np.float32)


def _coverage(mask: NDArray[np.bool_], tokens: int) -> NDArray[np.float32]:
    """How far the mask covers each token's cell, (tokens, tokens) in [0, 1], 1 from `FULL_SHARE` of its area on."""
    rows = np.linspace(0, mask.shape[0], tokens + 1).round().astype(int)
    columns = np.linspace(0, mask.shape[1], tokens + 1).round().astype(int)
    sums = np.add.reduceat(np.add.reduceat(mask.astype(np.float32), rows[:-1], axis=0), columns[:-1], axis=1)
    shares: NDArray[np.float32] = (sums / np.outer(np.diff(rows), np.diff(columns))).astype(np.float32)
    shares *= np.float32(1 / FULL_SHARE)
    return np.minimum(shares, np.float32(1), out=shares)
