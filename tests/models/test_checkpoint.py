import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from models.attach import attach, own_modules, own_parameters
from models.checkpoint import load_adapter, save_adapter
from models.config import DESIGNS, PVMConfig, SVEConfig
from models.errors import AdapterError, AttachmentError

Make = Callable[..., Any]
BOTH: dict[str, Any] = {"sve": SVEConfig(init_std=1e-4), "pvm": PVMConfig(layers=(1, 3), latent_dim=16)}


@pytest.fixture
def saved(make_host: Make, awaken: Make, tmp_path: Path) -> Path:
    save_adapter(awaken(attach(make_host(), **BOTH)), tmp_path / "adapter")
    return tmp_path / "adapter"


@torch.no_grad()
def test_a_loaded_adapter_gives_the_same_outputs_and_saves_to_the_same_bytes(
    make_host: Make, make_inputs: Make, awaken: Make, saved: Path, tmp_path: Path
) -> None:
    inputs = make_inputs([[(4, 4), (4, 4)]])
    logits = awaken(attach(make_host(), **BOTH))(**inputs).logits

    host = load_adapter(make_host(), saved)
    save_adapter(host, tmp_path / "again")

    assert torch.equal(host(**inputs).logits, logits)
    assert sorted(path.name for path in saved.iterdir()) == ["adapter.json", "adapter.safetensors"]
    for path in saved.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


@pytest.mark.parametrize("part", ["sve", "pvm"])
def test_one_module_alone_is_saved_and_loaded(make_host: Make, tmp_path: Path, part: str) -> None:
    save_adapter(attach(make_host(), **{part: BOTH[part]}), tmp_path)

    assert {name.split(".")[0] for name in own_modules(load_adapter(make_host(), tmp_path))} == {part}


def test_attached_modules_of_the_same_settings_take_the_weights(make_host: Make, saved: Path) -> None:
    host = attach(make_host(), **BOTH)

    load_adapter(host, saved)

    assert own_parameters(host)["pvm.1.gate_alpha"].item() == 0.5
    with pytest.raises(AttachmentError, match="another configuration"):
        load_adapter(attach(make_host(), sve=SVEConfig()), saved)


def test_another_host_is_refused_by_name_of_what_differs(make_host: Make, saved: Path) -> None:
    host = make_host(depth=4)

    with pytest.raises(AdapterError, match="vision_blocks 3 instead of 4"):
        load_adapter(host, saved)
    assert not own_modules(host)


def test_a_host_of_another_type_gets_weights_of_its_type(make_host: Make, saved: Path) -> None:
    host = load_adapter(make_host(dtype=torch.bfloat16), saved)

    assert {parameter.dtype for parameter in own_parameters(host).values()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 4}, "format 4"),
        ({"extra": 1}, "extra"),
        ({"weights": {"../adapter.safetensors": ""}}, "no adapter.safetensors"),
        ({"weights": None}, "does not name"),
        ({"sve": {"design": "cross_ffn", "init_std": 0.0, "gain": 1}}, "gain"),
        ({"sve": {"design": "cross_fnn", "init_std": 0.0}}, "cross_fnn"),
        ({"sve": None}, "unknown"),
        ({"pvm": {"layers": [1, 2], "latent_dim": 16, "init_std": 0.02}}, "missing"),
        ({"pvm": {"layers": [1, 3], "latent_dim": 8, "init_std": 0.02}}, "shape"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_the_host_alone(
    make_host: Make, saved: Path, change: dict[str, Any], words: str
) -> None:
    description = json.loads((saved / "adapter.json").read_text())
    (saved / "adapter.json").write_text(json.dumps({**description, **change}))
    host = make_host()
    names = [name for name, _ in host.named_modules()]

    with pytest.raises(AdapterError, match=words):
        load_adapter(host, saved)
    assert [name for name, _ in host.named_modules()] == names


def test_damaged_and_missing_files_are_refused(make_host: Make, saved: Path) -> None:
    weights = saved / "adapter.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(AdapterError, match="not the file"):
        load_adapter(make_host(), saved)

    (saved / "adapter.json").write_text("{")
    with pytest.raises(AdapterError, match="not valid JSON"):
        load_adapter(make_host(), saved)

    weights.unlink()
    (saved / "adapter.json").unlink()
    with pytest.raises(AdapterError, match=r"no adapter\.json"):
        load_adapter(make_host(), saved)


def test_a_large_adapter_goes_into_several_files(make_host: Make, saved: Path, tmp_path: Path) -> None:
    host = load_adapter(make_host(), saved)
    save_adapter(host, tmp_path / "many", shard_bytes=20_000)
    names = sorted(path.name for path in (tmp_path / "many").iterdir())

    assert len(names) > 4
    assert names[0] == f"adapter-00001-of-{len(names) - 1:05}.safetensors"
    again = own_parameters(load_adapter(make_host(), tmp_path / "many"))
    assert all(torch.equal(parameter, again[name]) for name, parameter in own_parameters(host).items())

    # A second save with fewer files leaves nothing of the first.
    save_adapter(host, tmp_path / "many")
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == ["adapter.json", "adapter.safetensors"]
    (tmp_path / "many" / "adapter.safetensors").unlink()
    with pytest.raises(AdapterError, match=r"no adapter\.safetensors"):
        load_adapter(make_host(), tmp_path / "many")


@pytest.mark.parametrize("design", DESIGNS)
def test_every_design_and_ablation_survives_its_files(
    make_host: Make, make_inputs: Make, awaken: Make, tmp_path: Path, design: str
) -> None:
    inputs = make_inputs([[(4, 4), (4, 4)]])
    settings = {"first_image": "null", "clone": False, "positions": False} if design == "cross" else {}
    host = awaken(attach(make_host(), sve=SVEConfig(design=design, **settings)))
    save_adapter(host, tmp_path)

    loaded = load_adapter(make_host(), tmp_path)

    assert torch.equal(loaded(**inputs).logits, host(**inputs).logits)


def test_an_adapter_loads_on_another_device(make_host: Make, saved: Path) -> None:
    host = load_adapter(make_host().to("meta"), saved)

    assert {parameter.device.type for parameter in own_parameters(host).values()} == {"meta"}


def test_weights_that_are_split_over_processes_are_not_saved(make_host: Make, tmp_path: Path) -> None:
    host = attach(make_host(), **BOTH)
    parameter = own_parameters(host)["sve.0.fc1.weight"]
    parameter.data = torch.empty(0)  # as ZeRO-3 leaves it

    with pytest.raises(AttachmentError, match="GatheredParameters"):
        save_adapter(host, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_bare_host_has_nothing_to_save(make_host: Make, tmp_path: Path) -> None:
    with pytest.raises(AttachmentError, match="no adapter to save"):
        save_adapter(make_host(), tmp_path)
