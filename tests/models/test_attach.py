import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from models.attach import attach, detach, own_modules, own_parameters
from models.config import PVMConfig, SVEConfig
from models.errors import AttachmentError, UnknownHost, UnresolvedPrior, UnsupportedInput
from models.predecessor import use_priors

Make = Callable[..., Any]
PAIR, MIXED = [[(4, 4), (4, 4)]], [[(4, 4), (4, 4)], [(4, 4)], [(2, 4), (4, 2), (2, 2)], []]
BOTH: dict[str, Any] = {"sve": SVEConfig(), "pvm": PVMConfig(layers=(1, 2, 3), latent_dim=16)}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("merge", [1, 2])
@torch.no_grad()
def test_right_after_attach_all_outputs_are_the_hosts_bit_for_bit(
    make_host: Make, make_inputs: Make, attention: str, dtype: torch.dtype, merge: int
) -> None:
    host = make_host(attention=attention, dtype=dtype, merge=merge)
    inputs = make_inputs(MIXED, merge=merge)
    pixels = inputs["pixel_values"], inputs["image_grid_thw"]
    logits = host(**inputs).logits
    tower = host.model.visual(pixels[0].to(dtype), grid_thw=pixels[1])

    attach(host, **BOTH)

    assert torch.equal(host(**inputs).logits, logits)
    with use_priors([-1, 0, -1, -1, 3, 4]):
        again = host.model.visual(pixels[0].to(dtype), grid_thw=pixels[1])
    assert torch.equal(again.pooler_output, tower.pooler_output)
    assert all(map(torch.equal, again.deepstack_features, tower.deepstack_features))
    assert {p.dtype for p in own_parameters(host).values()} == {dtype}


@torch.no_grad()
def test_each_module_alone_moves_the_output_once_it_is_no_longer_zero(
    make_host: Make, make_inputs: Make, awaken: Make
) -> None:
    inputs = make_inputs(PAIR)
    logits = make_host()(**inputs).logits

    for part in ("sve", "pvm"):
        host = awaken(attach(make_host(), **{part: BOTH[part]}))
        assert (host(**inputs).logits - logits).abs().max() > 0.01


def test_detach_restores_tree_outputs_and_methods(make_host: Make, make_inputs: Make, awaken: Make) -> None:
    host, inputs = make_host(), make_inputs(MIXED)
    tree = [(name, id(module)) for name, module in host.named_modules()]
    logits = host(**inputs).logits

    detach(awaken(attach(host, **BOTH)))

    assert [(name, id(module)) for name, module in host.named_modules()] == tree
    assert torch.equal(host(**inputs).logits, logits)
    assert "generate" not in vars(host)
    for module in host.modules():
        assert not module._forward_pre_hooks
        assert not module._forward_hooks
    with pytest.raises(AttachmentError, match="Nothing is attached"):
        detach(host)


def test_weights_start_as_copies_that_share_no_memory(make_host: Make) -> None:
    host = attach(make_host(), **BOTH)

    for index, block in enumerate(host.model.visual.blocks):
        base, own = block.base_layer, block.cross_image
        width = base.attn.qkv.in_features
        assert torch.equal(own.q_proj.weight, base.attn.qkv.weight[:width])
        assert torch.equal(own.kv_proj.weight, base.attn.qkv.weight[width:])
        assert torch.equal(torch.cat((own.q_proj.bias, own.kv_proj.bias)), base.attn.qkv.bias)
        assert torch.equal(own.fc1.weight, base.mlp.linear_fc1.weight)
        assert torch.equal(own.fc1.bias, base.mlp.linear_fc1.bias)
        for norm, source in ((own.norm_q, base.norm1), (own.norm_kv, base.norm1), (own.norm_ffn, base.norm2)):
            assert torch.equal(norm.weight, source.weight)
            assert torch.equal(norm.bias, source.bias)
        for zero in (own.o_proj.weight, own.o_proj.bias, own.fc2.weight, own.fc2.bias):
            assert not zero.any(), index
    ours = {parameter.untyped_storage().data_ptr() for parameter in own_parameters(host).values()}
    theirs = {p.untyped_storage().data_ptr() for p in detach(host).parameters()}
    assert not ours & theirs


