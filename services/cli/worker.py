"""`interval worker`: one more process that takes jobs."""

import typer

from services.cli.options import Db, Model, Workers, make_settings


def worker(db: Db = None, model: Model = None, workers: Workers = None) -> None:
    """Take jobs that runs on the same database have queued.

    Goes on until interrupted.
    """
    import signal
    import threading

    from services.database import Database
    from services.jobs import Jobs
    from services.predictor import load_predictor
    from services.schema import upgrade_database

    settings = make_settings(db=db, workers=workers, model=model)
    database = Database(settings.database_url)
    upgrade_database(database)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Jobs(database, load_predictor(settings.model), settings) as jobs:
        typer.echo(f"{jobs.heartbeat.worker_id} takes jobs", err=True)
        stop.wait()
    database.dispose()
