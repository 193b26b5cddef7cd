"""Where in the current image did the prior make a difference?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from models.attach import Parts, parts_of
from models.errors import AttachmentError, UnresolvedPrior
from models.predecessor import NO_PRIOR, PromptOrder, use_priors


def update_map(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """How much the prior changed each token of the current image, (rows, columns) of its merged grid, float32.

    Delta_n = ||Z(true prior)_n - Z(itself as prior)_n||^2 / d on the tokens that the decoder gets, row by row. The
    current is the last image of the sample.

    Args:
        model: A host with the stateful encoder attached.
        inputs: One sample's `input_ids` (1, S), `pixel_values` and `image_grid_thw`, as `forward` takes them.

    Raises:
        AttachmentError: No stateful encoder is attached.
        UnresolvedPrior: There is not exactly one sample, or its last image has no prior.

    Source: arXiv 2606.04433, section 4 (update map).
    """
    parts, grids, pixels = _sample(model, inputs)
    current = len(grids) - 1
    # The current image goes in once more, as the first of a sample of its own: one pass of the tower serves both.
    order = [NO_PRIOR, *range(current), NO_PRIOR]
    tokens = _encode(parts, [*pixels, pixels[current]], [*grids, grids[current]], order)
    delta = (tokens[current].float() - tokens[-1].float()).square().mean(-1)
    merge = _merge(parts)
    return delta.view(grids[current][1] // merge, grids[current][2] // merge)


def context_sensitivity(
    model: nn.Module, inputs: Mapping[str, Tensor], other_pixel_values: Tensor, other_grid_thw: Tensor
) -> float:
    """Smallest cosine over the current's tokens between their values with the true and with another prior.

    1 means that the prior does not matter, as in a model that never reads it.

    Args:
        model: A host with the stateful encoder attached.
        inputs: One sample, as for `update_map`.
        other_pixel_values: Patches of the other prior, (N, channels * patch).
        other_grid_thw: Its grid, (1, 3).

    Raises:
        AttachmentError: No stateful encoder is attached.
        UnresolvedPrior: There is not exactly one sample, or its last image has no prior.

    Source: arXiv 2606.04433, section 4 (context sensitivity).
    """
    parts, grids, pixels = _sample(model, inputs)
    current = len(grids) - 1
    other = current + 1
    order = [NO_PRIOR, *range(current), NO_PRIOR, other]
    other_grid = [int(size) for size in other_grid_thw.view(3).tolist()]
    tokens = _encode(parts, [*pixels, other_pixel_values, pixels[current]], [*grids, other_grid, grids[current]], order)
    return float(cosine_similarity(tokens[current].float(), tokens[-1].float(), dim=-1).min())


def _sample(model: nn.Module, inputs: Mapping[str, Tensor]) -> tuple[Parts, list[list[int]], Sequence[Tensor]]:
    """The host's parts, and grid and patches of each image of a single sample."""
    parts = parts_of(model)
    if parts.attachment is None or parts.attachment.sve is None:
        raise AttachmentError("There is no stateful encoder on this model, so a prior changes nothing; attach one.")
    grids: list[list[int]] = inputs["image_grid_thw"].tolist()
    counts = [rows * columns // _merge(parts) ** 2 for _, rows, columns in grids]
    priors = PromptOrder(inputs["input_ids"], getattr(parts.config, parts.host.image_token)).priors(counts)
    if priors.count(NO_PRIOR) != 1 or len(priors) < 2:
        raise UnresolvedPrior(
            f"Evidence needs one sample with a prior and a current image; given are {priors.count(NO_PRIOR)} samples "
            f"with {len(priors)} images."
        )
    return parts, grids, torch.split(inputs["pixel_values"], [rows * columns for _, rows, columns in grids])


@torch.no_grad()
def _encode(
    parts: Parts, pixels: Sequence[Tensor], grids: Sequence[Sequence[int]], order: Sequence[int]
) -> Sequence[Tensor]:
    """Merged tokens (N, E) of each image."""
    core = parts.core
    packed = torch.cat(list(pixels))
    with use_priors(order):
        output = core.get_image_features(  # type: ignore[operator]
            packed, torch.tensor(grids, device=packed.device), return_dict=True
        )
    tokens: Sequence[Tensor] = output.pooler_output
    return tokens


def _merge(parts: Parts) -> int:
    return int(getattr(parts.config.vision_config, parts.host.merge_size))
