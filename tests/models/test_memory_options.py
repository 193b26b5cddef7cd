"""The settings of the visual memory beside the authors' form, the control of its capacity, and the choice of layers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.attach import attach, own_modules, own_parameters
from models.branch import MemoryShape
from models.checkpoint import load_adapter, save_adapter
from models.config import PVMConfig
from models.errors import InvalidConfig
from models.parallel_mlp import ParallelMLP
from models.placement import max_decay, peak_attention, strided
from models.visual_memory import VisualMemory

Make = Callable[..., Any]
WRITTEN: dict[str, Any] = {"normed_query": True, "shared_kv": True, "output_norm": False}
FORMS: list[dict[str, Any]] = [{}, WRITTEN, {"gate": "token"}, {"branch": "mlp"}, {"branch": "mlp", "gate": "token"}]
MIXED = [[(4, 4), (4, 4)], [(2, 4)], []]
SHAPE = MemoryShape(width=24, latent=16, inner=40, head=8, heads=2, kv_heads=1, eps=1e-6)


def config(**settings: Any) -> PVMConfig:
    return PVMConfig(layers=(1, 2, 3), latent_dim=16, **settings)


def module(kind: type[VisualMemory] | type[ParallelMLP], alpha: float = 1.0, **settings: Any) -> Any:
    torch.manual_seed(5)
    made = kind(SHAPE, PVMConfig(init_std=0.2, **settings), device=torch.device("cpu"), dtype=torch.float32)
    torch.nn.init.constant_(made.gate_alpha, alpha)
    return made.requires_grad_(False)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("family", ["qwen3_vl", "gemma3"])
def test_every_form_starts_as_the_host_trains_its_gate_and_decodes_as_it_reads(
    make_family: Make, make_inputs: Make, awaken: Make, tmp_path: Path, family: str, form: dict[str, Any]
) -> None:
    host, inputs = make_family(family), make_inputs(MIXED, family=family)
    plain = host(**inputs).logits

    output = attach(host, pvm=config(**form))(**inputs, labels=inputs["input_ids"])
    output.loss.backward()

    assert torch.equal(output.logits, plain)
    for name, parameter in own_parameters(host).items():
        assert bool(parameter.grad.any()) == ("gate_alpha" in name or "gate_token" in name), name
    awaken(host)
    assert (host(**inputs).logits - plain).abs().max() > 0.01
    texts = [host.generate(**inputs, max_new_tokens=5, do_sample=False, use_cache=cache) for cache in (True, False)]
    assert torch.equal(*texts)
    save_adapter(host, tmp_path)
    assert torch.equal(load_adapter(make_family(family), tmp_path)(**inputs).logits, host(**inputs).logits)


def test_the_written_form_follows_the_papers_steps() -> None:
    branch = module(VisualMemory, alpha=-0.3, **WRITTEN)
    normed, visual = noise(1, 3, 24), noise(1, 5, 24, seed=1)

    def norm(x: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    w = {name: p for name, p in branch.named_parameters() if p.ndim == 2}
    assert not {"k_proj.weight", "v_proj.weight"} & set(w)
    query = norm(normed[0] @ w["text_reducer.weight"].T @ w["q_proj.weight"].T.reshape(16, 2, 8).transpose(0, 1))
    memory = (visual[0] @ w["vision_reducer.weight"].T).view(5, 2, 8).transpose(0, 1)  # K and V alike
    m = ((query @ memory.transpose(1, 2) / 8**0.5).softmax(-1) @ memory).transpose(0, 1).reshape(3, 16)
    m = m @ w["o_proj.weight"].T
    inner = torch.nn.functional.silu(norm(m) @ w["gate_proj.weight"].T) * (norm(m) @ w["up_proj.weight"].T)
    expected = -0.3 * (m + inner @ w["down_proj.weight"].T) @ w["output_expander.weight"].T

    torch.testing.assert_close(branch(normed, *branch.encode(visual))[0], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_written_form_reads_behind_the_norm_of_the_ffn(make_host: Make, make_inputs: Make, awaken: Make) -> None:
    """Nothing but the direction of the FFN's norm weights moves: only a query behind that norm can notice."""
    moved = []
    for form in ({}, WRITTEN):
        host, inputs = awaken(attach(make_host(), pvm=config(**form))), make_inputs([[(4, 4)]])
        layer = host.model.language_model.layers[3].base_layer
        seen: list[Tensor] = []
        layer.mlp.memory.register_forward_hook(lambda _m, _a, output, seen=seen: seen.append(output))
        host(**inputs)
        layer.mlp.base_norm.weight.mul_(noise(32, seed=4))
        host(**inputs)
        moved.append(not torch.equal(*seen))
    assert moved == [False, True]


