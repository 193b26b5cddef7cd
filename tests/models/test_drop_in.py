"""Attached modules under what people run around a transformers model: Trainer, PEFT, torch.compile."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.attach import attach, detach, own_modules, own_parameters
from models.checkpoint import load_adapter, save_adapter
from models.config import DESIGNS, SVEConfig
from models.cross_plan import CrossPlan, cross_plan
from models.parts import parts_of

Make = Callable[..., Any]
PAIR = [[(4, 4), (2, 6)]]

# The libraries around warn of each other's deprecations.
pytestmark = [pytest.mark.filterwarnings("ignore::FutureWarning"), pytest.mark.filterwarnings("ignore::UserWarning")]


@pytest.mark.parametrize("recompute", [False, True])
def test_the_trainer_trains_our_parameters(
    make_family: Make, make_inputs: Make, tmp_path: Path, recompute: bool
) -> None:
    from transformers import Trainer, TrainingArguments

    host = attach(make_family("qwen3_vl"), sve=SVEConfig())
    start = {name: parameter.detach().clone() for name, parameter in own_parameters(host).items()}
    samples = [make_inputs(PAIR, seed=seed) for seed in range(4)]

    def collate(batch: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        joined = {name: torch.cat([sample[name] for sample in batch]) for name in batch[0]}
        return {**joined, "labels": joined["input_ids"]}

    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=3,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        gradient_checkpointing=recompute,
        gradient_checkpointing_kwargs={"use_reentrant": False} if recompute else None,
        remove_unused_columns=False,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    result = Trainer(model=host, args=arguments, train_dataset=samples, data_collator=collate).train()

    assert result.global_step == 3
    assert all(not torch.equal(parameter, start[name]) for name, parameter in own_parameters(host).items())


@pytest.mark.parametrize("first", ["attach", "peft"])
def test_lora_on_the_decoder_and_our_modules_live_together(
    make_family: Make, make_inputs: Make, awaken: Make, tmp_path: Path, first: str
) -> None:
    peft = pytest.importorskip("peft")
    inputs = make_inputs(PAIR)
    expected = awaken(attach(make_family("qwen3_vl"), sve=SVEConfig()))(**inputs).logits
    names = list(own_parameters(attach(make_family("qwen3_vl"), sve=SVEConfig())))
    lora = peft.LoraConfig(r=2, target_modules=r".*language_model.*\.(q_proj|v_proj)")

    host = make_family("qwen3_vl")
    if first == "attach":
        model = peft.get_peft_model(attach(host, sve=SVEConfig()), lora)
        for parameter in own_parameters(model).values():
            parameter.requires_grad_(True)  # PEFT freezes whatever is not its own
    else:
        model = attach(peft.get_peft_model(host, lora), sve=SVEConfig())
    awaken(model)

    assert list(own_parameters(model)) == names
    torch.testing.assert_close(model(**inputs).logits, expected)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert sum("lora" in name for name in trained) == 2 * 2 * 4
    assert sum("cross_image" in name for name in trained) == len(names) == len(trained) - 16
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    assert all(parameter.grad is not None for parameter in own_parameters(model).values())
    other = awaken(attach(make_family("qwen3_vl"), sve=SVEConfig()))
    texts = [m.generate(**inputs, max_new_tokens=3, do_sample=False) for m in (model, other)]
    assert torch.equal(*texts)
    save_adapter(model, tmp_path)
    torch.testing.assert_close(load_adapter(make_family("qwen3_vl"), tmp_path)(**inputs).logits, expected)


def test_lora_that_wraps_our_layers_leaves_their_names(make_family: Make, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    names = list(own_parameters(attach(make_family("qwen3_vl"), sve=SVEConfig())))

    model = peft.get_peft_model(
        attach(make_family("qwen3_vl"), sve=SVEConfig()), peft.LoraConfig(target_modules=["q_proj"])
    )

    assert any("cross_image.q_proj.lora" in name for name, _ in model.named_parameters())
    assert list(own_parameters(model)) == names


def test_lora_on_the_vision_blocks_stays_in_the_host(make_family: Make, make_inputs: Make, awaken: Make) -> None:
    peft = pytest.importorskip("peft")
    inputs = make_inputs(PAIR)
    plain = make_family("qwen3_vl")
    lora = peft.LoraConfig(r=2, target_modules=["qkv", "linear_fc1"])

    model = attach(peft.get_peft_model(make_family("qwen3_vl"), lora), sve=SVEConfig())

    assert not any("lora" in name for name in own_parameters(model))
    module = own_modules(model)["sve.0"]
    assert torch.equal(module.kv_proj.weight, plain.model.visual.blocks[0].attn.qkv.weight[32:])
    awaken(model)
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    torch.testing.assert_close(detach(model)(**inputs).logits, plain(**inputs).logits)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("design", DESIGNS)
def test_whole_blocks_compile_without_a_graph_break(make_tower: Make, awaken: Make, design: str) -> None:
    tower = awaken(attach(make_tower("siglip_vision_model"), sve=SVEConfig(design=design)))
    block = parts_of(tower).blocks[1]
    hidden = torch.randn(3, 16, 32, generator=torch.Generator().manual_seed(0))
    torch._dynamo.reset()
    compiled = torch.compile(block, fullgraph=True, backend="eager")

    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            with cross_plan(CrossPlan([-1, 0, 1])):
                plain = block(hidden, None)
            with cross_plan(CrossPlan([-1, 0, 1])):
                torch.testing.assert_close(compiled(hidden, None), plain)


@pytest.mark.filterwarnings("ignore")
def test_our_module_compiles_without_a_graph_break_for_unequal_sizes(make_family: Make, awaken: Make) -> None:
    host = awaken(attach(make_family("qwen3_vl"), sve=SVEConfig()))
    module = own_modules(host)["sve.1"]
    hidden = torch.randn(28, 32, generator=torch.Generator().manual_seed(0))
    rotary = host.model.visual.rotary_pos_emb(hidden, torch.randint(0, 6, (28, 2)))
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")

    plain = module(hidden, rotary, CrossPlan([-1, 0], [16, 12]))

    torch.testing.assert_close(compiled(hidden, rotary, CrossPlan([-1, 0], [16, 12])), plain)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["qwen3_vl", "glm46v", "internvl", "gemma3"])
def test_a_compiled_host_gives_the_same_logits(make_family: Make, make_inputs: Make, awaken: Make, family: str) -> None:
    host, inputs = awaken(attach(make_family(family), sve=SVEConfig())), make_inputs([*PAIR, []], family=family)
    torch._dynamo.reset()
    with torch.no_grad():
        torch.testing.assert_close(
            torch.compile(host, backend="eager")(**inputs).logits, host(**inputs).logits, rtol=1e-4, atol=1e-4
        )
