"""What each design computes, and what each ablation changes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from models.attach import attach, own_modules, own_parameters
from models.config import DESIGNS, SVEConfig
from models.cross_plan import CrossPlan, cross_plan
from models.errors import InvalidConfig

Make = Callable[..., Any]
PAIR = [[(4, 4), (2, 6)]]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def block_of(host: Any, index: int = 1) -> Any:
    return host.model.visual.blocks[index]


def rotary_of(host: Any, *grids: tuple[int, int]) -> tuple[Tensor, Tensor]:
    places = [torch.cartesian_prod(torch.arange(rows), torch.arange(columns)) for rows, columns in grids]
    result: tuple[Tensor, Tensor] = host.model.visual.rotary_pos_emb(torch.zeros(1), torch.cat(places))
    return result


@torch.no_grad()
def test_self_ext_is_one_softmax_over_own_and_prior_tokens(make_family: Make) -> None:
    from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision

    host = attach(make_family("qwen3_vl"), sve=SVEConfig(design="self_ext"))
    stateful = block_of(host)
    base, attention = stateful.base_layer, stateful.base_layer.attn.base_layer
    hidden, (cos, sin) = torch.randn(28, 32, generator=generator(1)), rotary_of(host, (4, 4), (2, 6))
    lengths = torch.tensor([0, 16, 28], dtype=torch.int32)

    with cross_plan(CrossPlan([-1, 0], [16, 12])):
        got = stateful(hidden, cu_seqlens=lengths, position_embeddings=(cos, sin))

    q, k, v = (part.view(28, 2, 16) for part in attention.qkv(base.norm1(hidden)).split(32, -1))
    q, k = apply_rotary_pos_emb_vision(q, k, cos, sin)
    mixed = []
    for queries, keys in ((slice(0, 16), slice(0, 16)), (slice(16, 28), slice(0, 28))):
        weights = torch.einsum("nkd,mkd->knm", q[queries], k[keys]).div(4).softmax(-1)
        mixed.append(torch.einsum("knm,mkd->nkd", weights, v[keys]).flatten(1))
    x = hidden + attention.proj(torch.cat(mixed))
    torch.testing.assert_close(got, x + base.mlp(base.norm2(x)), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_adaln_modulates_norms_and_gates_both_branches(make_family: Make, awaken: Make) -> None:
    host = awaken(attach(make_family("qwen3_vl"), sve=SVEConfig(design="adaln_zero")))
    stateful = block_of(host)
    base, linear = stateful.base_layer, stateful.cross_image.linear
    hidden, rotary = torch.randn(28, 32, generator=generator(1)), rotary_of(host, (4, 4), (2, 6))
    lengths = torch.tensor([0, 16, 28], dtype=torch.int32)

    with cross_plan(CrossPlan([-1, 0], [16, 12])):
        got = stateful(hidden, cu_seqlens=lengths, position_embeddings=rotary)

    class Plain(torch.nn.Module):  # the parts without their hooks
        def __call__(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Tensor:
            result: Tensor = module.forward(*args, **kwargs)
            return result

    call = Plain()
    expected = []
    means = torch.stack([torch.zeros(32), hidden[:16].mean(0)])
    for image, tokens in enumerate((slice(0, 16), slice(16, 28))):
        vectors = linear(torch.nn.functional.silu(means[image])).chunk(6)
        scale, shift, gate, ffn_scale, ffn_shift, ffn_gate = vectors
        x = hidden[tokens]
        places = {"position_embeddings": tuple(part[tokens] for part in rotary)}
        normed = call(base.norm1, x) * (1 + scale) + shift
        x = x + (1 + gate) * call(base.attn, normed, cu_seqlens=torch.tensor([0, len(x)], dtype=torch.int32), **places)
        normed = call(base.norm2, x) * (1 + ffn_scale) + ffn_shift
        expected.append(x + (1 + ffn_gate) * call(base.mlp, normed))
    torch.testing.assert_close(got, torch.cat(expected), rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("family", ["glm46v", "internvl"])
def test_gated_ffns_and_norms_of_queries_and_keys_are_the_hosts(make_family: Make, awaken: Make, family: str) -> None:
    host = awaken(attach(make_family(family), sve=SVEConfig()))
    module = own_modules(host)["sve.1"]
    base: Any = (host.model.visual.blocks if family == "glm46v" else host.model.vision_tower.encoder.layer)[
        1
    ].base_layer
    hidden = torch.randn(5, 32, generator=generator(1))

    got = module(hidden, None, CrossPlan([-1, 0], [3, 2]))

    prior = hidden[:3]
    if family == "glm46v":
        q, k, v = base.attn.qkv(base.norm1(hidden)).chunk(3, -1)
        norm_ffn, inner = base.norm2, lambda x: base.mlp.act_fn(base.mlp.gate_proj(x)) * base.mlp.up_proj(x)
    else:
        normed, attention = base.layernorm_before(hidden), base.attention
        q, k = attention.q_norm(attention.q_proj(normed)), attention.k_norm(attention.k_proj(normed))
        v = attention.v_proj(normed)
        norm_ffn, inner = base.layernorm_after, lambda x: base.mlp.activation_fn(base.mlp.fc1(x))
    q, k, v = (part.view(5, 2, 16) for part in (q, k, v))
    weights = torch.einsum("nkd,mkd->knm", q, k[:3]).div(4).softmax(-1)
    x = hidden + module.o_proj(torch.einsum("knm,mkd->nkd", weights, v[:3]).flatten(1))
    assert prior.shape == (3, 32)
    torch.testing.assert_close(got, x + module.fc2(inner(norm_ffn(x))), rtol=1e-5, atol=1e-5)


def test_without_clone_only_the_projections_are_fresh(make_family: Make) -> None:
    host = attach(make_family("qwen3_vl"), sve=SVEConfig(clone=False))

    for index, (name, module) in enumerate(own_modules(host).items()):
        base = block_of(host, index).base_layer
        for linear in (module.q_proj, module.kv_proj, module.fc1):
            assert linear.weight.std().item() == pytest.approx(0.02, rel=0.1), name
            assert not linear.bias.any()
        assert torch.equal(module.norm_kv.weight, base.norm1.weight)
        assert not module.o_proj.weight.any()


@torch.no_grad()
def test_the_null_token_replaces_a_first_images_own_tokens(make_family: Make, make_inputs: Make, awaken: Make) -> None:
    host = awaken(attach(make_family("qwen3_vl"), sve=SVEConfig(first_image="null")))
    module = own_modules(host)["sve.1"]
    hidden, rotary = torch.randn(28, 32, generator=generator(1)), rotary_of(host, (4, 4), (2, 6))
    assert own_parameters(host)["sve.1.null"].std().item() == pytest.approx(0.02, rel=0.5)

    got = module(hidden, rotary, CrossPlan([-1, 0], [16, 12]))

    # One key has all the weight, whatever the query.
    value = module.kv_proj(module.norm_kv(module.null))[32:]
    x = hidden[:16] + module.o_proj(value)
    x = x + module.fc2(module.activation(module.fc1(module.norm_ffn(x))))
    torch.testing.assert_close(got[:16], x, rtol=1e-5, atol=1e-5)
    own = module(hidden, rotary, CrossPlan([-1, -1], [16, 12]))
    assert (own[16:] - got[16:]).abs().max() > 1e-3


def test_the_null_token_learns(make_family: Make, make_inputs: Make, awaken: Make) -> None:
    host = awaken(attach(make_family("qwen3_vl"), sve=SVEConfig(first_image="null"))).train()
    inputs = make_inputs([[(4, 4), (4, 4)]])

    host(**inputs, labels=inputs["input_ids"]).loss.backward()

    assert all(p.grad.any() for name, p in own_parameters(host).items() if name.endswith("null"))


@torch.no_grad()
def test_without_positions_the_order_of_the_priors_tokens_does_not_matter(make_family: Make, awaken: Make) -> None:
    order = torch.cat((torch.randperm(16, generator=generator(3)), torch.arange(16, 28)))
    for positions in (True, False):
        host = awaken(attach(make_family("qwen3_vl"), sve=SVEConfig(positions=positions)))
        module, plan = own_modules(host)["sve.1"], CrossPlan([-1, 0], [16, 12])
        hidden, rotary = torch.randn(28, 32, generator=generator(1)), rotary_of(host, (4, 4), (2, 6))

        change = (module(hidden[order], rotary, plan) - module(hidden, rotary, plan))[16:].abs().max().item()

        assert (change > 1e-3) is positions


@torch.no_grad()
def test_self_ffn_never_reads_the_prior(make_family: Make, make_inputs: Make, awaken: Make) -> None:
    host, inputs = awaken(attach(make_family("qwen3_vl"), sve=SVEConfig(design="self_ffn"))), make_inputs(PAIR)

    resolved = host(**inputs).logits

    assert torch.equal(host(**inputs, prior_index=[-1, -1]).logits, resolved)


def test_all_designs_train_all_their_parameters(make_family: Make, make_inputs: Make, awaken: Make) -> None:
    inputs = make_inputs([[(4, 4), (4, 4)], [(2, 4)]])
    for design in DESIGNS:
        host = awaken(attach(make_family("qwen3_vl"), sve=SVEConfig(design=design))).train()

        host(**inputs, labels=inputs["input_ids"]).loss.backward()

        for name, parameter in own_parameters(host).items():
            assert parameter.grad is not None and parameter.grad.any(), (design, name)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"design": "self_ext", "init_std": 1e-4}, "self_ext has no init_std"),
        ({"design": "self_ffn", "stop_gradient": False}, "self_ffn has no stop_gradient"),
        ({"design": "adaln_zero", "clone": False}, "adaln_zero has no clone"),
        ({"first_image": "zero"}, "first_image is 'zero'"),
        ({"positions": 1}, "positions is 1"),
    ],
)
def test_settings_that_a_design_does_not_have_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        SVEConfig(**settings)


def test_dropout_of_attention_weights_is_refused_for_self_ext(make_family: Make) -> None:
    from models.errors import AttachmentError

    with pytest.raises(AttachmentError, match="dropout"):
        attach(make_family("gemma3", attention_dropout=0.1), sve=SVEConfig(design="self_ext"))


@pytest.mark.parametrize("design", DESIGNS)
def test_no_block_looks_at_a_value(make_tower: Make, make_family: Make, design: str) -> None:
    # A tensor without values cannot be waited for: what would hold up a GPU is an error here.
    tower = attach(make_tower("vit"), sve=SVEConfig(design=design)).to("meta")
    pixels = torch.zeros(3, 3, 16, 16, device="meta")
    assert tower(pixels, prior_index=[-1, 0, 1]).last_hidden_state.shape == (3, 17, 32)

    for module in own_modules(attach(make_family("qwen3_vl"), sve=SVEConfig(design=design))).values():
        hidden, rotary = torch.zeros(28, 32, device="meta"), (torch.zeros(28, 16, device="meta"),) * 2
        assert module.to("meta")(hidden, rotary, CrossPlan([-1, 0], [16, 12])).shape == (28, 32)


def test_keys_and_values_are_projected_once_for_all_images(make_family: Make) -> None:
    module = own_modules(attach(make_family("qwen3_vl"), sve=SVEConfig()))["sve.0"]
    rows: list[int] = []
    module.kv_proj.register_forward_hook(lambda _, args, output: rows.append(len(output)))
    hidden, rotary = torch.randn(8 * 4, 32), (torch.ones(32, 16), torch.zeros(32, 16))

    with torch.no_grad():
        module(hidden, rotary, CrossPlan([-1, *[0] * 7], [4] * 8))  # eight images that read the first
        module(hidden, rotary, CrossPlan([*range(-1, 7)], [4] * 8))  # a chain, whose last image nobody reads

    assert rows == [4, 7 * 4]
