from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.attach import attach, own_modules
from models.branch import MemoryShape
from models.config import PVMConfig
from models.memory_pass import UNSEEN
from models.visual_memory import VisualMemory

Make = Callable[..., Any]
PVM = PVMConfig(layers=(1, 2, 3), latent_dim=16)


@pytest.fixture(scope="module")
def branch() -> VisualMemory:
    torch.manual_seed(5)
    shape = MemoryShape(width=24, latent=16, inner=40, head=8, heads=2, kv_heads=1, eps=1e-6)
    memory = VisualMemory(shape, PVMConfig(init_std=0.2), device=torch.device("cpu"), dtype=torch.float32)
    torch.nn.init.constant_(memory.gate_alpha, -0.3)
    return memory.requires_grad_(False)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 30), st.integers(0, 999))
def test_the_order_of_the_memory_does_not_matter(branch: VisualMemory, slots: int, seed: int) -> None:
    hidden, visual = noise(1, 4, 24, seed=seed), noise(1, slots, 24, seed=seed + 1)
    order = torch.randperm(slots, generator=torch.Generator().manual_seed(seed))

    torch.testing.assert_close(
        branch(hidden, *branch.encode(visual[:, order])), branch(hidden, *branch.encode(visual)), rtol=1e-3, atol=1e-5
    )


@given(st.floats(0.1, 50), st.integers(0, 999))
def test_the_size_of_the_query_does_not_matter(branch: VisualMemory, factor: float, seed: int) -> None:
    hidden, memory = noise(1, 4, 24, seed=seed) * 10, branch.encode(noise(1, 9, 24, seed=seed + 1))

    torch.testing.assert_close(branch(hidden * factor, *memory), branch(hidden, *memory), rtol=1e-3, atol=1e-4)


@given(st.integers(2, 4), st.integers(0, 999))
def test_copies_of_the_whole_memory_do_not_matter_but_other_images_do(
    branch: VisualMemory, copies: int, seed: int
) -> None:
    hidden, visual = noise(1, 4, 24, seed=seed), noise(1, 9, 24, seed=seed + 1)
    once = branch(hidden, *branch.encode(visual))

    more = branch(hidden, *branch.encode(visual.repeat(1, copies, 1)))
    other = branch(hidden, *branch.encode(torch.cat((visual, noise(1, 9, 24, seed=seed + 2)), 1)))

    torch.testing.assert_close(more, once, rtol=1e-3, atol=1e-5)
    assert (other - once).abs().max() > 1e-4


@given(st.integers(0, 999))
def test_every_injection_has_the_gates_size(branch: VisualMemory, seed: int) -> None:
    injected = branch(noise(2, 4, 24, seed=seed), *branch.encode(noise(2, 9, 24, seed=seed + 1)))

    sizes = injected.square().mean(-1).sqrt()
    torch.testing.assert_close(sizes, torch.full((2, 4), 0.3), rtol=1e-3, atol=0)


@given(st.booleans(), st.integers(0, 999))
def test_one_position_reads_what_it_reads_among_others(branch: VisualMemory, masked: bool, seed: int) -> None:
    hidden, memory = noise(2, 3, 24, seed=seed), branch.encode(noise(2, 9, 24, seed=seed + 1))
    mask = torch.zeros(2, 1, 3, 9).masked_fill(noise(2, 1, 3, 9, seed=seed + 2) > 0.5, UNSEEN) if masked else None

    together = branch(hidden, *memory, mask)

    for place in range(3):
        alone = branch(hidden[:, place : place + 1], *memory, None if mask is None else mask[:, :, place : place + 1])
        torch.testing.assert_close(alone, together[:, place : place + 1], rtol=1e-3, atol=1e-5)


def test_padding_of_the_memory_does_not_matter(branch: VisualMemory) -> None:
    hidden, visual = noise(1, 4, 24), noise(1, 9, 24, seed=1)
    mask = torch.zeros(1, 1, 4, 14)
    mask[..., 9:] = UNSEEN

    padded = branch(hidden, *branch.encode(torch.cat((visual, noise(1, 5, 24, seed=2)), 1)), mask)

    torch.testing.assert_close(padded, branch(hidden, *branch.encode(visual)), rtol=1e-5, atol=1e-6)


def test_an_empty_memory_gives_exactly_nothing(branch: VisualMemory) -> None:
    assert not branch(noise(1, 4, 24), *branch.encode(torch.zeros(1, 9, 24))).any()


