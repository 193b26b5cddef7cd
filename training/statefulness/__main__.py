"""`python -P -m training.statefulness`: trains every variant with every seed, and writes the table.

It goes on where it was stopped: what is in the folder of the run is not made again.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import asdict
from pathlib import Path

from training.errors import TrainingError
from training.statefulness.experiment import Settings
from training.statefulness.run import LOG_FORMAT, run_all
from training.statefulness.table import write_table

COMMAND = "make statefulness"


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
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    try:
        results = run_all(out, settings, seeds, workers=workers)
    except TrainingError as error:
        sys.exit(f"{error}")
    doc.write_text(write_table(results, settings, COMMAND), encoding="utf-8")


if __name__ == "__main__":
    main()