def test_with_a_small_deviation_only_the_two_last_weights_are_random(make_host: Make) -> None:
    host = attach(make_host(), sve=SVEConfig(init_std=1e-4))

    own = own_parameters(host)
    assert own["sve.0.o_proj.weight"].std().item() == pytest.approx(1e-4, rel=0.2)
    assert own["sve.0.fc2.weight"].std().item() == pytest.approx(1e-4, rel=0.2)
    assert not own["sve.0.o_proj.bias"].any()
    assert not own["sve.0.fc2.bias"].any()


def test_at_the_first_step_only_the_zero_weights_and_the_gates_get_gradients(
    make_host: Make, make_inputs: Make
) -> None:
    host, inputs = attach(make_host(), **BOTH).train(), make_inputs(PAIR)

    host(**inputs, labels=inputs["input_ids"]).loss.backward()

    for name, parameter in own_parameters(host).items():
        moves = "o_proj" in name or "fc2" in name if name.startswith("sve") else name.endswith("gate_alpha")
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()) == moves, name


def test_a_frozen_host_gets_trainable_modules(make_host: Make) -> None:
    host = attach(make_host().requires_grad_(False), **BOTH)

    assert all(parameter.requires_grad for parameter in own_parameters(host).values())
    trainable = {id(p) for p in host.parameters() if p.requires_grad}
    assert trainable == {id(p) for p in own_parameters(host).values()}


