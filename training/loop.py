"""How does a run go from step to step, so that it may end at any moment and go on as if it had not?

All that is random in a step is drawn from the seed and the step, the order of samples and the learning rates are
functions of the step, and weights and moments are in the checkpoint: a run that goes on repeats the steps after it
exactly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from training.checkpoint import Checkpoint, CheckpointFailed, Writer, prune
from training.config import TrainConfig
from training.engine import Engine
from training.errors import TrainingError
from training.groups import rate_factor
from training.runlog import RunLog

if TYPE_CHECKING:
    from torch import Tensor

#: Where a run's checkpoints are, in its folder.
CHECKPOINTS: Final = "checkpoints"

Batch = TypeVar("Batch")


class NotFinite(TrainingError, ArithmeticError):
    """The loss or its gradient is not a finite number; lower the learning rate. The last checkpoint is from before."""


class ProcessLost(TrainingError, ConnectionError):
    """Another process of the run has ended; start all of them again, they go on from the last checkpoint."""


class Task(Protocol[Batch]):
    """What is learned: `training.sft`, `training.grpo`.

    Attributes:
        updates: Updates on the batches of a step.
    """

    updates: int

    def prepare(self, step: int) -> Sequence[Batch]:
        """This process's micro-batches of a step; every process has equally many."""
        ...

    def loss(self, batch: Batch) -> Tensor:
        """A micro-batch's share of the loss: over all micro-batches of all processes they sum up to it."""
        ...

    def measures(self) -> dict[str, tuple[float, float]]:
        """Sum and count of what is reported of the step in this process, by name; "tokens" is what was computed."""
        ...


#: Told after each step: the step, their number, and its metrics.
Progress = Callable[[int, int, dict[str, float]], None]


def train(
    engine: Engine,
    task: Task[Any],
    config: TrainConfig,
    folder: Path,
    *,
    steps: int,
    start: int = 0,
    progress: Progress = lambda step, steps, metrics: None,
) -> None:
    """Goes through the steps of a run; the first process writes metrics and checkpoints.

    Args:
        engine: Weights as they are after `start` steps.
        task: What is learned.
        config: The run's settings.
        folder: The run's folder.
        steps: Where it ends.
        start: Where it begins.
        progress: Told after each step.

    Raises:
        NotFinite: Nothing was written since the last checkpoint.
        ProcessLost: Likewise.
        CheckpointFailed: Likewise.
    """
    if start >= steps:
        return
    log = RunLog(folder, start) if engine.rank == 0 else None
    engine.model.train()
    try:
        for step in range(start, steps):
            began = time.monotonic()
            metrics = _step(engine, task, config, step, steps)
            metrics["tokens_per_second"] = metrics["tokens"] / (time.monotonic() - began)
            done = step + 1
            if done % config.log_every == 0 or done == steps:
                with engine.whole(_gates(engine.model)):
                    if log is not None:
                        log.write(step, engine.model, metrics)
            if done % config.save_every == 0 or done == steps:
                save(engine, config, folder, done)
            if engine.rank == 0:
                progress(done, steps, metrics)
    except RuntimeError as error:
        # gloo and nccl have no errors of their own for this
        if engine.world > 1 and any(word in str(error) for word in ("Connection", "peer", "NCCL", "Timed out")):
            raise ProcessLost from error
        raise
    finally:
        if log is not None:
            log.close()


def save(engine: Engine, config: TrainConfig, folder: Path, step: int) -> None:
    """Writes a checkpoint after so many steps, and takes old ones away.

    Raises:
        CheckpointFailed: In every process, where the first one could not write it.
    """
    writer = Writer(folder / CHECKPOINTS, step, config.to_dict()) if engine.rank == 0 else None
    for name, tensor in engine.state():
        if writer is not None:
            writer.add(name, tensor)
    failure: CheckpointFailed | None = None
    if writer is not None:
        try:
            writer.finish()
            prune(folder / CHECKPOINTS, config.keep)
        except CheckpointFailed as error:
            failure = error
    (failures,) = engine.total([float(failure is not None)])
    if failure is not None:
        raise failure
    if failures:
        raise CheckpointFailed("The first process could not write the checkpoint; it tells why.")


def restore(engine: Engine, checkpoint: Checkpoint, tensors: dict[str, Tensor], updates: int) -> None:
    """Moments and their number of updates at a checkpoint; the weights are in the model already."""
    engine.restore(tensors, checkpoint.step * updates)


def _step(engine: Engine, task: Task[Any], config: TrainConfig, step: int, steps: int) -> dict[str, float]:
    """One step; its metrics over all processes."""
    import torch

    torch.manual_seed(seed_of(config.seed, step, engine.rank))
    batches = task.prepare(step)
    own, norm = 0.0, 0.0
    for _ in range(task.updates):
        own = 0.0
        for number, batch in enumerate(batches):
            with engine.computing():
                loss = task.loss(batch)
            own += loss.item()
            engine.backward(loss, is_last=number == len(batches) - 1)
        (loss_of_all,) = engine.total([own])
        if not math.isfinite(loss_of_all):
            raise NotFinite(f"The loss of step {step} is {loss_of_all}. {NotFinite.__doc__}")
        norm = engine.update(rate_factor(step, steps, config))
        if not math.isfinite(norm):
            raise NotFinite(f"The gradient of step {step} has the norm {norm}. {NotFinite.__doc__}")
    measured = task.measures()
    summed = engine.total([value for pair in measured.values() for value in pair])
    found = {
        name: total if name == "tokens" else total / count if count else 0.0
        for name, total, count in zip(measured, summed[::2], summed[1::2], strict=True)
    }
    return {"loss": loss_of_all, "gradient_norm": norm, "rate_factor": rate_factor(step, steps, config), **found}


def seed_of(seed: int, *numbers: int) -> int:
    """One seed out of several numbers, the same everywhere."""
    import numpy as np

    return int(np.random.SeedSequence([seed, *numbers]).generate_state(1, np.uint64)[0])


def _gates(model: Any) -> list[Any]:
    from models.attach import own_parameters
    from models.parts import parts_of

    if parts_of(model).attachment is None:
        return []
    return [one for name, one in own_parameters(model).items() if name.endswith(".gate_alpha")]
