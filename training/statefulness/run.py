"""How do the runs of all variants and seeds share the processors? A process each, one thread, in order of the seeds.

Not in `__main__`, which a worker does not import.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ingest.fan_out import fan_out
from training.errors import TrainingError
from training.experiment import LOG_FORMAT, claim, code_revision, hardware
from training.statefulness.experiment import VARIANTS, Result, Settings, make_result, make_start, result_file

#: Longer than one run takes on any machine that is worth its while.
_SECONDS: Final = 4 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """One variant with one seed, for a process of its own."""

    folder: Path
    settings: Settings
    variant: str
    seed: int
    revision: str
    hardware: str


def run_job(job: Job) -> str | None:
    """Trains and measures; None, as a crash gives the job's name."""
    import torch

    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    torch.set_num_threads(1)
    make_result(job.folder, job.settings, job.variant, job.seed, revision=job.revision, hardware=job.hardware)
    return None


def run_all(folder: Path, settings: Settings, seeds: list[int], *, workers: int) -> list[Result]:
    """Every variant with every seed, seed by seed, so that a run that was stopped has whole columns.

    Raises:
        TrainingError: The folder is of other settings, or a process died.
    """
    import torch

    claim(folder, settings)
    torch.set_num_threads(workers or 1)
    make_start(folder, settings)
    revision, machine = code_revision("models", "training/experiment.py", "training/statefulness"), hardware()
    jobs = [
        Job(folder=folder, settings=settings, variant=variant, seed=seed, revision=revision, hardware=machine)
        for seed in seeds
        for variant in VARIANTS
        if not result_file(folder, variant, seed).exists()
    ]
    ended = fan_out(run_job, jobs, workers=workers, seconds=lambda _: _SECONDS, on_crash=_name, on_timeout=_name)
    died = [name for name in ended if name is not None]
    if died:
        raise TrainingError(
            f"The process of {', '.join(died)} died, of too little memory perhaps, or took too long; start again."
        )
    return [Result.read(result_file(folder, variant, seed)) for variant in VARIANTS for seed in seeds]


def _name(job: Job) -> str:
    return f"{job.variant} {job.seed}"
