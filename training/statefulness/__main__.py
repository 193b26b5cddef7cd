"""`python -P -m training.statefulness`: trains every variant with every seed, and writes the table.

It goes on where it was stopped: what is in the folder of the run is not made again.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from ingest.fan_out import fan_out
from training.errors import TrainingError
from training.statefulness.experiment import (
    VARIANTS,
    Result,
    Settings,
    claim,
    make_result,
    make_start,
    result_file,
)
from training.statefulness.table import write_table

COMMAND = "make statefulness"


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

    _log()
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
    revision, hardware = _revision(), _hardware()
    jobs = [
        Job(folder=folder, settings=settings, variant=variant, seed=seed, revision=revision, hardware=hardware)
        for seed in seeds
        for variant in VARIANTS
        if not result_file(folder, variant, seed).exists()
    ]
    died = [name for name in fan_out(run_job, jobs, workers=workers, on_crash=_name) if name is not None]
    if died:
        raise TrainingError(f"The process of {', '.join(died)} died, of too little memory perhaps; start again.")
    return [Result.read(result_file(folder, variant, seed)) for variant in VARIANTS for seed in seeds]


def _name(job: Job) -> str:
    return f"{job.variant} {job.seed}"


def _revision() -> str:
    """Short hash of the code's commit, with "+" when files were changed since; "unknown" outside a repository."""
    root = Path(__file__).parents[2]
    try:
        head, changed = (
            subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
            for arguments in (
                ("rev-parse", "--short", "HEAD"),
                ("status", "--porcelain", "--", "models", "training/statefulness"),
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+" if changed else head


def _hardware() -> str:
    """Processor, its number, system and torch."""
    import torch

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    return f"{os.cpu_count()} x {cpu}, {platform.system()}, torch {torch.__version__}"


def _log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")


def main() -> None:
    """Command line of the experiment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run: the start, and a file a result")
    parser.add_argument("--doc", type=Path, required=True, help="where the table goes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    for name, default in asdict(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    arguments = vars(parser.parse_args())
    out, doc, seeds, workers = (arguments.pop(name) for name in ("out", "doc", "seeds", "workers"))
    settings = Settings(**arguments)
    _log()
    try:
        results = run_all(out, settings, seeds, workers=workers)
    except TrainingError as error:
        sys.exit(f"{error}")
    doc.write_text(write_table(results, settings, COMMAND), encoding="utf-8")


if __name__ == "__main__":
    main()
