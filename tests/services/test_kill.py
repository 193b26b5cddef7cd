"""A run that was killed and started again ends with the database of an undisturbed one."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import func, select

from services.database import Database
from services.line import run_archive
from services.settings import Settings
from services.tables import Report, Worker

Content = Callable[[str], dict[str, list[tuple[object, ...]]]]


def count_reports(url: str) -> int:
    database = Database(url)
    try:
        with database.read() as session:
            return session.scalar(select(func.count()).select_from(Report)) or 0
    finally:
        database.dispose()


def wait_for_reports(url: str, process: subprocess.Popen[str], at_least: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the run ended before it could be killed: {process.communicate()[0]}")
        if _exists(url) and count_reports(url) >= at_least:
            return
        time.sleep(0.05)
    pytest.fail("no report within a minute")


def _exists(url: str) -> bool:
    from sqlalchemy import inspect

    database = Database(url)
    try:
        if database.is_sqlite and not Path(str(database.url.database)).exists():
            return False
        return inspect(database.engine).has_table("report")
    finally:
        database.dispose()


@pytest.mark.parametrize("reports_before", [0, 2])
def test_a_killed_and_restarted_run_equals_an_undisturbed_one(
    scene_archive: Path,
    database_url: str,
    settings: Settings,
    predictors: ModuleType,
    content_of: Content,
    start_line: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    reports_before: int,
) -> None:
    undisturbed = f"sqlite:///{tmp_path / 'undisturbed.sqlite'}"
    database = Database(undisturbed)
    whole = run_archive(scene_archive, database=database, load=predictors.QuadrantPredictor, settings=settings)
    database.dispose()

    killed = start_line("run", str(scene_archive), database_url, "0.4")
    wait_for_reports(database_url, killed, reports_before)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert count_reports(database_url) < whole.reported

    again = start_line("run", str(scene_archive), database_url, "0")
    output, _ = again.communicate(timeout=60)

    assert again.returncode == 0, output
    assert _plain(content_of(database_url)) == _plain(content_of(undisturbed))


def _plain(content: dict[str, list[tuple[object, ...]]]) -> dict[str, list[str]]:
    """Rows as text: the two drivers give bytes and JSON in different types."""
    return {
        table: sorted(repr(tuple(bytes(v) if isinstance(v, memoryview) else v for v in row)) for row in rows)
        for table, rows in content.items()
    }


def test_a_killed_run_is_taken_up_at_once_on_the_same_machine(
    scene_archive: Path,
    sqlite_url: str,
    start_line: Callable[..., subprocess.Popen[str]],
) -> None:
    killed = start_line("run", str(scene_archive), sqlite_url, "0.4")
    wait_for_reports(sqlite_url, killed, 1)
    killed.kill()
    killed.wait()

    # Far longer than the test may take: that the process is gone must be enough.
    again = start_line("run", str(scene_archive), sqlite_url, "0", INTERVAL_STALE_SECONDS="600")
    output, _ = again.communicate(timeout=60)

    assert again.returncode == 0, output
    database = Database(sqlite_url)
    with database.read() as session:
        assert [row.stopped_at is None for row in session.scalars(select(Worker))] == [False]
    database.dispose()
