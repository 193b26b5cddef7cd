"""Makes a folder with a small adapter and its manifest: `python tests/data/adapters/make.py FOLDER`.

Run once for each format of the files, when it is new; `tests/models/test_artifacts.py` loads every folder for ever.
v1 was made at commit 2081ee9, v3 when the visual memory got settings for its form. All numbers follow from their
places, so no random generator can move them.
"""

import importlib.util
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def written(shape: tuple[int, ...] | torch.Size, seed: int) -> Tensor:
    """Numbers between -1 and 1 that look random and are the same everywhere."""
    count = torch.Size(shape).numel()
    return (torch.arange(count, dtype=torch.float64) * 12.9898 + seed * 78.233).sin().view(shape).float()


def fill(named: Iterable[tuple[str, torch.nn.Parameter]], scale: float) -> None:
    """Gives every parameter written numbers, the weights of norms around 1."""
    with torch.no_grad():
        for seed, (name, parameter) in enumerate(sorted(named)):
            base = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(base + scale * written(parameter.shape, seed))


def inputs_of(ids: list[int], grids: list[list[int]]) -> dict[str, Tensor]:
    """One sample of the tiny Qwen3-VL of tests/models/conftest.py, whose image placeholder is 60."""
    input_ids, grid = torch.tensor([ids]), torch.tensor(grids)
    return {
        "input_ids": input_ids,
        "attention_mask": torch.ones_like(input_ids),
        "mm_token_type_ids": (input_ids == 60).int(),
        "pixel_values": written((int(grid.prod(-1).sum()), 96), 1000),
        "image_grid_thw": grid,
    }


def main(folder: Path) -> None:
    """Writes adapter and manifest."""
    from models.attach import attach, own_parameters
    from models.checkpoint import save_adapter
    from models.config import PVMConfig, SVEConfig

    spec = importlib.util.spec_from_file_location("hosts_of_tests", Path(__file__).parents[2] / "models/conftest.py")
    assert spec is not None and spec.loader is not None
    hosts: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hosts)
    host = hosts.build_host(depth=2)
    fill(host.named_parameters(), 0.2)
    attach(host, sve=SVEConfig(), pvm=PVMConfig(layers=(1, 2), latent_dim=16))
    fill(own_parameters(host).items(), 0.3)
    ids = [1, 2, 62, *[60] * 16, 63, 3, 4, 62, *[60] * 8, 63, 5, 6, 7, 8]
    grids = [[1, 4, 4], [1, 2, 4]]
    with torch.no_grad():
        logits = host(**inputs_of(ids, grids)).logits[0, -1]
    save_adapter(host, folder)
    manifest = {
        "input_ids": ids,
        "image_grid_thw": grids,
        "parameters": {name: list(p.shape) for name, p in sorted(own_parameters(host).items())},
        "last_logits": [round(value, 5) for value in logits.tolist()],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
