"""The run and the worker as a process of their own, with the tests' predictor: what the tests kill.

`python line_process.py run ARCHIVE URL DELAY` or `worker URL DELAY`. DELAY may also be `faulty` or
`deadly:FINGERPRINT`. INTERVAL_ variables set the rest.
"""

import signal
import sys
import threading
from pathlib import Path

from quadrant_predictor import DeadlyPredictor, FaultyPredictor, QuadrantPredictor

from services.database import Database
from services.jobs import Jobs
from services.line import run_archive
from services.logs import configure_logs
from services.schema import upgrade_database
from services.settings import Settings


def main() -> None:
    role, *rest = sys.argv[1:]
    settings = Settings()
    configure_logs(settings.log_level, "text")
    database = Database(rest[-2])
    kind, _, poison = rest[-1].partition(":")
    predictor = (
        DeadlyPredictor(poison=poison)
        if kind == "deadly"
        else FaultyPredictor()
        if kind == "faulty"
        else QuadrantPredictor(delay=float(kind))
    )
    if role == "run":
        summary = run_archive(Path(rest[0]), database=database, load=lambda: predictor, settings=settings)
        print(f"reported {summary.reported} kept {summary.kept} failed {summary.failed}", flush=True)
    else:
        upgrade_database(database)
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        with Jobs(database, predictor, settings) as jobs:
            print(jobs.heartbeat.worker_id, flush=True)
            stop.wait()
    database.dispose()


if __name__ == "__main__":
    main()
