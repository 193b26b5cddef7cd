"""What is asked of the host: how far apart are two dots, in one image or in two?

A red dot lies somewhere on a background of windows and lines of text, as on a screenshot; each image has a background
of its own, so that nothing but the dots can be compared. Everything is drawn from generators that the caller gives.

Source: arXiv 2606.04433, appendix C.1 (cross-image spatial aggregation, dot_dist); backgrounds, sizes and the draw of
positions are ours, as the paper takes screenshots and does not say the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

#: Side of an image and of a patch, in pixels; patches of a side that become one token for the decoder.
IMAGE_SIZE: Final = 32
PATCH_SIZE: Final = 8
MERGE_SIZE: Final = 2

#: Radius of the dot, in pixels; its middle is drawn uniformly from where it fits whole.
DOT_RADIUS: Final = 3.0
DOT_COLOUR: Final = (230, 20, 20)

#: Every token that prompts and answers are made of; its id is its place.
VOCABULARY: Final = (
    "<pad>",
    "<end>",
    "<image>",
    "<video>",
    "<vision_start>",
    "<vision_end>",
    "<user>",
    "<assistant>",
    "A red dot is placed here.",
    "I see the red dot.",
    "Where is the red dot?",
    "What is the distance formed by the red dots?",
    *"0123456789. ",
)
ID: Final = {token: index for index, token in enumerate(VOCABULARY)}

#: Placeholders of one image.
IMAGE_TOKENS: Final = (IMAGE_SIZE // PATCH_SIZE // MERGE_SIZE) ** 2


@dataclass(frozen=True, kw_only=True)
class DotImage:
    """An image with one dot or two.

    Attributes:
        pixels: (S, S, 3) uint8.
        dots: Places of the dots' middles: column from the left edge and row from the upper edge, in sides of the image.
    """

    pixels: NDArray[np.uint8]
    dots: tuple[tuple[float, float], ...]


def dot_image(rng: np.random.Generator, dots: int = 1) -> DotImage:
    """Draws a background and dots on it."""
    pixels = _background(rng)
    margin = DOT_RADIUS / IMAGE_SIZE
    places = rng.uniform(margin, 1 - margin, size=(dots, 2))
    middles = np.arange(IMAGE_SIZE) + 0.5
    for column, row in places * IMAGE_SIZE:
        from_middle = np.hypot(middles[None] - column, middles[:, None] - row)
        cover = np.clip(DOT_RADIUS + 0.5 - from_middle, 0, 1)[..., None]
        pixels = pixels * (1 - cover) + np.asarray(DOT_COLOUR) * cover
    return DotImage(
        pixels=np.rint(pixels).astype(np.uint8), dots=tuple((column, row) for column, row in places.tolist())
    )


def dots_of(images: Sequence[DotImage]) -> list[tuple[float, float]]:
    """The dots of a sample, in the order of its images."""
    return [dot for image in images for dot in image.dots]


def dot_distance(images: Sequence[DotImage]) -> float:
    """Distance of a sample's two dots, 0 at one place to 1 in opposite corners."""
    first, second = dots_of(images)
    return math.dist(first, second) / math.sqrt(2)


def _background(rng: np.random.Generator) -> NDArray[np.float64]:
    """Windows with title bars and lines of text, one over the other, and noise."""
    image = np.empty((IMAGE_SIZE, IMAGE_SIZE, 3))
    image[:] = _muted(rng)
    for _ in range(rng.integers(2, 5)):
        top, left = rng.integers(0, IMAGE_SIZE * 3 // 4, size=2)
        height, width = rng.integers(IMAGE_SIZE // 4, IMAGE_SIZE * 3 // 4, size=2)
        window = image[top : top + height, left : left + width]
        window[:] = _muted(rng)
        window[:3] = _muted(rng)
        ink = _muted(rng)
        for line in range(5, len(window), 3):
            window[line, 2 : int(rng.integers(4, width))] = ink
    return np.asarray(np.clip(image + rng.normal(0, 6, size=image.shape), 0, 255))


def _muted(rng: np.random.Generator) -> NDArray[np.float64]:
    """A grey with a cast of some colour."""
    return np.asarray(rng.uniform(20, 235) + rng.uniform(-40, 40, size=3))


def answer(images: Sequence[DotImage]) -> str:
    """Of a sample with one dot where it is, column and row; with two how far apart they are; with two decimals.

    The paper asks for four; at errors above a hundredth the last two would be noise in the loss of a small host.
    """
    dots = dots_of(images)
    return " ".join(f"{number:.2f}" for number in (dots[0] if len(dots) == 1 else [dot_distance(images)]))


def read_distance(text: str) -> float | None:
    """The number that an answer says, or None when it says none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def batch(samples: Sequence[Sequence[DotImage]], *, is_answered: bool = False) -> dict[str, Tensor]:
    """Inputs of `generate`, or of `forward` with answers and labels; images in conversation order.

    Samples with one dot are asked for its place, those with two for their distance. All samples of a batch have equally
    many images and dots, so nothing is padded. Only the answers are supervised.

    Args:
        samples: The images of each.
        is_answered: Whether the answers are given, too.
    """
    import torch

    prompt = _prompt(len(samples[0]), dots=len(dots_of(samples[0])))
    rows = [[*prompt, *_ids(answer(images))] if is_answered else prompt for images in samples]
    input_ids = torch.tensor(rows)
    images = np.stack([image.pixels for sample in samples for image in sample])
    inputs = {
        "input_ids": input_ids,
        "attention_mask": torch.ones_like(input_ids),
        "pixel_values": torch.from_numpy((images.transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25).float(),
    }
    if is_answered:
        inputs["labels"] = input_ids.clone()
        inputs["labels"][:, : len(prompt)] = -100
    return inputs


def decode(ids: Sequence[int]) -> str:
    """The text of an answer, up to its end token."""
    end = ID["<end>"]
    ids = list(ids)
    return "".join(VOCABULARY[i] for i in ids[: ids.index(end) if end in ids else None])


def _ids(text: str) -> list[int]:
    return [*(ID[character] for character in text), ID["<end>"]]


def _prompt(n_images: int, *, dots: int) -> list[int]:
    """One image in each user turn and filler turns between them, as in the paper; the last turn asks."""
    image = ["<user>", "<vision_start>", *["<image>"] * IMAGE_TOKENS, "<vision_end>"]
    earlier = [*image, "A red dot is placed here.", "<end>", "<assistant>", "I see the red dot.", "<end>"]
    question = "Where is the red dot?" if dots == 1 else "What is the distance formed by the red dots?"
    return [ID[token] for token in (*earlier * (n_images - 1), *image, question, "<end>", "<assistant>")]
