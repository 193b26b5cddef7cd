import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.attach import attach
from models.config import SVEConfig
from models.cross_image import rotate
from models.cross_plan import CrossPlan
from models.predecessor import use_priors

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def stateful(make_host: Make, awaken: Make) -> Any:
    return awaken(attach(make_host(), sve=SVEConfig()))


def encode(host: Any, pixels: Tensor, grid: Tensor, priors: list[int]) -> list[Tensor]:
    """Merged tokens of each image, deepstack outputs beside them."""
    with use_priors(priors):
        output = host.get_image_features(pixels, grid, return_dict=True)
    return [torch.cat(parts, -1) for parts in zip(output.pooler_output, *output.deepstack_features, strict=True)]


def images(*grids: tuple[int, int], seed: int = 0) -> tuple[Tensor, Tensor]:
    count = sum(rows * columns for rows, columns in grids)
    pixels = torch.randn(count, 96, generator=torch.Generator().manual_seed(seed))
    return pixels, torch.tensor([(1, *grid) for grid in grids])


@torch.no_grad()
def test_one_block_computes_the_written_formula(stateful: Any) -> None:
    block = stateful.model.visual.blocks[1].cross_image
    grids = ((4, 4), (2, 6))
    plan = CrossPlan([-1, 0], [16, 12])
    hidden = torch.randn(28, 32, generator=torch.Generator().manual_seed(1))
    places = [torch.cartesian_prod(torch.arange(rows), torch.arange(columns)) for rows, columns in grids]
    rotary = stateful.model.visual.rotary_pos_emb(hidden, torch.cat(places))

    got = block(hidden, rotary, plan)

    from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision

    expected = []
    for current, prior in ((slice(0, 16), slice(0, 16)), (slice(16, 28), slice(0, 16))):
        x, y = hidden[current], hidden[prior]
        q = block.q_proj(block.norm_q(x)).view(len(x), 2, 16)
        k, v = (part.view(len(y), 2, 16) for part in block.kv_proj(block.norm_kv(y)).split(32, dim=-1))
        q, _ = apply_rotary_pos_emb_vision(q, q, rotary[0][current], rotary[1][current])
        k, _ = apply_rotary_pos_emb_vision(k, k, rotary[0][prior], rotary[1][prior])
        weights = torch.einsum("nkd,mkd->knm", q, k).div(4.0).softmax(-1)
        x = x + block.o_proj(torch.einsum("knm,mkd->nkd", weights, v).reshape(len(x), 32))
        expected.append(x + block.fc2(block.activation(block.fc1(block.norm_ffn(x)))))
    torch.testing.assert_close(got, torch.cat(expected), rtol=1e-5, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from([(2, 2), (4, 4), (2, 6)]), min_size=2, max_size=4), st.integers(0, 99))
@torch.no_grad()
def test_an_image_depends_on_itself_and_earlier_ones_only(
    stateful: Any, grids: list[tuple[int, int]], seed: int
) -> None:
    pixels, grid = images(*grids, seed=seed)
    chain = list(range(-1, len(grids) - 1))
    full = encode(stateful, pixels, grid, chain)

    for last in range(1, len(grids)):
        part, shape = images(*grids, seed=seed)[0][: sum(h * w for h, w in grids[:last])], grid[:last]
        for got, expected in zip(encode(stateful, part, shape, chain[:last]), full, strict=False):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_packed_samples_equal_single_ones_for_equal_and_unequal_sizes(stateful: Any) -> None:
    pixels, grid = images((4, 4), (4, 4), (4, 4), (2, 6), (4, 4))
    single = [
        *encode(stateful, pixels[:32], grid[:2], [-1, 0]),
        *encode(stateful, pixels[32:60], grid[2:4], [-1, 0]),
        *encode(stateful, pixels[60:], grid[4:], [-1]),
    ]

    packed = encode(stateful, pixels, grid, [-1, 0, -1, 2, -1])

    for got, expected in zip(packed, single, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_values_are_the_same_with_and_without_gradients(stateful: Any) -> None:
    for grids in (((4, 4), (4, 4), (4, 4)), ((4, 4), (2, 6), (2, 2))):
        pixels, grid = images(*grids)
        with torch.no_grad():
            without = encode(stateful, pixels, grid, [-1, 0, 0])
        for got, expected in zip(encode(stateful, pixels, grid, [-1, 0, 0]), without, strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("second", [(4, 4), (2, 6)])
def test_no_gradient_reaches_the_prior_through_the_tower(stateful: Any, second: tuple[int, int]) -> None:
    pixels, grid = images((4, 4), second)
    pixels.requires_grad_(True)

    tokens = encode(stateful, pixels, grid, [-1, 0])
    (gradient,) = torch.autograd.grad(tokens[1].square().sum(), pixels, retain_graph=True)
    assert not gradient[:16].any()
    assert gradient[16:].any()

    # The prior's values matter all the same, and its own loss reaches it, also through its reading of itself.
    moved = pixels.detach().clone()
    moved[:16] += 1
    assert (encode(stateful, moved, grid, [-1, 0])[1] - tokens[1]).abs().max() > 1e-3
    (gradient,) = torch.autograd.grad(tokens[0].square().sum(), pixels)
    assert gradient[:16].any()


def test_a_first_image_reads_itself_with_gradient(stateful: Any) -> None:
    block = stateful.model.visual.blocks[0].cross_image
    hidden = torch.randn(16, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    rotary = tuple(part.double() for part in stateful.model.visual.rotary_pos_emb(hidden, torch.zeros(16, 2).long()))
    double = copy.deepcopy(block).double()

    # Against finite differences: a stopped fallback would miss the part that goes through keys and values.
    assert torch.autograd.gradcheck(
        lambda x: double(x, rotary, CrossPlan([-1], [16])), hidden.requires_grad_(True), fast_mode=True, atol=1e-3
    )


def test_the_norm_of_keys_and_values_learns_from_the_prior(stateful: Any) -> None:
    pixels, grid = images((4, 4), (4, 4))
    block = stateful.model.visual.blocks[1].cross_image

    loss = encode(stateful, pixels, grid, [-1, 0])[1].square().sum()

    gradients = torch.autograd.grad(loss, [block.norm_kv.weight, block.kv_proj.weight, block.q_proj.weight])
    assert all(gradient.any() for gradient in gradients)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(-20, 20))
def test_rotation_depends_on_the_distance_only(first: int, second: int, shift: int) -> None:
    generator = torch.Generator().manual_seed(first)
    q, k = torch.randn(2, 1, 1, 8, generator=generator)

    def score(at: int, other: int) -> Tensor:
        angles = [torch.tensor([[0.3, 0.1, 0.02, 0.5] * 2]) * place for place in (at, other)]
        return (rotate(q, (angles[0].cos(), angles[0].sin())) * rotate(k, (angles[1].cos(), angles[1].sin()))).sum()

    torch.testing.assert_close(score(first, second), score(first + shift, second + shift), rtol=1e-3, atol=1e-3)
