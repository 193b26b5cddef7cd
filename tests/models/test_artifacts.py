"""Adapters of every format that was ever written load and give the outputs that they gave then."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import models
from models.attach import own_parameters
from models.checkpoint import load_adapter

ADAPTERS = Path(__file__).parents[1] / "data" / "adapters"
VERSIONS = sorted(folder.name for folder in ADAPTERS.iterdir() if (folder / "manifest.json").is_file())


@pytest.fixture(scope="module")
def make() -> Any:
    spec = importlib.util.spec_from_file_location("make_adapter", ADAPTERS / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_first_format_is_here() -> None:
    assert "v1" in VERSIONS


@torch.no_grad()
@pytest.mark.parametrize("version", VERSIONS)
def test_an_old_adapter_gives_the_outputs_of_its_manifest(
    make_host: Callable[..., Any], make: Any, version: str
) -> None:
    manifest = json.loads((ADAPTERS / version / "manifest.json").read_text())
    host = make_host(depth=2)
    make.fill(host.named_parameters(), 0.2)

    load_adapter(host, ADAPTERS / version)

    assert {name: list(p.shape) for name, p in own_parameters(host).items()} == manifest["parameters"]
    logits = host(**make.inputs_of(manifest["input_ids"], manifest["image_grid_thw"])).logits[0, -1]
    torch.testing.assert_close(logits, torch.tensor(manifest["last_logits"]), rtol=1e-3, atol=1e-4)


def test_the_embedded_adapter_loads_into_the_embedded_host() -> None:
    from transformers import Qwen3VLForConditionalGeneration

    folder = Path(models.__file__).parent / "compact"
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder)

    load_adapter(model, folder)

    own = own_parameters(model)
    assert {name.rsplit(".", 1)[0].split(".")[0] for name in own} == {"sve", "pvm"}
    assert all(parameter.isfinite().all() for parameter in own.values())
