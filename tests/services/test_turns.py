"""One process indexes an archive at a time, whatever the database, and a dead one holds nobody up."""

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import func, select

from services.database import Database
from services.line import RunSummary, run_archive
from services.settings import Settings
from services.store import archive_key
from services.survey import survey_archive
from services.tables import File
from services.turns import turn
from tests.services.waiting import wait_until

HOLD = """
import sys, time
from services.database import Database
from services.turns import turn
with turn(Database(sys.argv[1]), sys.argv[2]):
    print("mine", flush=True)
    time.sleep(600)
"""


def test_a_turn_is_never_had_by_two_and_everyone_has_it(database_url: str, tmp_path: Path) -> None:
    taken: list[int] = []
    together: list[int] = []

    def take(number: int) -> None:
        database = Database(database_url)
        for _ in range(5):
            with turn(database, "a" * 32):
                taken.append(number)
                before = len(taken)
                time.sleep(0.002)
                together.append(len(taken) - before)
        database.dispose()

    threads = [threading.Thread(target=take, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(taken) == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5
    assert set(together) == {0}
    assert not list(tmp_path.glob("*.lock"))


def test_archives_have_turns_of_their_own(database: Database) -> None:
    with turn(database, "a" * 32), turn(database, "b" * 32):
        pass


def test_a_database_in_memory_has_nobody_to_wait_for() -> None:
    database = Database("sqlite://")
    with turn(database, "a" * 32), turn(database, "a" * 32):
        pass


def test_the_turn_of_a_killed_process_ends_with_it(database_url: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, database_url, "a" * 32], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "mine\n"
        database = Database(database_url)
        had = threading.Event()

        def take() -> None:
            with turn(database, "a" * 32):
                had.set()

        waiting = threading.Thread(target=take)
        waiting.start()
        assert not had.wait(0.5)

        holder.kill()
        holder.wait()

        assert had.wait(30)
        waiting.join()
        database.dispose()


def test_an_index_and_a_run_wait_for_whoever_indexes_the_archive_and_say_so(
    scene_archive: Path,
    database: Database,
    database_url: str,
    settings: Settings,
    predictors: ModuleType,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def run() -> RunSummary:
        other = Database(database_url)
        try:
            return run_archive(
                scene_archive, database=other, load=predictors.QuadrantPredictor, settings=settings, limit=1
            )
        finally:
            other.dispose()

    def index() -> object:
        other = Database(database_url)
        try:
            return survey_archive(scene_archive, database=other, workers=1)
        finally:
            other.dispose()

    done: list[object] = []
    waiting = [threading.Thread(target=lambda what=what: done.append(what())) for what in (run, index)]
    with caplog.at_level(logging.WARNING, logger="services"):
        with turn(database, archive_key(os.fspath(scene_archive.resolve()))):
            for thread in waiting:
                thread.start()
            wait_until(lambda: _actions(caplog).count("turn_awaited") == 2, 30, "waiting for the turn")
            time.sleep(0.5)
            assert _files(database) == 0
        for thread in waiting:
            thread.join()

    assert len(done) == 2
    assert _files(database) > 0


def _actions(caplog: pytest.LogCaptureFixture) -> list[object]:
    return [getattr(record, "action", None) for record in caplog.records]


def _files(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(File)) or 0
