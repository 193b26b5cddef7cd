"""How is a pair changed at random in training, so that its answer stays true?"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reports.vocabulary import Domain
from training.batch import PairSample
from training.samples import INVALID_GREY

#: Largest turn in degrees, shift as a share of the side, and change of scale: a patient's or a sensor's pose, no more.
TURN: Final = 5.0
SHIFT: Final = 0.03
SCALE: Final = 0.05
#: Exponents of the contrast, drawn for each image: exposures of two dates differ.
CONTRAST: Final = (0.8, 1.25)

_DIRECTIONS: Final = re.compile(
    r"\b(?:left|right|top|bottom|upper|lower|middle|cent(?:er|re|ral)|corner|north\w*|south\w*|east\w*|west\w*)\b", re.I
)


def augmented(sample: PairSample, rng: np.random.Generator) -> PairSample:
    """The pair with its images moved alike and exposed each on its own.

    Prior and current are turned, shifted and scaled by the same numbers, so that what changed between them is the same.
    A radiograph is never mirrored. A scene is mirrored and turned by quarters, both images alike, where question and
    answer name no direction.

    Args:
        sample: The pair.
        rng: Source of everything random here; equal state gives equal images.
    """
    images = [sample.prior, sample.current]
    words = f"{sample.question or ''} {sample.report or ''}"
    if sample.domain is Domain.SATELLITE and not _DIRECTIONS.search(words):
        quarters, is_mirrored = int(rng.integers(4)), bool(rng.integers(2))
        images = [np.rot90(image[:, ::-1] if is_mirrored else image, quarters) for image in images]
    expose, move = _transforms(images[0].shape[0])
    for one in (*expose, move):
        one.set_random_state(seed=int(rng.integers(2**31)))
    exposed = [_exposed(image, one) for image, one in zip(images, expose, strict=True)]
    moved = move(dict(zip(("prior", "current"), exposed, strict=True)))
    return replace(sample, prior=_picture(moved["prior"]), current=_picture(moved["current"]))


@lru_cache(maxsize=1)
def _transforms(size: int) -> tuple[tuple[Any, Any], Any]:
    """MONAI's transforms: contrast of each image, and a movement whose numbers are drawn once for both."""
    import math

    from monai.transforms.intensity.array import RandAdjustContrast
    from monai.transforms.spatial.dictionary import RandAffined

    move = RandAffined(
        keys=["prior", "current"],
        prob=1.0,
        rotate_range=math.radians(TURN),
        translate_range=(SHIFT * size, SHIFT * size),
        scale_range=(SCALE, SCALE),
        padding_mode="zeros",
    )
    return (RandAdjustContrast(prob=0.5, gamma=CONTRAST), RandAdjustContrast(prob=0.5, gamma=CONTRAST)), move


def _exposed(image: NDArray[np.uint8], contrast: Any) -> NDArray[np.float32]:
    """(3, S, S) with `INVALID_GREY` at 0, which the movement puts where it has nothing to show."""
    values = np.moveaxis(image, -1, 0).astype(np.float32) / 255
    says_nothing = (image == round(INVALID_GREY * 255)).all(axis=-1)
    changed = np.where(says_nothing, values, np.asarray(contrast(values)))
    return (changed - np.float32(round(INVALID_GREY * 255) / 255)).astype(np.float32)


def _picture(values: Any) -> NDArray[np.uint8]:
    """(S, S, 3) uint8 again."""
    grey = round(INVALID_GREY * 255)
    levels: NDArray[np.float32] = np.rint(np.moveaxis(np.asarray(values), 0, -1) * 255) + grey
    picture: NDArray[np.uint8] = np.clip(levels, 0, 255).astype(np.uint8)
    return picture
