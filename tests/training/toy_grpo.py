"""A toy that GRPO can learn: answers with an "e" in them. Also run as each of several processes by torchrun."""

import sys
from pathlib import Path
from typing import Any

import torch

from tests.training.tiny_run import SIDE, tiny_config
from training.checkpoint import latest
from training.config import TrainConfig, config_of
from training.engine import Engine, SingleEngine
from training.grpo import GRPO
from training.host import build, load_values
from training.loop import restore, train
from training.readers.folder import read_folder
from training.readers.splits import training_samples
from training.source import LabelledPairs

#: Every other token ends an answer, so that those of an untrained model are short.
ENDS = list(range(0, 642, 2))
STEPS = 24


def settings(model: Path, data: Path, **grpo: Any) -> TrainConfig:
    """Steps of four pairs with eight answers each."""
    config = tiny_config(
        *(model, data),
        **{"steps": STEPS, "batch": 4, "micro_batch": 4, "rate": 1e-2, "warm_up": 0.0, "schedule": "constant"},
        **{"epsilon": 1e-8, "save_every": 10},
    )
    return config_of({**config.to_dict(), "grpo": {"group": 8, "max_new_tokens": 6, **grpo}})


def has_e(index: int, text: str) -> dict[str, float]:
    """What an answer is worth."""
    return {"reward": float("e" in text)}


def made(
    config: TrainConfig, judge: Any = has_e, *, stage: int = 0, folder: Path | None = None
) -> tuple[Engine, GRPO, int]:
    """Engine and task, and the step to begin at: that of the last checkpoint in the folder."""
    built = build(config)
    built.model.generation_config.eos_token_id = ENDS
    last = None if folder is None else latest(folder / "checkpoints")
    tensors = {} if last is None else last.tensors()
    if last is not None:
        load_values(built.model, tensors)
    engine: Engine
    if stage:
        from training.zero import ZeroEngine, join_processes

        join_processes(5)
        engine = ZeroEngine(built.model, config, stage)
    else:
        engine = SingleEngine(built.model, config, torch.device("cpu"))
    if last is not None:
        restore(engine, last, tensors, config.grpo.updates)
    samples = training_samples(read_folder(Path(config.data)))
    source = LabelledPairs([(one, one.answers[0]) for one in samples], SIDE)
    reference = engine.reference(build(config).model) if config.grpo.kl else None
    task = GRPO(engine, built.processor, source, judge, config, reference=reference)
    return engine, task, 0 if last is None else last.step


def learn(config: TrainConfig, folder: Path, *, steps: int = STEPS, stage: int = 0) -> None:
    """Learns the toy, from the last checkpoint in the folder on."""
    engine, task, start = made(config, stage=stage, folder=folder)
    train(engine, task, config, folder, steps=steps, start=start)
    task.close()
    engine.close()


if __name__ == "__main__":
    model, data, out, stage, steps, kl = sys.argv[1:]
    learn(settings(Path(model), Path(data), kl=float(kl)), Path(out), steps=int(steps), stage=int(stage))
