"""How do aligned pixels become the image that a model sees?

Training and serving both go through `model_image`, so they cannot drift apart.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ingest.pixels import Pixels
from training.errors import TrainingError

#: Grey that stands where an image says nothing (outside the prior's frame, nodata): mid-grey is 0 after normalisation.
INVALID_GREY = 0.5


def model_image(pixels: Pixels, *, size: int) -> NDArray[np.uint8]:
    """Square uint8 image (size, size, 3) of one acquisition; both of a pair share a grid, so both shrink alike.

    The aspect is kept: the shorter side is padded on both sides with `INVALID_GREY`, so that the
    middle stays the middle. Going down is by area average
    (Pillow's reducing bicubic), pixels that are not valid are grey before that, so that no nodata value bleeds.

    Raises:
        TrainingError: The image has neither one nor three channels.
    """
    channels = pixels.values.shape[0]
    if channels not in (1, 3):
        raise TrainingError(f"A model image has 1 or 3 channels, this one {channels}: choose display bands first.")
    filled = np.where(pixels.valid[None], np.clip(pixels.values, 0.0, 1.0), np.float32(INVALID_GREY))
    return square_image(filled, size=size)


def square_image(values: NDArray[np.float32], *, size: int) -> NDArray[np.uint8]:
    """(C, H, W) in [0, 1] to (size, size, 3) uint8, aspect kept, the shorter side padded on both sides."""
    _, height, width = values.shape
    scale = size / max(height, width)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = [
        np.asarray(Image.fromarray(channel).resize(inner, Image.Resampling.BICUBIC, reducing_gap=2.0))
        for channel in np.ascontiguousarray(values, dtype=np.float32)
    ]
    image = np.full((size, size, 3), round(INVALID_GREY * 255), dtype=np.uint8)
    stacked = np.stack(resized if len(resized) == 3 else resized * 3, axis=-1)
    top, left = (size - inner[1]) // 2, (size - inner[0]) // 2
    image[top : top + inner[1], left : left + inner[0]] = np.clip(np.rint(stacked * 255.0), 0, 255).astype(np.uint8)
    return image
