from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from models.attach import attach, own_parameters
from models.config import PVMConfig, SVEConfig
from models.errors import AttachmentError, UnresolvedPrior, UnsupportedInput
from models.parts import parts_of
from models.predecessor import use_priors
from models.prior_cache import EncodedImage, PriorCache, decoder_features

Make = Callable[..., Any]
FAMILIES = ("qwen3_vl", "qwen3_5", "glm46v", "internvl", "gemma3")
SIZES = [(4, 4), (2, 6), (6, 2), (2, 2), (4, 6)]


def split(inputs: dict[str, Tensor]) -> list[tuple[Tensor, ...]]:
    """What the tower takes for each image of a batch."""
    grid = inputs.get("image_grid_thw")
    if grid is None:
        return [(pixels,) for pixels in inputs["pixel_values"].split(1)]
    parts = torch.split(inputs["pixel_values"], grid.prod(-1).tolist())
    return list(zip(parts, grid.split(1), strict=True))


def chain(cache: PriorCache, images: list[tuple[Tensor, ...]]) -> list[EncodedImage]:
    """Every image against the one before."""
    made: list[EncodedImage] = []
    for image in images:
        made.append(cache.encode(*image, prior=made[-1] if made else None))
    return made


@pytest.mark.parametrize("design", ["cross_ffn", "cross", "self_ffn", "adaln_zero"])
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_cached_chains_equal_packed_ones(
    make_family: Make, make_inputs: Make, awaken: Make, family: str, design: str
) -> None:
    settings = {"first_image": "null"} if design == "cross" else {}
    host = awaken(attach(make_family(family), sve=SVEConfig(design=design, **settings)))
    cache = PriorCache(host)
    for length in (2, 3, 5):
        inputs = make_inputs([SIZES[:length]], family=family, seed=length)
        core: Any = parts_of(host).core
        grid = inputs.get("image_grid_thw")
        with use_priors([*range(-1, length - 1)]):
            packed = core.get_image_features(
                inputs["pixel_values"], *(() if grid is None else (grid,)), return_dict=True
            )

        images = chain(cache, split(inputs))

        for image, tokens in zip(images, packed.pooler_output, strict=True):
            torch.testing.assert_close(image.tokens, tokens, rtol=1e-5, atol=1e-5)
        for index, layer in enumerate(packed.get("deepstack_features") or ()):
            for image, tokens in zip(images, layer, strict=True):
                torch.testing.assert_close(image.deep[index], tokens, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_the_decoder_takes_cached_images_for_pixels(
    make_family: Make, make_inputs: Make, awaken: Make, family: str
) -> None:
    modules: dict[str, Any] = {"sve": SVEConfig()}
    if family == "qwen3_vl":
        modules["pvm"] = PVMConfig(layers=(1, 2), latent_dim=16)
    host = awaken(attach(make_family(family), **modules))
    inputs = make_inputs([[(4, 4), (2, 6)], [(2, 2), (4, 6)]], family=family)
    cache, images = PriorCache(host), split(inputs)
    features = decoder_features([*chain(cache, images[:2]), *chain(cache, images[2:])])
    rest = {name: value for name, value in inputs.items() if name != "pixel_values"}

    text = host.generate(**inputs, max_new_tokens=4, do_sample=False)
    if family != "qwen3_vl" and "image_grid_thw" in rest:
        host.model.rope_deltas = None
    again = host.generate(**rest, mm_encoder_outputs=features, max_new_tokens=4, do_sample=False)

    assert torch.equal(again, text)
    logits = host(**inputs).logits
    features = decoder_features([*chain(cache, images[:2]), *chain(cache, images[2:])])
    torch.testing.assert_close(host(**rest, mm_encoder_outputs=features).logits, logits, rtol=1e-4, atol=1e-4)


@pytest.fixture
def host(make_family: Make, awaken: Make) -> Any:
    return awaken(attach(make_family("qwen3_vl"), sve=SVEConfig()))


@pytest.fixture
def images(make_inputs: Make) -> list[tuple[Tensor, ...]]:
    return split(make_inputs([SIZES[:3]]))


def test_an_image_is_encoded_once_for_each_history(host: Any, images: list[tuple[Tensor, ...]]) -> None:
    cache = PriorCache(host)
    first, second, _ = chain(cache, images)
    fallback = cache.encode(*images[1])

    assert cache.encode(*images[1], prior=first) is second
    assert cache.encode(*images[1]) is fallback
    assert (cache.misses, cache.hits) == (4, 2)
    # The second image is not what it would be as the first of a sample, and the third sees that.
    assert (fallback.tokens - second.tokens).abs().max() > 1e-3
    after = [cache.encode(*images[2], prior=prior).tokens for prior in (second, fallback)]
    assert (after[0] - after[1]).abs().max() > 1e-4


def test_weights_types_and_pixels_are_part_of_the_key(host: Any, images: list[tuple[Tensor, ...]]) -> None:
    cache = PriorCache(host)
    first = cache.encode(*images[0])
    changed = images[0][0].clone()
    changed[0, 0] += 1e-3

    assert cache.encode(changed, images[0][1]).key != first.key
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert cache.encode(*images[0]).key != first.key
    with torch.no_grad():
        own_parameters(host)["sve.0.o_proj.weight"][0, 0] += 1
    second = cache.encode(*images[0])
    assert second.key != first.key
    assert (second.tokens - first.tokens).abs().max() > 1e-4
    assert len(cache._held) == 1


def test_nothing_is_kept_for_autograd_or_beyond_the_room(host: Any, images: list[tuple[Tensor, ...]]) -> None:
    one = PriorCache(host).encode(*images[0])
    cache = PriorCache(host, max_bytes=2 * one.nbytes)

    made = chain(cache, images)
    cache.encode(*images[0])

    # 16, 12 and 12 tokens: of the three two have room, and the longest unused went.
    assert cache.nbytes <= 2 * one.nbytes
    assert cache.misses == 4
    assert not any(part.requires_grad for image in made for part in (*image.trace.inputs, image.tokens, *image.deep))
    assert one.nbytes == (3 * 16 * 32 + 2 * 16 * 16 + 3 * 16 * 32) * 4


def test_what_cannot_be_cached_is_refused(
    host: Any, make_family: Make, make_tower: Make, make_inputs: Make, images: list[tuple[Tensor, ...]]
) -> None:
    pair = make_inputs([SIZES[:2]])
    cache = PriorCache(host)

    with pytest.raises(UnresolvedPrior, match="one at a time"):
        cache.encode(pair["pixel_values"], pair["image_grid_thw"])
    host.train()
    with pytest.raises(UnsupportedInput, match="eval"):
        cache.encode(*images[0])
    with pytest.raises(AttachmentError, match="attach one"):
        PriorCache(make_family("qwen3_vl"))
    with pytest.raises(UnsupportedInput, match="self_ext"):
        PriorCache(attach(make_family("qwen3_vl"), sve=SVEConfig(design="self_ext")))
    with pytest.raises(UnsupportedInput, match="tower alone"):
        PriorCache(attach(make_tower("vit"), sve=SVEConfig()))
