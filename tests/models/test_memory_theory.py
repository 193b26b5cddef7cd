"""The two theorems of arXiv 2605.00814 as statements that can be wrong; specs section 6."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cosine_similarity

from models.attach import attach, own_modules
from models.config import PVMConfig
from models.memory_cache import recall

Make = Callable[..., Any]
PVM = PVMConfig(layers=(1, 2, 3), latent_dim=16)


def masses(scores: Tensor, visual: int) -> Tensor:
    """Visual attention mass after each token of text: `scores` are those of the images, then of text token by token."""
    visual_sum = scores[:visual].exp().sum()
    return visual_sum / (visual_sum + scores[visual:].exp().cumsum(0))


@given(st.integers(1, 64), st.integers(2, 400), st.integers(0, 999))
def test_theorem_3_1_the_visual_mass_stays_below_the_bound(visual: int, text: int, seed: int) -> None:
    scores = torch.randn(visual + text, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    steps = torch.arange(1, text + 1)

    mass = masses(scores, visual)
    beta = visual * scores.max().exp()  # Z_V <= M exp(s_max)
    mu = (scores[visual:].exp().cumsum(0) / steps).min()  # Z_T(t) >= mu t

    assert (mass <= beta / (beta + mu * steps) + 1e-12).all()


def test_theorem_3_1_the_slope_reaches_minus_one_only_when_text_outweighs_the_images() -> None:
    """With 256 visual tokens: -0.27 on steps 10 to 300, -0.995 on 2e4 to 2e5; specs section 6, test 2."""
    scores = torch.randn(200_256, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mass = masses(scores, 256)

    def slope(first: int, last: int) -> float:
        steps = torch.arange(first, last, dtype=torch.float64).log()
        values = mass[first:last].log()
        steps, values = steps - steps.mean(), values - values.mean()
        return float((steps * values).sum() / (steps * steps).sum())

    assert slope(10, 300) == pytest.approx(-0.27, abs=0.12)
    assert slope(20_000, 200_000) == pytest.approx(-0.995, abs=0.01)


def test_theorem_3_1_a_ratio_of_text_that_stops_to_grow_levels_off() -> None:
    """Saturation: with an effective window the mass tends to Z_V over the sum of the window, not to 0."""
    scores = torch.randn(4_064, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    visual, text = scores[:64].exp().sum(), scores[64:].exp()
    window = text.cumsum(0)
    window[500:] -= text.cumsum(0)[:-500]

    late = (visual / (visual + window))[1_000:]

    assert late.std() / late.mean() < 0.15
    assert late.mean() == pytest.approx(float(visual / (visual + 500 * text.mean())), rel=0.05)


@pytest.fixture(scope="module")
def host(make_host: Make, awaken: Make) -> Any:
    return awaken(attach(make_host(), pvm=PVM))


def prefilled(host: Any, inputs: dict[str, Tensor], words: int) -> Any:
    """A cache behind the prompt and that many further words."""
    with torch.no_grad():
        cache = host(**inputs, use_cache=True).past_key_values
        for step in range(words):
            place = torch.full((4, 1, 1), inputs["input_ids"].shape[1] + step)
            host(torch.tensor([[10 + step % 30]]), past_key_values=cache, position_ids=place)
    return cache


def test_theorem_4_1_an_equal_local_state_gets_a_bit_identical_answer_behind_any_length_of_text(
    host: Any, make_inputs: Make
) -> None:
    inputs = make_inputs([[(4, 4)]])
    state = torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(2))
    branches = {int(name.removeprefix("pvm.")): branch for name, branch in own_modules(host).items()}

    answers = []
    for words in (0, 1, 7, 60):
        held = recall(prefilled(host, inputs, words), PVM.layers)
        answers.append([branches[layer](state, held[layer].key, held[layer].value) for layer in PVM.layers])

    for later in answers[1:]:
        assert all(map(torch.equal, later, answers[0]))


@torch.no_grad()
def test_theorem_4_1_negative_controls_a_second_image_changes_the_answer_and_a_copy_does_not(
    host: Any, make_inputs: Make
) -> None:
    state = torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(2))
    branch: Any = own_modules(host)["pvm.2"]
    one, two = (torch.randn(1, 16, 32, generator=torch.Generator().manual_seed(seed)) for seed in (3, 4))
    answer = branch(state, *branch.encode(one))

    assert (branch(state, *branch.encode(torch.cat((one, two), 1))) - answer).abs().max() > 1e-2
    torch.testing.assert_close(branch(state, *branch.encode(torch.cat((one, one), 1))), answer, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_theorem_4_1_is_local_along_a_real_decode_the_answer_drifts_in_direction_and_never_in_size(
    host: Any, make_inputs: Make
) -> None:
    inputs = make_inputs([[(4, 4)]])
    answers: list[Tensor] = []
    handle = own_modules(host)["pvm.2"].register_forward_hook(lambda _m, _a, output: answers.append(output[0, -1]))
    prefilled(host, inputs, 20)
    handle.remove()

    found = torch.stack(answers)
    torch.testing.assert_close(found.square().mean(-1).sqrt(), torch.full((21,), 0.5), rtol=1e-3, atol=0)
    assert cosine_similarity(found[1:], found[:1]).min() < 0.999


@torch.no_grad()
def test_the_share_of_the_images_falls_with_irrelevant_text_and_the_memory_has_none_to_lose(
    make_host: Make, make_inputs: Make, awaken: Make
) -> None:
    """The causal control of section 6: not time but keys dilute. Equal prompts, one with more text behind its image."""
    from models.attention_mass import attention_mass

    short, long = (make_inputs([[(4, 4)]], text=text) for text in (4, 120))
    host = awaken(attach(make_host(max_position_embeddings=512), pvm=PVM))

    of_short, of_long = (attention_mass(host, inputs, steps=1).mass[:, 0] for inputs in (short, long))

    assert (of_long < of_short).all()
    for inputs in (short, long):
        held = recall(prefilled(host, inputs, 0), PVM.layers)
        assert all(state.key.shape[2] == 16 for state in held.values())
