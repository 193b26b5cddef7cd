"""Several workers share a PostgreSQL database, and the living finish what the dead began."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import select, text, update

from services import store
from services.database import Database
from services.heartbeat import Heartbeat, is_running, machine_key
from services.jobs import JOB_VERSION
from services.line import run_archive
from services.predictor import identity_of
from services.schema import upgrade_database
from services.settings import Settings
from services.tables import Pair, Report, Worker
from tests.services.waiting import wait_until


def started(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    return worker.stdout.readline().strip()


def running_jobs(database: Database, worker_id: str) -> list[str]:
    with database.engine.connect() as connection:
        rows = connection.execute(
            text("SELECT workflow_uuid FROM dbos.workflow_status WHERE status = 'PENDING' AND executor_id = :worker"),
            {"worker": worker_id},
        )
        return [row[0] for row in rows]


@pytest.mark.postgres
def test_the_living_worker_finishes_the_batch_and_the_job_of_the_killed_one(
    scene_archive: Path,
    postgres_url: str,
    settings: Settings,
    predictors: ModuleType,
    start_line: Callable[..., subprocess.Popen[str]],
) -> None:
    from dbos import DBOSClient, EnqueueOptions

    database = Database(postgres_url)
    # Survey and pairs by a run that reports on one pair; the rest is queued for the workers alone.
    run_archive(scene_archive, database=database, load=predictors.QuadrantPredictor, settings=settings, limit=1)
    identity = identity_of(predictors.QuadrantPredictor())
    with database.read() as session:
        pairs = list(session.scalars(select(Pair.id)))
    work = {identity.report_id(pair): pair for pair in pairs}
    client = DBOSClient(system_database_url=postgres_url)
    with database.read() as session:
        missing = set(work) - store.settled_work(session, list(work))
    # The job that the first worker takes would last ten minutes there.
    victim = start_line("worker", postgres_url, "600", INTERVAL_STALE_SECONDS="4")
    victim_id = started(victim)
    for key in sorted(missing):
        options: EnqueueOptions = {
            "queue_name": f"report-{identity.key}",
            "workflow_name": "report_pair",
            "workflow_id": key,
            "app_version": JOB_VERSION,
        }
        client.enqueue(options, work[key])
    wait_until(lambda: len(running_jobs(database, victim_id)) == 1, 30, "taking a job")
    [orphan] = running_jobs(database, victim_id)
    # The pid is that of this machine; a stranger's name makes it one of another machine, seen by its silence only.
    with database.write() as session:
        session.execute(update(Worker).where(Worker.id == victim_id).values(machine="elsewhere"))
    survivor = start_line("worker", postgres_url, "0", INTERVAL_STALE_SECONDS="4")
    started(survivor)

    victim.kill()
    victim.wait()

    def is_done() -> bool:
        with database.read() as session:
            return store.settled_work(session, list(work)) == set(work)

    assert wait_until(is_done, 60, "finishing the batch") < 60
    with database.read() as session:
        assert session.scalar(select(Report.id).where(Report.id == orphan)) == orphan
        assert session.query(Report).count() == len(work)
    survivor.terminate()
    assert survivor.wait(timeout=30) == 0
    client.destroy()
    database.dispose()


def test_a_worker_that_falls_silent_is_dead_only_after_a_while(database: Database) -> None:
    mine = Heartbeat(database, "worker-1", stale_seconds=0.3)
    other = Heartbeat(database, "worker-2", stale_seconds=0.3)
    other.machine = "elsewhere"
    other.beat()

    assert mine.find_dead() == set()
    time.sleep(0.2)
    other.beat()
    assert mine.find_dead() == set()
    time.sleep(0.2)
    assert mine.find_dead() == set()
    time.sleep(0.2)
    assert mine.find_dead() == {"worker-2"}
    other.beat()
    assert mine.find_dead() == set()


def test_a_worker_that_said_farewell_is_dead_at_once(database: Database) -> None:
    mine = Heartbeat(database, "worker-1", stale_seconds=600)
    other = Heartbeat(database, "worker-2", stale_seconds=600)
    other.machine = "elsewhere"
    other.beat()
    other.stop()

    assert mine.find_dead() == {"worker-2"}


def test_a_worker_whose_process_is_gone_is_dead_at_once(database: Database) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with database.write() as session:
        store.beat(session, "worker-2", machine=machine_key(), pid=gone.pid)
        store.beat(session, "worker-3", machine="elsewhere", pid=gone.pid)

    assert Heartbeat(database, "worker-1", stale_seconds=600).find_dead() == {"worker-2"}


def test_a_worker_nobody_knows_is_dead_after_a_while(database: Database) -> None:
    mine = Heartbeat(database, "worker-1", stale_seconds=0.1)

    assert mine.find_dead({"worker-9"}) == set()
    time.sleep(0.15)
    assert mine.find_dead({"worker-9"}) == {"worker-9"}


def test_only_the_first_living_worker_hands_jobs_on(database: Database) -> None:
    beats = [Heartbeat(database, f"worker-{number}", stale_seconds=600) for number in (1, 2, 3)]
    for one in beats:
        one.beat()

    assert [one.is_first(set()) for one in beats] == [True, False, False]
    assert beats[1].is_first({"worker-1"})


def test_a_forgotten_worker_that_lives_is_known_again(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    upgrade_database(database)
    mine = Heartbeat(database, "worker-1", stale_seconds=600)
    mine.beat()
    mine.forget({"worker-1"})

    mine.beat()

    with database.read() as session:
        assert [row.id for row in session.scalars(select(Worker))] == ["worker-1"]
    database.dispose()


def test_this_process_runs_and_no_process_has_an_impossible_number() -> None:
    assert is_running(os.getpid())
    assert not is_running(2**22 + 1)