def test_a_norm_before_a_scalar_gate_makes_all_injections_equally_large_and_nothing_else_does() -> None:
    hidden, visual = noise(1, 6, 24), noise(1, 9, 24, seed=1)

    def spread(**settings: Any) -> float:
        branch = module(VisualMemory, **settings)
        if branch.gate_token is not None:
            torch.nn.init.normal_(branch.gate_token.weight)
        sizes = branch(hidden, *branch.encode(visual)).square().mean(-1).sqrt()
        return float(sizes.max() / sizes.min())

    assert spread() == pytest.approx(1, abs=1e-3)
    assert spread(output_norm=False) > 1.05
    assert spread(gate="token") > 1.05


def test_the_control_has_as_many_parameters_and_reads_no_image() -> None:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    config_8b = Qwen3VLConfig(
        text_config={
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
        },
        vision_config={"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 4096},
    )
    with torch.device("meta"):
        host = attach(Qwen3VLForConditionalGeneration(config_8b), pvm=PVMConfig(branch="mlp"))
    assert set(own_modules(host)) == {"pvm.8", "pvm.16", "pvm.24"}
    assert abs(sum(p.numel() for p in own_parameters(host).values()) - 27_922_179) <= 3 * 1.5 * 512

    control, hidden = module(ParallelMLP), noise(1, 4, 24)
    first, second = (control(hidden, *control.encode(noise(1, 9, 24, seed=seed))) for seed in (1, 2))
    assert torch.equal(first, second)
    assert first.any()


@torch.no_grad()
def test_the_control_works_on_the_same_positions(make_host: Make, make_inputs: Make, awaken: Make) -> None:
    inputs = make_inputs([[(4, 4), (2, 2)], [(2, 4)], []])
    touched = []
    for branch in ("memory", "mlp"):
        host = attach(make_host(), pvm=PVMConfig(layers=(3,), latent_dim=16, branch=branch))
        plain = host(**inputs).logits
        touched.append((awaken(host)(**inputs).logits - plain).abs().amax(-1) > 1e-6)

    assert torch.equal(*touched)
    assert touched[0].any()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"branch": "lstm"}, "'memory' or 'mlp'"),
        ({"gate": "tanh"}, "'scalar' or 'token'"),
        ({"output_norm": 1}, "output_norm"),
        ({"branch": "mlp", "shared_kv": True}, "leave them out"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        PVMConfig(**settings)


def test_the_authors_placements_come_out() -> None:
    assert strided(36, 4096) == (8, 16, 24)
    assert strided(36, 2560) == (5, 11, 17)


@given(st.integers(1, 128), st.integers(64, 16384))
def test_placements_are_layers_of_the_host(depth: int, width: int) -> None:
    layers = strided(depth, width)

    assert len(layers) == min(3, depth)
    assert list(layers) == sorted(set(layers))
    assert layers[0] >= 0
    assert layers[-1] < depth


def test_attach_places_where_nothing_is_said(make_host: Make, tmp_path: Path) -> None:
    host = attach(make_host(), pvm=PVMConfig(latent_dim=16))

    assert set(own_modules(host)) == {f"pvm.{index}" for index in strided(4, 32)}
    save_adapter(host, tmp_path)
    assert set(own_modules(load_adapter(make_host(), tmp_path))) == set(own_modules(host))


def test_peak_attention_takes_the_layers_of_the_papers_figure() -> None:
    # Mean mass per layer as read off its figure 8; the paper's choice is 13, 17, 18.
    figure = {18: 0.062, 17: 0.046, 13: 0.0445, 15: 0.041, 20: 0.0395, 21: 0.038, 24: 0.037, 19: 0.0325, 26: 0.032}
    mass = torch.tensor([[figure.get(layer, 0.01)] * 4 for layer in range(36)])

    assert peak_attention(mass) == (13, 17, 18)


def test_max_decay_takes_the_layers_that_fall_most_and_none_without_attention() -> None:
    mass = torch.full((5, 8), 0.1)
    mass[1] = torch.linspace(0.5, 0.1, 8)
    mass[3] = torch.linspace(0.9, 0.8, 8)
    mass[4] = torch.nan  # a layer with a Gated DeltaNet

    assert max_decay(mass, 2) == (1, 3)
    assert peak_attention(mass, 1) == (3,)
    with pytest.raises(InvalidConfig, match="4 have a measured"):
        max_decay(mass, 5)
