"""`python -P -m training.persistence`: trains every variant with every seed, and writes page and figure.

It goes on where it was stopped: what is in the folder of the run is not made again.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from training.errors import TrainingError
from training.experiment import LOG_FORMAT, claim, code_revision, experiment_parser, hardware
from training.persistence.experiment import (
    LENGTHS,
    VARIANTS,
    Result,
    Settings,
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
    revision, machine = code_revision("models", "training/experiment.py", "training/persistence"), hardware()
    runs = [(variant, length, seed) for seed in seeds for length in LENGTHS for variant in VARIANTS]
    for variant, length, seed in runs:
        make_result(folder, settings, variant, length, seed, revision=revision, hardware=machine)
    return [Result.read(result_file(folder, *run)) for run in runs]


def main() -> None:
    """Command line of the experiment."""
    parser = experiment_parser((__doc__ or "").partition("\n")[0], Settings())
    arguments = vars(parser.parse_args())
    out, doc, seeds = (arguments.pop(name) for name in ("out", "doc", "seeds"))
    settings = Settings(**arguments)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    try:
        results = run_all(out, settings, seeds)
    except TrainingError as error:
        sys.exit(f"{error}")
    figure = doc.with_suffix(".svg")
    draw_figure(results, figure)
    doc.write_text(write_page(results, settings, COMMAND, figure.name), encoding="utf-8")


if __name__ == "__main__":
    main()
