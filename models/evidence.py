"""Where in the current image did the prior make a difference?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from models.errors import AttachmentError, UnresolvedPrior
from models.parts import Parts, parts_of
from models.predecessor import NO_PRIOR, PromptOrder, use_priors


def update_map(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """How much the prior changed each token of the current image, (rows, columns) of its merged grid, float32.

    Delta_n = ||Z(true prior)_n - Z(itself as prior)_n||^2 / d on the tokens that the decoder gets, row by row. The
    current is the last image of the sample.

    Args:
        model: A host with the stateful encoder attached.
        inputs: One sample's `input_ids` (1, S), `pixel_values` and, where the host has them, `image_grid_thw`, as
            `forward` takes them.

    Raises:
        AttachmentError: No stateful encoder is attached.
        UnresolvedPrior: There is not exactly one sample, or its last image has no prior.

    Source: arXiv 2606.04433, section 4 (update map).
    """
    parts, images = _sample(model, inputs)
    current = len(images) - 1
    # The current image goes in once more, as the first of a sample of its own: one pass of the tower serves both.
    tokens = _encode(parts, [*images, images[current]], [NO_PRIOR, *range(current), NO_PRIOR])
    return token_changes(parts, tokens[current], tokens[-1], images[current].grid)


def token_changes(parts: Parts, with_prior: Tensor, alone: Tensor, grid: Sequence[int] | None) -> Tensor:
    """The update map out of an image's tokens with its true prior and as its own, (N, E) each.

    Args:
        parts: Of the host that encoded them.
        with_prior: The tokens that the decoder gets.
        alone: The same without a prior.
        grid: Frames, rows and columns of its patches, for hosts with packed images.
    """
    delta = (with_prior.float() - alone.float()).square().mean(-1)
    if grid is None or parts.merge_size is None:
        return delta.view(math.isqrt(len(delta)), -1)  # towers of one size have square images
    _, rows, columns = grid
    return delta.view(rows // parts.merge_size, columns // parts.merge_size)


def context_sensitivity(
    model: nn.Module, inputs: Mapping[str, Tensor], other_pixel_values: Tensor, other_grid_thw: Tensor | None = None
) -> float:
    """Smallest cosine over the current's tokens between their values with the true and with another prior.

    1 means that the prior does not matter, as in a model that never reads it.

    Args:
        model: A host with the stateful encoder attached.
        inputs: One sample, as for `update_map`.
        other_pixel_values: The other prior: patches (N, channels * patch), or (1, C, H, W) for hosts that take batches.
        other_grid_thw: Its grid, (1, 3), for hosts that take patches.

    Raises:
        AttachmentError: No stateful encoder is attached.
        UnresolvedPrior: There is not exactly one sample, or its last image has no prior.

    Source: arXiv 2606.04433, section 4 (context sensitivity).
    """
    parts, images = _sample(model, inputs)
    current = len(images) - 1
    other = _Image(other_pixel_values, None if other_grid_thw is None else other_grid_thw.view(3).tolist())
    order = [NO_PRIOR, *range(current), NO_PRIOR, current + 1]
    tokens = _encode(parts, [*images, other, images[current]], order)
    return float(cosine_similarity(tokens[current].float(), tokens[-1].float(), dim=-1).min())


@dataclass(frozen=True)
class _Image:
    """Pixels of one image as the host takes them, and its grid for hosts with packed images."""

    pixels: Tensor
    grid: list[int] | None


def _sample(model: nn.Module, inputs: Mapping[str, Tensor]) -> tuple[Parts, list[_Image]]:
    """The host's parts, and the images of a single sample."""
    parts = parts_of(model)
    if parts.attachment is None or parts.attachment.sve is None:
        raise AttachmentError("There is no stateful encoder on this model, so a prior changes nothing; attach one.")
    if parts.image_token is None:
        raise UnresolvedPrior("A vision tower alone sees no prompt, so there is no sample; give the whole host.")
    pixels = inputs["pixel_values"]
    if parts.merge_size is not None:
        grids = inputs["image_grid_thw"].tolist()
        sizes = [rows * columns for _, rows, columns in grids]
        images = [_Image(part, grid) for part, grid in zip(torch.split(pixels, sizes), grids, strict=True)]
        counts = [size // parts.merge_size**2 for size in sizes]
    else:
        images = [_Image(part, None) for part in torch.split(pixels, 1)]
        counts = [parts.image_length or 0] * len(images)
    priors = PromptOrder(inputs["input_ids"], parts.image_token).priors(counts)
    if priors.count(NO_PRIOR) != 1 or len(priors) < 2:
        raise UnresolvedPrior(
            f"Evidence needs one sample with a prior and a current image; given are {priors.count(NO_PRIOR)} samples "
            f"with {len(priors)} images."
        )
    return parts, images


@torch.no_grad()
def _encode(parts: Parts, images: Sequence[_Image], order: Sequence[int]) -> Sequence[Tensor]:
    """Merged tokens (N, E) of each image."""
    core: Any = parts.core
    packed = torch.cat([image.pixels for image in images])
    grids = [image.grid for image in images]
    extra = () if parts.merge_size is None else (torch.tensor(grids, device=packed.device),)
    with use_priors(order):
        tokens: Sequence[Tensor] = core.get_image_features(packed, *extra, return_dict=True).pooler_output
    return tokens
