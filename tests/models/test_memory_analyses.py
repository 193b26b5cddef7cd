"""What is measured of a memory at work: attention mass, LogitLens, retrieval maps, gates and controls."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.attach import attach, own_modules
from models.attention_mass import attention_mass
from models.config import PVMConfig
from models.errors import AttachmentError, UnsupportedInput
from models.gates import gate_values
from models.logit_lens import logit_lens
from models.parts import parts_of
from models.retrieval import retrieval_maps, shuffled_memory, wrong_image

Make = Callable[..., Any]
FAMILIES = ("qwen3_vl", "qwen3_5", "glm46v", "internvl", "gemma3", "llava")
PVM = PVMConfig(layers=(1, 2, 3), latent_dim=16)

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")


@pytest.fixture(scope="module")
def host(make_host: Make, awaken: Make) -> Any:
    return awaken(attach(make_host(), pvm=PVM))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_attention_mass_is_the_share_of_the_written_out_attention(
    make_family: Make, make_inputs: Make, family: str
) -> None:
    host, inputs = make_family(family), make_inputs([[(2, 2)]], family=family)

    found = attention_mass(host, inputs, steps=3)

    eager = make_family(family, attention="eager")
    made = eager.generate(
        **inputs,
        max_new_tokens=3,
        min_new_tokens=3,
        do_sample=False,
        output_attentions=True,
        return_dict_in_generate=True,
    )
    assert torch.equal(found.answer, made.sequences[0, -3:])
    is_visual = inputs["input_ids"][0] == 60
    with_attention = [index for index in range(4) if family != "qwen3_5" or index == 3]
    assert found.mass.shape == (4, 3)
    assert found.mass.isfinite().any(-1).nonzero()[:, 0].tolist() == with_attention
    for step, layers in enumerate(made.attentions):
        held = [layer for layer in layers if layer is not None]
        for index, weights in zip(with_attention, held, strict=True):
            last = weights[0, :, -1]
            expected = last[:, : len(is_visual)][:, is_visual[: last.shape[-1]]].sum(-1).mean()
            if last.shape[-1] == len(is_visual) + step:  # a sliding window holds the latest only
                torch.testing.assert_close(found.mass[index, step], expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.text_to_visual, 1 / found.mass - 1, equal_nan=True)
    assert host.config._attn_implementation == "sdpa"


def test_text_that_pushes_the_image_out_of_a_sliding_window_leaves_no_mass(
    make_family: Make, make_inputs: Make
) -> None:
    host = make_family("gemma3")  # a window of 16, every second layer
    found = attention_mass(host, make_inputs([[(2, 2)]], family="gemma3"), steps=24)

    sliding = [kind == "sliding_attention" for kind in host.config.text_config.layer_types]
    assert [bool(row[-1] == 0) for row in found.mass] == sliding
    assert (found.mass[:, 0] > 0).all()


def test_a_measure_of_one_sample_refuses_others(host: Any, make_inputs: Make) -> None:
    for samples in ([[(2, 2)], [(2, 2)]], [[]]):
        with pytest.raises(UnsupportedInput, match="one sample"):
            attention_mass(host, make_inputs(samples), steps=2)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_lens_compares_each_layer_with_the_last(make_family: Make, make_inputs: Make, family: str) -> None:
    host, inputs = make_family(family), make_inputs([[(2, 2)]], family=family)
    chosen = inputs["input_ids"] != 60

    found = logit_lens(host, inputs, chosen)

    assert found.shape == (5,)
    assert found[-1] == 0
    assert (found[:-1] > 0.01).all()
    with torch.no_grad():
        output = host(**inputs, output_hidden_states=True)
        last = output.logits[chosen].log_softmax(-1)
        first = parts_of(host).decoder.norm(output.hidden_states[0][chosen])  # type: ignore[operator]
        read = host.get_output_embeddings()(first).log_softmax(-1)
    torch.testing.assert_close(found[0], (last.exp() * (last - read)).sum(-1).mean(), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_retrieval_maps_are_where_the_branches_look(host: Any, make_inputs: Make) -> None:
    inputs = make_inputs([[(4, 4), (2, 6)]])
    length = inputs["input_ids"].shape[1]
    seen: dict[str, tuple[Tensor, ...]] = {}
    for name, module in own_modules(host).items():
        module.register_forward_hook(lambda m, args, _o, name=name: seen.update({name: args}))

    ((first, second),) = retrieval_maps(host, inputs, [slice(length - 2, length)])

    assert first.shape == (4, 4)
    assert second.shape == (2, 6)
    assert (first.sum() + second.sum()).item() == pytest.approx(1, abs=1e-5)
    expected = torch.zeros(28)
    for name, module in own_modules(host).items():
        hidden, key, _, mask = seen[name]
        query, _ = module.query(hidden)
        assert mask is not None
        expected += (query[0, :, -2:] @ key[0].transpose(-1, -2) / 8**0.5).softmax(-1).mean((0, 1)) / 3
    torch.testing.assert_close(torch.cat((first.flatten(), second.flatten())), expected, rtol=1e-4, atol=1e-6)
    for module in own_modules(host).values():
        module._forward_hooks.clear()


def test_text_between_two_images_reads_only_the_first(host: Any, make_inputs: Make) -> None:
    inputs = make_inputs([[(4, 4), (2, 6)]])
    second = (inputs["input_ids"][0] == 62).nonzero()[1, 0].item()

    ((first, later),) = retrieval_maps(host, inputs, [slice(second - 2, second)])

    assert first.sum().item() == pytest.approx(1, abs=1e-5)
    assert not later.any()
    with pytest.raises(UnsupportedInput, match="before every image"):
        retrieval_maps(host, inputs, [slice(0, 2)])


def test_maps_need_a_memory(make_host: Make, make_inputs: Make) -> None:
    for model in (make_host(), attach(make_host(), pvm=PVMConfig(layers=(1,), latent_dim=16, branch="mlp"))):
        with pytest.raises(AttachmentError, match="no visual memory"):
            retrieval_maps(model, make_inputs([[(4, 4)]]), [slice(-2, -1)])


@torch.no_grad()
@pytest.mark.parametrize("control", [lambda: shuffled_memory(0), wrong_image])
def test_controls_change_what_is_read_and_nothing_of_the_hosts_own(
    host: Any, make_host: Make, make_inputs: Make, control: Any
) -> None:
    inputs, plain = make_inputs([[(4, 4)], [(4, 4)]]), make_host()
    logits, of_host = host(**inputs).logits, plain(**inputs).logits
    is_image = inputs["input_ids"] == 60
    after = is_image.cumsum(-1).bool() & ~is_image

    with control():
        moved, of_plain = host(**inputs).logits, plain(**inputs).logits
        texts = [host.generate(**inputs, max_new_tokens=4, do_sample=False, use_cache=cache) for cache in (True, False)]

    assert ((moved - logits).abs().amax(-1)[after] > 1e-4).all()
    torch.testing.assert_close(moved[:, :2], logits[:, :2])  # text before the image
    assert torch.equal(of_plain, of_host)
    assert torch.equal(*texts)
    assert torch.equal(host(**inputs).logits, logits)


@torch.no_grad()
def test_the_wrong_image_is_another_samples(host: Any, make_inputs: Make) -> None:
    inputs = make_inputs([[(4, 4)], [(4, 4)]])
    for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
        inputs[name] = inputs[name][:1].repeat(2, 1)
    seen: list[Tensor] = []
    branch: nn.Module = own_modules(host)["pvm.1"]
    handle = branch.register_forward_hook(lambda _m, args, _o: seen.append(args[1]))
    host(**inputs)
    with wrong_image():
        host(**inputs)
    handle.remove()

    assert torch.equal(seen[1], seen[0].flip(0))
    with pytest.raises(UnsupportedInput, match="two or more"), wrong_image():
        host(**make_inputs([[(4, 4)]]))


def test_gates_are_named_by_layer(host: Any, make_host: Make) -> None:
    assert gate_values(host) == {"pvm.1": 0.5, "pvm.2": 0.5, "pvm.3": 0.5}
    assert gate_values(make_host()) == {}
