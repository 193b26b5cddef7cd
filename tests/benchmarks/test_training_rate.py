"""What do SVE and PVM cost in training, over the plain host of the embedded model? Prints ratios."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.published_sets import UNCHANGED, write_levir

pytestmark = pytest.mark.benchmark

PAIRS, REPEATS = 16, 4


class Step:
    """Forward, backward and update on one batch."""

    def __init__(self, folder: Path, *, is_plain: bool, precision: str) -> None:
        from models.attach import detach
        from training.config import config_of
        from training.engine import SingleEngine
        from training.host import build
        from training.readers.folder import read_folder
        from training.readers.splits import training_samples
        from training.sft import SFT
        from training.source import LabelledPairs

        config = config_of(
            {
                "data": str(folder),
                "steps": 1,
                "batch": PAIRS,
                "micro_batch": PAIRS,
                "precision": precision,
                "workers": 1,
            }
        )
        built = build(config)
        if is_plain:
            detach(built.model)
        self.engine = SingleEngine(built.model, config, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        built.model.train()
        samples = training_samples(read_folder(folder))
        source = LabelledPairs([(one, one.answers[0]) for one in samples], built.card.image_size)
        self.task = SFT(self.engine, built.processor, source, config, image_size=built.card.image_size)
        (self.batch,) = self.task.prepare(0)
        self.task.close()

    def __call__(self) -> None:
        """One step."""
        with self.engine.computing():
            loss = self.task.loss(self.batch)
        self.engine.backward(loss, is_last=True)
        self.engine.update(1.0)
        if torch.cuda.is_available():
            torch.cuda.synchronize()


def kept_bytes(step: Step) -> int:
    """What a step keeps for its backward pass, beside the weights."""
    weights = {one.untyped_storage().data_ptr() for one in step.engine.model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    # every tensor lives until the backward pass, so no address is used twice
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), step.engine.computing():
        step.task.loss(step.batch)
    return sum(kept.values())


def weight_bytes(step: Step) -> int:
    """Weights, gradients and the two moments, in float32."""
    return sum(4 * 4 * one.numel() for one in step.engine.model.parameters())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_throughput_and_memory(tmp_path: Path, precision: str, capsys: Any) -> None:
    write_levir(tmp_path, [(f"train_{number:06d}", UNCHANGED) for number in range(PAIRS)])
    steps = [Step(tmp_path, is_plain=is_plain, precision=precision) for is_plain in (False, True)]
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    best = [float("inf")] * 2
    for _ in range(REPEATS):
        for index, step in enumerate(steps):
            started = clock()
            step()
            best[index] = min(best[index], clock() - started)
    kept = [kept_bytes(step) / 2**20 for step in steps]
    weights = [weight_bytes(step) / 2**20 for step in steps]
    with capsys.disabled():
        print(
            f"\ntraining step of {PAIRS} pairs, {precision}, SVE and PVM over the plain host: "
            f"time {best[0] / best[1]:.2f} ({best[0]:.2f} s, {best[1]:.2f} s), pairs/s {best[1] / best[0]:.2f}; "
            f"kept for the backward pass {kept[0] / kept[1]:.2f} ({kept[0]:.0f} MiB, {kept[1]:.0f} MiB); "
            f"weights, gradients and moments {weights[0] / weights[1]:.2f} ({weights[0]:.0f} MiB, {weights[1]:.0f} MiB)"
        )
    assert all(value > 0 for value in (*best, *kept, *weights))
