"""One of the processes that `test_zero.py` starts: trains the tiny host for ten steps and saves its adapter."""

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

#: Adam divides by the size of a gradient: with its usual epsilon, rounding alone would move what has almost none.
STEPS, RATE, EPSILON = 10, 1e-3, 1e-4
#: Two samples, one for each process; each gives every module something to do.
SAMPLES = ([(4, 4), (2, 6)], [(2, 4), (4, 4), (2, 2)])


def build() -> tuple[Any, list[dict[str, torch.Tensor]]]:
    """Host with both modules, the same in every process, and the samples."""
    from models.attach import attach
    from models.config import PVMConfig, SVEConfig

    spec = importlib.util.spec_from_file_location("hosts_of_tests", Path(__file__).with_name("conftest.py"))
    assert spec is not None and spec.loader is not None
    hosts: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hosts)
    host = hosts.build_host(depth=2)
    torch.manual_seed(1)
    attach(host, sve=SVEConfig(init_std=0.02), pvm=PVMConfig(layers=(1, 2), latent_dim=16))
    return host.train(), [hosts.build_inputs([sample], seed=seed) for seed, sample in enumerate(SAMPLES)]


def main(stage: int, folder: Path) -> None:
    """Trains on this process's sample under a stage of ZeRO; the first process writes losses and adapter."""
    import deepspeed

    from models.attach import own_parameters
    from models.checkpoint import save_adapter

    deepspeed.init_distributed("gloo")
    host, samples = build()
    engine, *_ = deepspeed.initialize(
        model=host,
        config={
            "train_micro_batch_size_per_gpu": 1,
            "optimizer": {
                "type": "AdamW",
                "params": {"lr": RATE, "eps": EPSILON, "weight_decay": 0.0, "torch_adam": True},
            },
            "zero_optimization": {"stage": stage},
            "gradient_clipping": 0.0,  # DeepSpeed's default is 1
            "steps_per_print": 10_000,
        },
    )
    rank = int(os.environ["RANK"])
    losses = []
    for _ in range(STEPS):
        sample = samples[rank]
        loss = engine(**sample, labels=sample["input_ids"], use_cache=False).loss
        engine.backward(loss)
        engine.step()
        mean = loss.detach().clone()
        torch.distributed.all_reduce(mean)
        losses.append(mean.item() / 2)
    own = list(own_parameters(host).values())
    with deepspeed.zero.GatheredParameters(own, enabled=stage == 3):
        if rank == 0:
            save_adapter(host, folder)
            (folder / "losses.json").write_text(json.dumps(losses))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