def test_the_papers_parameter_counts_come_out() -> None:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    small_tower = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2}
    common = {"num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
    for width, inner, layers, expected in (
        (4096, 12288, (8, 16, 24), 27_922_179),
        (2560, 9728, (5, 11, 17), 22_728_963),
    ):
        config = Qwen3VLConfig(
            text_config={"hidden_size": width, "intermediate_size": inner, **common},
            vision_config={**small_tower, "out_hidden_size": width, "deepstack_visual_indexes": []},
        )
        with torch.device("meta"):
            host = attach(Qwen3VLForConditionalGeneration(config), pvm=PVMConfig(layers=layers))
        assert sum(parameter.numel() for parameter in own_parameters(host).values()) == expected


def test_what_does_not_fit_is_refused_before_anything_changes(make_host: Make) -> None:
    host = make_host()
    names = [name for name, _ in host.named_modules()]

    for pvm, words in (
        (PVMConfig(layers=(1, 4), latent_dim=16), "4 decoder layers"),
        (PVMConfig(layers=(1,), latent_dim=12), "multiple"),
    ):
        with pytest.raises(AttachmentError, match=words):
            attach(host, sve=SVEConfig(), pvm=pvm)
    with pytest.raises(AttachmentError, match="nothing to attach"):
        attach(host)
    assert [name for name, _ in host.named_modules()] == names

    attach(host, **BOTH)
    with pytest.raises(AttachmentError, match="already"):
        attach(host, **BOTH)


def test_a_host_whose_blocks_look_different_is_refused(make_host: Make) -> None:
    host = make_host()
    del host.model.visual.blocks[1].norm2

    with pytest.raises(AttachmentError, match=r"Vision block 1 has no norm2"):
        attach(host, sve=SVEConfig())
    assert not own_modules(host)


def test_a_model_of_no_known_family_is_refused() -> None:
    with pytest.raises(UnknownHost):
        attach(nn.Linear(2, 2), sve=SVEConfig())


def test_videos_are_refused(make_host: Make, make_inputs: Make) -> None:
    host, inputs = attach(make_host(), **BOTH), make_inputs(PAIR)
    video = {"pixel_values_videos": inputs["pixel_values"], "video_grid_thw": inputs["image_grid_thw"]}

    with pytest.raises(UnsupportedInput, match="Videos"):
        host(**inputs, **video)
    with pytest.raises(UnsupportedInput, match="Videos"):
        host.generate(**inputs, **video, max_new_tokens=1)


@torch.no_grad()
def test_an_explicit_prior_index_overrides_the_prompt(make_host: Make, make_inputs: Make, awaken: Make) -> None:
    host, inputs = awaken(attach(make_host(), sve=SVEConfig())), make_inputs(PAIR)

    resolved = host(**inputs).logits

    assert torch.equal(host(**inputs, prior_index=torch.tensor([-1, 0])).logits, resolved)
    assert not torch.allclose(host(**inputs, prior_index=torch.tensor([-1, -1])).logits, resolved, atol=1e-3)
    with pytest.raises(UnresolvedPrior):
        host(**inputs, prior_index=torch.tensor([-1]))


def test_a_tower_call_without_any_order_is_an_error(make_host: Make, make_inputs: Make) -> None:
    host, inputs = attach(make_host(), sve=SVEConfig()), make_inputs(PAIR)

    with pytest.raises(UnresolvedPrior, match="use_priors"):
        host.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"])


def test_after_an_error_the_next_call_is_not_disturbed(make_host: Make, make_inputs: Make, awaken: Make) -> None:
    host, inputs = awaken(attach(make_host(), **BOTH)), make_inputs(PAIR)
    logits = host(**inputs).logits

    with pytest.raises(UnresolvedPrior):
        host(**{**inputs, "image_grid_thw": torch.tensor([[1, 4, 4], [1, 4, 4], [1, 4, 4]])})
    with pytest.raises(UnresolvedPrior, match="use_priors"):
        host.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"])
    assert torch.equal(host(**inputs).logits, logits)


def test_a_copied_model_is_independent(make_host: Make, make_inputs: Make, awaken: Make) -> None:
    host, inputs = attach(make_host(), **BOTH), make_inputs(PAIR)
    logits, text = host(**inputs).logits, host.generate(**inputs, max_new_tokens=4, do_sample=False)

    twin = awaken(copy.deepcopy(host))

    assert torch.equal(host(**inputs).logits, logits)
    assert twin.generate.model is twin
    assert not torch.allclose(twin(**inputs).logits, logits, atol=1e-3)
    detach(twin)
    assert torch.equal(twin(**inputs).logits, logits)
    assert torch.equal(host.generate(**inputs, max_new_tokens=4, do_sample=False), text)


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputation_in_backward_gives_the_same_gradients(
    make_host: Make, make_inputs: Make, awaken: Make, reentrant: bool
) -> None:
    inputs, other = make_inputs(MIXED), make_inputs([[(4, 4), (4, 4)], [(4, 4), (4, 4)], [], []], seed=3)
    gradients = []
    for recompute in (False, True):
        host = awaken(attach(make_host(), **BOTH)).train()
        if recompute:
            host.activation_checkpointing_enable({"use_reentrant": reentrant})
        loss = host(**inputs, labels=inputs["input_ids"], use_cache=False).loss
        # A second forward in between: what the first one needs must not lie on the modules.
        host(**other, use_cache=False)
        loss.backward()
        gradients.append({name: p.grad for name, p in host.named_parameters()})
        # Every block of the host is still set as it was, so the next step recomputes too.
        flags = [m.gradient_checkpointing for m in host.modules() if hasattr(m, "gradient_checkpointing")]
        assert set(flags) == {recompute}

    plain, recomputed = gradients
    for name, gradient in plain.items():
        assert gradient is not None, name
        torch.testing.assert_close(recomputed[name], gradient, msg=name, rtol=1e-4, atol=1e-6)


def test_hidden_states_are_recorded_as_without_us(make_host: Make, make_inputs: Make) -> None:
    host, inputs = make_host(), make_inputs(PAIR)
    states = host(**inputs, output_hidden_states=True).hidden_states

    again = attach(make_host(), **BOTH)(**inputs, output_hidden_states=True).hidden_states

    assert len(again) == len(states)
    assert all(map(torch.equal, again, states))


def test_autocast_trains(make_host: Make, make_inputs: Make, awaken: Make) -> None:
    host, inputs = awaken(attach(make_host(), **BOTH)).train(), make_inputs(MIXED)
    exact = host(**inputs, labels=inputs["input_ids"]).loss

    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = host(**inputs, labels=inputs["input_ids"]).loss
    loss.backward()

    assert loss.item() == pytest.approx(exact.item(), rel=0.05)
    for name, parameter in own_parameters(host).items():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