def test_the_branch_follows_the_authors_steps(branch: VisualMemory) -> None:
    hidden, visual = noise(1, 3, 24), noise(1, 5, 24, seed=1)

    def norm(x: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    w = {name: p for name, p in branch.named_parameters() if p.ndim == 2}
    q = norm(norm(hidden[0] @ w["text_reducer.weight"].T) @ w["q_proj.weight"].T.reshape(16, 2, 8).transpose(0, 1))
    latent = visual[0] @ w["vision_reducer.weight"].T
    k, v = norm(latent @ w["k_proj.weight"].T), latent @ w["v_proj.weight"].T
    m = ((q @ k.T / 8**0.5).softmax(-1) @ v).transpose(0, 1).reshape(3, 16) @ w["o_proj.weight"].T
    inner = torch.nn.functional.silu(norm(m) @ w["gate_proj.weight"].T) * (norm(m) @ w["up_proj.weight"].T)
    expected = -0.3 * norm((m + inner @ w["down_proj.weight"].T) @ w["output_expander.weight"].T)

    torch.testing.assert_close(branch(hidden, *branch.encode(visual))[0], expected, rtol=1e-4, atol=1e-5)


def injections(host: Any, inputs: dict[str, Tensor]) -> Tensor:
    """What the branch of layer 1 adds in a forward, (B, S, E): the FFN's output with and without it."""
    seen: list[Tensor] = []
    ffn = host.model.language_model.layers[1].base_layer.mlp
    plain: list[Tensor] = []
    hooks = [
        ffn.register_forward_hook(lambda _m, _a, output: seen.append(output)),
        ffn.base_layer.register_forward_hook(lambda _m, _a, output: plain.append(output)),
    ]
    with torch.no_grad():
        host(**inputs)
    for hook in hooks:
        hook.remove()
    return seen[0] - plain[0]


def test_only_text_after_an_image_gets_an_injection(make_host: Make, make_inputs: Make, awaken: Make) -> None:
    host = awaken(attach(make_host(), pvm=PVM))
    inputs = make_inputs([[(4, 4), (2, 2)], [(2, 4)], []])
    is_image = inputs["input_ids"] == 60

    added = injections(host, inputs)

    after = is_image.cumsum(-1).bool() & ~is_image
    sizes = added.square().mean(-1).sqrt()
    torch.testing.assert_close(sizes[after], torch.full_like(sizes[after], 0.5), rtol=1e-2, atol=0)
    assert not sizes[~after].any()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99))
def test_text_before_an_image_cannot_see_it(make_host: Make, make_inputs: Make, awaken: Make, seed: int) -> None:
    host = awaken(attach(make_host(), pvm=PVM))
    inputs = make_inputs([[(4, 4), (2, 4)]], seed=seed, prefix=5)
    ids = inputs["input_ids"][0].tolist()
    second = len(ids) - 1 - ids[::-1].index(60) - 7  # the first placeholder of the second image
    with torch.no_grad():
        logits = host(**inputs).logits
        changed = {**inputs, "pixel_values": inputs["pixel_values"].clone()}
        changed["pixel_values"][16:] += 1
        moved = host(**changed).logits

    torch.testing.assert_close(moved[:, :second], logits[:, :second], rtol=1e-4, atol=1e-5)
    assert (moved[:, second + 8 :] - logits[:, second + 8 :]).abs().amax(-1).min() > 1e-4


def test_samples_of_unequal_images_equal_single_runs(make_host: Make, make_inputs: Make, awaken: Make) -> None:
    host = awaken(attach(make_host(), pvm=PVM))
    batch = make_inputs([[(4, 4), (2, 2)], [(2, 4)], []])
    with torch.no_grad():
        together = host(**batch).logits

    patches = [slice(0, 20), slice(20, 28), slice(28, 28)]
    grids = [slice(0, 2), slice(2, 3), slice(3, 3)]
    for row, (patch, grid) in enumerate(zip(patches, grids, strict=True)):
        real = batch["attention_mask"][row].bool()
        single = {
            name: batch[name][row : row + 1, real] for name in ("input_ids", "attention_mask", "mm_token_type_ids")
        }
        if grid.start < grid.stop:
            single |= {"pixel_values": batch["pixel_values"][patch], "image_grid_thw": batch["image_grid_thw"][grid]}
        with torch.no_grad():
            alone = host(**single).logits
        torch.testing.assert_close(together[row : row + 1, real], alone, rtol=1e-3, atol=1e-4)


def test_both_text_and_images_get_gradients_through_the_branch(
    make_host: Make, make_inputs: Make, awaken: Make
) -> None:
    host, inputs = awaken(attach(make_host(), pvm=PVM)).train(), make_inputs([[(4, 4)]])

    host(**inputs, labels=inputs["input_ids"]).loss.backward()

    for name, module in own_modules(host).items():
        for key, parameter in module.named_parameters():
            assert parameter.grad is not None, f"{name}.{key}"
            assert parameter.grad.any(), f"{name}.{key}"
