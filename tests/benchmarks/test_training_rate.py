"""What do SVE and PVM cost in training, over the plain host of the embedded model? Prints ratios."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.published_sets import UNCHANGED, write_levir

pytestmark = pytest.mark.benchmark

PAIRS, REPEATS = 16, 5
ROOT = Path(__file__).resolve().parents[2]


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


def peak_bytes() -> int:
    """Most memory that this process has used: of the GPU if there is one, else of the machine."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def memory_of_one(folder: Path, *, is_plain: bool, precision: str) -> int:
    """What the steps of a process of its own add to what it used before."""
    code = (
        f"from tests.benchmarks.test_training_rate import measure; measure({str(folder)!r}, {is_plain}, {precision!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout.splitlines()[-1]))


def measure(folder: str, is_plain: bool, precision: str) -> None:
    """Prints the memory of three steps, in bytes."""
    step = Step(Path(folder), is_plain=is_plain, precision=precision)
    before = peak_bytes()
    for _ in range(3):
        step()
    print(peak_bytes() - before)


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
    memory = [memory_of_one(tmp_path, is_plain=is_plain, precision=precision) for is_plain in (False, True)]
    used = [value / 2**20 for value in memory]
    with capsys.disabled():
        print(
            f"\ntraining step of {PAIRS} pairs, {precision}, SVE and PVM over the plain host: "
            f"time {best[0] / best[1]:.2f} ({best[0]:.2f} s, {best[1]:.2f} s), pairs/s {best[1] / best[0]:.2f}; "
            f"memory of the steps {used[0] / used[1]:.2f} ({used[0]:.0f} MiB, {used[1]:.0f} MiB)"
        )
    assert all(value > 0 for value in (*best, *memory))
