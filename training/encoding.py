"""How are the images of a batch of pairs encoded once each, for the report and for the evidence alike?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from models.prior_cache import EncodedImage

#: Encoded images that are kept at most, in bytes: about 3,000 of the embedded model's.
CACHE_BYTES: Final = 2**30


@dataclass(frozen=True, kw_only=True)
class EncodedPair:
    """A pair after the vision tower.

    Attributes:
        prior: Without a prior of its own, as in training, whatever came before it in its chain.
        current: Against the prior.
    """

    prior: EncodedImage
    current: EncodedImage


class PairEncoder:
    """The vision tower of a host with the stateful encoder, with what it made of earlier images.

    In a chain of studies A, B, C the pairs (A, B) and (B, C) share B: as the current of the first it is encoded against
    A, and alone for the evidence; that second encoding is what C reads. So each study goes through the tower twice,
    however many pairs it is in; it is found again where its pixels are the same, on the same grid.

    Args:
        model: The host, in evaluation.
        max_bytes: Encoded images that are kept at most.

    Raises:
        AttachmentError: No stateful encoder is attached.
        UnsupportedInput: Its design is self_ext, which cannot read what was encoded before.
    """

    def __init__(self, model: PreTrainedModel, *, max_bytes: int = CACHE_BYTES) -> None:
        from models.prior_cache import PriorCache

        self.cache = PriorCache(model, max_bytes=max_bytes)

    def encode(self, inputs: Mapping[str, Tensor]) -> list[EncodedPair]:
        """The pairs of a batch as `generate` takes it, each with its prior first."""
        images = _split(inputs)
        priors = self.cache.encode_all(images[::2], [None] * (len(images) // 2))
        currents = self.cache.encode_all(images[1::2], priors)
        return [EncodedPair(prior=prior, current=current) for prior, current in zip(priors, currents, strict=True)]

    def evidence(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """What `models.evidence.update_map` gives for a single pair, out of the same encodings."""
        from models.evidence import token_changes

        _, (pixels, grid) = _split(inputs)
        (pair,) = self.encode(inputs)
        alone = self.cache.encode(pixels, grid)
        sides = None if grid is None else grid[0].tolist()
        return token_changes(self.cache.parts, pair.current.tokens, alone.tokens, sides)


def without_pixels(inputs: Mapping[str, Tensor], pairs: list[EncodedPair]) -> dict[str, Any]:
    """The batch with what the tower made of its images in the place of their pixels."""
    from models.prior_cache import decoder_features

    features = decoder_features([image for pair in pairs for image in (pair.prior, pair.current)])
    rest = {name: value for name, value in inputs.items() if name != "pixel_values"}
    return {**rest, "mm_encoder_outputs": features}


def _split(inputs: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor | None]]:
    """Pixels and grid of each image: hosts take packed patches with grids, or a batch of images of one size."""
    import torch

    pixels, grid = inputs["pixel_values"], inputs.get("image_grid_thw")
    if grid is None:
        return [(image, None) for image in torch.split(pixels, 1)]
    return list(zip(torch.split(pixels, grid.prod(-1).tolist()), torch.split(grid, 1), strict=True))
