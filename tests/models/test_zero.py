"""ZeRO-2 and ZeRO-3 on two processes give what one process gives."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from models.attach import own_parameters
from models.checkpoint import load_adapter

WORKER = Path(__file__).with_name("zero_worker.py")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def worker() -> Any:
    spec = importlib.util.spec_from_file_location("zero_worker", WORKER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def single(worker: Any) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses and our trained parameters of one process that sees both samples."""
    host, samples = worker.build()
    optimizer = torch.optim.AdamW(host.parameters(), lr=worker.RATE, eps=worker.EPSILON, weight_decay=0.0)
    losses = []
    for _ in range(worker.STEPS):
        loss = sum(host(**sample, labels=sample["input_ids"], use_cache=False).loss for sample in samples) / 2
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses, {name: parameter.detach() for name, parameter in own_parameters(host).items()}


@pytest.mark.parametrize("stage", [2, 3])
def test_two_processes_follow_the_loss_of_one_and_save_an_adapter_that_loads(
    worker: Any, single: tuple[list[float], dict[str, torch.Tensor]], tmp_path: Path, stage: int
) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    root = WORKER.parents[2]
    done = subprocess.run(
        [*command, "--standalone", str(WORKER), str(stage), str(tmp_path)],
        env={**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]

    losses = json.loads((tmp_path / "losses.json").read_text())
    assert losses[-1] < losses[0] - 0.1
    assert losses == pytest.approx(single[0], abs=1e-4)
    host, _ = worker.build()
    loaded = own_parameters(load_adapter(host, tmp_path))
    for name, expected in single[1].items():
        torch.testing.assert_close(loaded[name].detach(), expected, rtol=1e-3, atol=1e-4, msg=name)
