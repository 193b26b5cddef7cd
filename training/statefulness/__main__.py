"""`python -P -m training.statefulness`: trains every variant with every seed, and writes the table.

It goes on where it was stopped: what is in the folder of the run is not made again.
"""

from __future__ import annotations

import logging
import sys

from training.errors import TrainingError
from training.experiment import LOG_FORMAT, experiment_parser
from training.statefulness.experiment import Settings
from training.statefulness.run import run_all
from training.statefulness.table import write_table

COMMAND = "make statefulness"


def main() -> None:
    """Command line of the experiment."""
    parser = experiment_parser((__doc__ or "").partition("\n")[0], Settings())
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
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
