"""`python -P -m training.persistence`: trains every variant with every seed, and writes page and figure.

It goes on where it was stopped: what is in the folder of the run is not made again.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from training.errors import TrainingError
from training.persistence.experiment import (
    LENGTHS,
    VARIANTS,
    Result,
    Settings,
    claim,
    make_result,
    make_start,
    result_file,
)
from training.persistence.table import draw_figure, write_page

COMMAND = "make persistence"


def run_all(folder: Path, settings: Settings, seeds: list[int]) -> list[Result]:
    """Every variant with every seed, seed by seed, so that a run that was stopped has whole columns.

    Raises:
        TrainingError: The folder is of other settings, or a loss is not finite.
    """
    import torch

    torch.set_num_threads(1)
    claim(folder, settings)
    make_start(folder, settings)
    revision, hardware = _revision(), _hardware()
    runs = [(variant, length, seed) for seed in seeds for length in LENGTHS for variant in VARIANTS]
    for variant, length, seed in runs:
        make_result(folder, settings, variant, length, seed, revision=revision, hardware=hardware)
    return [Result.read(result_file(folder, *run)) for run in runs]


def _revision() -> str:
    """Short hash of the code's commit, with "+" when files were changed since; "unknown" outside a repository."""
    root = Path(__file__).parents[2]
    try:
        head, changed = (
            subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
            for arguments in (
                ("rev-parse", "--short", "HEAD"),
                ("status", "--porcelain", "--", "models", "training/persistence"),
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


def main() -> None:
    """Command line of the experiment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run: the start, and a file a result")
    parser.add_argument("--doc", type=Path, required=True, help="where the page goes; the figure beside it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    for name, default in asdict(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    arguments = vars(parser.parse_args())
    out, doc, seeds = (arguments.pop(name) for name in ("out", "doc", "seeds"))
    settings = Settings(**arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        results = run_all(out, settings, seeds)
    except TrainingError as error:
        sys.exit(f"{error}")
    figure = doc.with_suffix(".svg")
    draw_figure(results, figure)
    doc.write_text(write_page(results, settings, COMMAND, figure.name), encoding="utf-8")


if __name__ == "__main__":
    main()
