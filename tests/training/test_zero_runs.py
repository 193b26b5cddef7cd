"""Runs in two processes under DeepSpeed: what one process gives, also after one of them was killed."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from tests.training.tiny_run import (
    environment,
    launch,
    losses,
    tiny_config,
    torchrun,
    write_settings,
    write_tiny_model,
    write_tiny_set,
)
from training.checkpoint import latest
from training.run import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tiny_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def single(model, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("single")
    run(tiny_config(model, data), folder)
    return folder


def finished(arguments):
    process = launch(2, arguments)
    _, errors = process.communicate(timeout=600)
    return process.returncode, errors


@pytest.mark.parametrize("stage", [2, 3])
@pytest.mark.parametrize("micro_batch", [1, 2])
def test_two_processes_follow_one(model, data, single, tmp_path, stage, micro_batch):
    settings = write_settings(tmp_path / "run.toml", tiny_config(model, data, zero=stage, micro_batch=micro_batch))

    code, errors = finished(["train", "sft", str(settings), str(tmp_path / "run")])

    assert code == 0, errors[-3000:]
    assert len(losses(single)) == 10
    assert losses(tmp_path / "run") == pytest.approx(losses(single), abs=1e-4)
    for name in ("model.safetensors", "adapter.safetensors"):
        ours, theirs = (load_file(folder / "model" / name) for folder in (tmp_path / "run", single))
        assert ours.keys() == theirs.keys()
        assert max(float((ours[key] - theirs[key]).abs().max()) for key in ours) < 1e-5


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_killed_process_ends_the_run_and_it_goes_on_as_if_nothing_had_been(model, data, tmp_path, precision):
    config = tiny_config(model, data, steps=40, save_every=3, precision=precision)
    settings = write_settings(tmp_path / "run.toml", config)
    assert finished(["train", "sft", str(settings), str(tmp_path / "whole")])[0] == 0

    kill_one(settings, tmp_path / "cut")

    code, errors = finished(["train", "sft", str(settings), str(tmp_path / "cut")])

    assert code == 0, errors[-3000:]
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert [json.loads(line)["step"] for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()] == [
        *range(40)
    ]


def test_a_run_of_two_processes_goes_on_in_one(model, data, tmp_path):
    config = tiny_config(model, data, steps=40, save_every=4)
    settings = write_settings(tmp_path / "run.toml", config)
    kill_one(settings, tmp_path / "cut")

    for name in ("cut", "alone"):
        run(config, tmp_path / name)

    assert losses(tmp_path / "cut") == pytest.approx(losses(tmp_path / "alone"), abs=1e-4)


def test_the_reward_of_a_toy_rises_under_zero_3_and_the_run_goes_on(model, data, tmp_path):
    def learn(steps, kl="0.01"):
        # each process has its answers: their number and order do not depend on how many processes there are
        arguments = [str(model), str(data), str(tmp_path / "run"), "3", str(steps), kl]
        done = subprocess.run(
            [*torchrun(2), "-m", "tests.training.toy_grpo", *arguments],
            env=environment(), capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]

    assert len(learn(12)) == 12
    rewards = [one["reward"] for one in learn(24)]

    assert len(rewards) == 24
    assert np.mean(rewards[-8:]) > np.mean(rewards[:8]) + 0.2

    from tests.training.toy_grpo import learn as learn_alone
    from tests.training.toy_grpo import settings

    learn_alone(settings(model, data, kl=0.01), tmp_path / "alone", steps=5)
    alone = [json.loads(line)["reward"] for line in (tmp_path / "alone" / "metrics.jsonl").read_text().splitlines()]
    assert rewards[:5] == pytest.approx(alone)


def kill_one(settings, folder):
    """Starts a run, and kills the second of its processes after the first checkpoint: it writes nothing itself."""
    process = launch(2, ["train", "sft", str(settings), str(folder)])
    while latest(folder / "checkpoints") is None and process.poll() is None:
        time.sleep(0.01)
    victim = next(pid for pid, environ in children(process.pid) if b"RANK=1" in environ.split(b"\0"))
    os.kill(victim, signal.SIGKILL)
    began = time.monotonic()
    process.communicate(timeout=120)
    # the other one waits for it, and must not wait for ever
    assert time.monotonic() - began < 60
    assert process.returncode != 0
    assert latest(folder / "checkpoints").step < 40


def children(parent):
    """Processes of a launcher with their environment."""
    found = []
    for folder in (one for one in Path("/proc").iterdir() if one.name.isdigit()):
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append((int(folder.name), (folder / "environ").read_bytes()))
        except OSError:
            continue  # ended meanwhile
    return found
