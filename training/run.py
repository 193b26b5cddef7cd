"""How does a training run begin, go on and end: from settings and a folder to a trained model in it?"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from training.checkpoint import Checkpoint, CheckpointUnusable, latest
from training.config import ConfigUnusable, Method, TrainConfig, differing
from training.engine import Engine, SingleEngine
from training.grpo import GRPO
from training.host import Built, build, export, load_values
from training.loop import CHECKPOINTS, Progress, restore, train
from training.readers.folder import read_folder
from training.readers.sample import Sample
from training.readers.splits import training_samples
from training.rewards import judge_of, reward
from training.sft import SFT
from training.source import LabelledPairs, with_answers
from training.whole_file import write_whole

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

#: The settings of a run, in its folder, and the folder of the trained model.
SETTINGS: Final = "settings.json"
MODEL: Final = "model"


def run(config: TrainConfig, folder: Path, *, progress: Progress = lambda step, steps, metrics: None) -> bool:
    """Trains a model on a labelled data set, from the last checkpoint in the folder if there is one.

    Every process of a run calls it; torchrun and its kin tell them apart. May be killed and repeated.

    Args:
        config: The run's settings.
        folder: Of the run; all processes must see the same one.
        progress: Told after each step, in the first process.

    Returns:
        Whether this process is the first one, which wrote the model to `folder/model`.

    Raises:
        TrainingError: Settings, data or checkpoint cannot be used, or the run could not go on; see `training.loop`.
    """
    samples = training_samples(
        read_folder(Path(config.data), images=None if config.images is None else Path(config.images)),
        compare_files=config.compare_files,
    )
    checkpoint = _begun(config, folder)
    tensors = {} if checkpoint is None else checkpoint.tensors()
    built = build(config)
    if checkpoint is not None:
        load_values(built.model, tensors)
    engine = _engine(built, config)
    try:
        if checkpoint is not None:
            updates = config.grpo.updates if config.method is Method.GRPO else 1
            restore(engine, checkpoint, tensors, updates)
        del tensors
        task, steps = _task(engine, built, samples, config)
        try:
            start = 0 if checkpoint is None else checkpoint.step
            train(engine, task, config, folder, steps=steps, start=start, progress=progress)
        finally:
            task.close()
        if engine.rank == 0:
            _finish(config, folder)
        engine.total([0.0])  # nobody leaves before the first has written
        return engine.rank == 0
    finally:
        engine.close()


def _task(engine: Engine, built: Built, samples: Sequence[Sample], config: TrainConfig) -> tuple[SFT | GRPO, int]:
    """What is learned, and in how many steps."""
    size = built.card.image_size
    if config.method is Method.SFT:
        source = LabelledPairs(with_answers(samples), size, config.augment)
        return SFT(engine, built.processor, source, config, image_size=size), config.n_steps(len(source))
    reward(samples[0], "")  # refuses a data set without findings before anything is sampled
    source = LabelledPairs([(one, one.answers[0]) for one in samples], size, config.augment)
    reference = engine.reference(build(config).model) if config.grpo.kl else None
    judge = judge_of(samples, config.grpo)
    task = GRPO(engine, built.processor, source, judge, config, reference=reference)
    return task, config.n_steps(len(source))


def _engine(built: Built, config: TrainConfig) -> Engine:
    """One process without DeepSpeed, unless there are several or a stage of ZeRO is asked for."""
    import torch

    stage = config.zero
    if stage is None:
        several = int(os.environ.get("WORLD_SIZE", "1")) > 1
        stage = (2 if config.method is Method.SFT else 3) if several else 0
    if not stage:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigUnusable("zero is 0, but there are several processes; leave it out, or give 2 or 3.")
        return SingleEngine(built.model, config, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    from training.zero import ZeroEngine, join_processes

    join_processes(config.timeout_minutes)
    return ZeroEngine(built.model, config, stage)


def _begun(config: TrainConfig, folder: Path) -> Checkpoint | None:
    """The checkpoint to go on from; the settings are written.

    Raises:
        CheckpointUnusable: The folder is that of a run with other settings.
    """
    found = latest(folder / CHECKPOINTS)
    if found is not None and (other := differing(found.config, config)):
        told = ", ".join(other)
        raise CheckpointUnusable(
            f"{folder.name} holds a run with other settings: {told}. Take these back, or give another folder."
        )
    if int(os.environ.get("RANK", "0")) == 0:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(config.to_dict(), indent=2) + "\n"
        write_whole(folder / SETTINGS, lambda part: part.write_text(text, encoding="utf-8"))
    if found is not None:
        logger.info("going on after step %d", found.step, extra={"action": "training_resumed"})
    return found


def _finish(config: TrainConfig, folder: Path) -> None:
    """Writes the trained model, from the last checkpoint: what is shipped is what can be gone on from."""
    last = latest(folder / CHECKPOINTS)
    assert last is not None  # the loop ends with one
    state: dict[str, Tensor] = last.tensors()
    export(build(config), state, config, folder / MODEL)
