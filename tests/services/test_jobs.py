"""Every pair ends with a report or a refusal, whatever the job engine remembers, and nothing is done twice."""

import json
import logging
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import delete, select

from ingest.align import align_pair
from services import repository, store
from services.database import Database
from services.errors import JobsUnusable, UsageError
from services.jobs import MAX_TAKEOVERS, Jobs, system_database_url
from services.line import RunSummary, run_archive
from services.predictor import identity_of
from services.settings import Settings
from services.survey import survey_archive
from services.tables import Finding, Pair, Refusal, Report
from services.work import Workshop

Content = Callable[[str], dict[str, list[tuple[object, ...]]]]


def run(root: Path, url: str, settings: Settings, predictor: object, **options: object) -> RunSummary:
    database = Database(url)
    try:
        return run_archive(root, database=database, load=lambda: predictor, settings=settings, **options)  # type: ignore[arg-type]
    finally:
        database.dispose()


def test_a_run_leaves_a_report_or_a_refusal_for_every_pair(
    radiograph_archive: Path, database_url: str, settings: Settings, predictors: ModuleType
) -> None:
    summary = run(radiograph_archive, database_url, settings, predictors.QuadrantPredictor())

    database = Database(database_url)
    with database.read() as session:
        reports = list(repository.iterate_reports(session))
        pairs = {row.id for row in session.scalars(select(Pair))}
        refused = {row.item for row in session.scalars(select(Refusal).where(Refusal.work != ""))}
    assert summary.reported == len(reports) > 0
    assert {row.pair_id for row in reports} | refused == pairs
    assert not {row.pair_id for row in reports} & refused
    assert (
        summary.files_used + summary.sidecars + sum(1 for row in _refusals(database) if row.level == "file")
        == summary.files_seen
    )
    database.dispose()


def _refusals(database: Database) -> list[Refusal]:
    with database.read() as session:
        return list(repository.iterate_refusals(session))


def test_a_report_tells_how_it_came_about(
    scene_archive: Path, sqlite_url: str, settings: Settings, predictors: ModuleType
) -> None:
    run(scene_archive, sqlite_url, settings, predictors.QuadrantPredictor(), limit=1)

    database = Database(sqlite_url)
    with database.read() as session:
        row = repository.get_report(session, repository.list_reports(session).items[0].id)
    assert row.provenance["model"] == {
        "name": "quadrant means",
        "model_hash": "quadrants-1",
        "adapter_hash": "",
        "prompt_version": "none",
        "trained_on_real_images": False,
    }
    assert row.provenance["prior"]["steps"]
    assert row.provenance["code_version"]
    assert row.quality
    assert row.prior_jpeg[:2] == row.current_jpeg[:2] == b"\xff\xd8"
    assert repository.evidence_map(row).shape == (8, 8)
    assert str(scene_archive) not in json.dumps([row.provenance, row.quality, row.warnings])
    database.dispose()


def test_a_second_run_writes_nothing_and_asks_the_model_nothing(
    scene_archive: Path, database_url: str, settings: Settings, predictors: ModuleType, content_of: Content
) -> None:
    first = run(scene_archive, database_url, settings, predictors.QuadrantPredictor())
    before = content_of(database_url)

    second = run(scene_archive, database_url, settings, predictors.FaultyPredictor())

    assert (second.reported, second.kept, second.rows_added) == (0, first.reported, 0)
    assert content_of(database_url) == before


def test_a_limit_is_kept_and_the_rest_can_follow(
    scene_archive: Path, sqlite_url: str, settings: Settings, predictors: ModuleType
) -> None:
    first = run(scene_archive, sqlite_url, settings, predictors.QuadrantPredictor(), limit=3)
    rest = run(scene_archive, sqlite_url, settings, predictors.QuadrantPredictor())

    assert (first.pairs_asked, first.reported) == (3, 3)
    assert rest.reported == rest.pairs - 3


def test_a_workflow_that_succeeded_without_its_report_is_done_again(
    scene_archive: Path, database_url: str, settings: Settings, predictors: ModuleType, content_of: Content
) -> None:
    run(scene_archive, database_url, settings, predictors.QuadrantPredictor())
    before = content_of(database_url)
    database = Database(database_url)
    with database.write() as session:
        lost = session.scalars(select(Report.id).order_by(Report.id).limit(2)).all()
        session.execute(delete(Finding).where(Finding.report_id.in_(lost)))
        session.execute(delete(Report).where(Report.id.in_(lost)))
    database.dispose()

    again = run(scene_archive, database_url, settings, predictors.QuadrantPredictor())

    assert again.reported == 2
    assert content_of(database_url) == before


def test_a_job_that_breaks_is_stored_counted_and_tried_again(
    scene_archive: Path,
    database_url: str,
    settings: Settings,
    predictors: ModuleType,
    content_of: Content,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR, logger="services"):
        broken = run(scene_archive, database_url, settings, predictors.FaultyPredictor(), limit=2)

    database = Database(database_url)
    failures = [row for row in _refusals(database) if row.code == store.FAILED]
    assert broken.failed == len(failures) == 2
    assert not broken.is_clean
    assert all("RuntimeError" in row.reason for row in failures)
    assert not any(predictors.FaultyPredictor.SECRET in row.reason or str(Path.cwd()) in row.reason for row in failures)
    assert {getattr(record, "action", None) for record in caplog.records} >= {"job_failed"}

    mended = run(scene_archive, database_url, settings, predictors.QuadrantPredictor(), limit=2)
    assert (mended.reported, mended.failed) == (2, 0)
    assert store.FAILED not in {row.code for row in _refusals(database)}

    # The end is the same as if nothing had ever broken.
    clean_url = f"sqlite:///{tmp_path / 'clean.sqlite'}"
    run(scene_archive, clean_url, settings, predictors.QuadrantPredictor(), limit=2)
    if database.is_sqlite:
        assert content_of(database_url) == content_of(clean_url)
    database.dispose()


def test_a_view_that_the_model_does_not_support_is_refused_and_stays_refused(
    radiograph_archive: Path, sqlite_url: str, settings: Settings, predictors: ModuleType
) -> None:
    only_pa = predictors.QuadrantPredictor(supported_views=("PA",))

    first = run(radiograph_archive, sqlite_url, settings, only_pa)
    second = run(radiograph_archive, sqlite_url, settings, only_pa)

    database = Database(sqlite_url)
    with database.read() as session:
        views = {row.pair.current.view for row in repository.iterate_reports(session)}
    assert views == {"PA"}
    assert first.refused["NOT_SUPPORTED_BY_MODEL"] > 0
    assert second.refused == first.refused
    assert second.kept == second.pairs_asked
    assert not first.failed
    database.dispose()


def test_an_image_that_vanished_since_the_index_becomes_a_refusal_or_a_failure(
    tmp_path: Path, sqlite_url: str, settings: Settings, predictors: ModuleType
) -> None:
    from training.phantoms.geotiff_archive import write_geotiff_archive

    root = tmp_path / "archive"
    write_geotiff_archive(root, places=2, seed=5)
    predictor = predictors.QuadrantPredictor()
    run(root, sqlite_url, settings, predictor, limit=1)
    database = Database(sqlite_url)
    with database.read() as session:
        pairs = list(session.scalars(select(Pair).order_by(Pair.sort_key)))
        victim = repository.get_pair(session, pairs[-1].id)
    (root / victim.current.name).unlink()

    with Jobs(database, predictor, settings) as jobs:
        jobs.enqueue([victim.id])
        jobs.wait([victim.id])

    [refusal] = [row for row in _refusals(database) if row.item == victim.id]
    assert refusal.work == identity_of(predictor).report_id(victim.id)
    assert str(root) not in refusal.reason
    database.dispose()


def test_a_pair_that_kills_its_process_is_given_up_and_the_batch_goes_on(
    scene_archive: Path,
    sqlite_url: str,
    settings: Settings,
    predictors: ModuleType,
    start_line: Callable[..., subprocess.Popen[str]],
) -> None:
    poison = survey_archive(scene_archive, workers=1)[1].pairs[1]
    deadly = f"deadly:{predictors.fingerprint(align_pair(poison))}"

    for _ in range(MAX_TAKEOVERS):
        process = start_line("run", str(scene_archive), sqlite_url, deadly)
        assert process.wait(timeout=60) == predictors.DeadlyPredictor.EXIT_CODE

    last = start_line("run", str(scene_archive), sqlite_url, deadly)
    assert last.wait(timeout=60) == 0

    summary = run(scene_archive, sqlite_url, settings, predictors.QuadrantPredictor())
    assert summary.refused["JOB_KILLED"] == 1
    assert (summary.reported, summary.kept, summary.failed) == (0, summary.pairs, 0)


def test_two_runs_at_once_share_the_work(
    scene_archive: Path,
    tmp_path: Path,
    sqlite_url: str,
    settings: Settings,
    predictors: ModuleType,
    content_of: Content,
    start_line: Callable[..., subprocess.Popen[str]],
) -> None:
    alone = f"sqlite:///{tmp_path / 'alone.sqlite'}"
    run(scene_archive, alone, settings, predictors.QuadrantPredictor())

    both = [start_line("run", str(scene_archive), sqlite_url, "0.2") for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0], outputs
    assert content_of(sqlite_url) == content_of(alone)


def test_a_job_that_breaks_after_its_report_is_no_failure(
    scene_archive: Path, database_url: str, settings: Settings, predictors: ModuleType, content_of: Content
) -> None:
    """As when the engine cannot write down that a job succeeded."""
    predictor = predictors.QuadrantPredictor()
    run(scene_archive, database_url, settings, predictor, limit=1)
    before = content_of(database_url)
    database = Database(database_url)
    with database.read() as session:
        pair_id = repository.list_reports(session).items[0].pair_id

    Workshop.of(database, predictor).record_failure(pair_id, "The job broke.")

    assert content_of(database_url) == before
    database.dispose()


def test_a_job_that_breaks_after_its_refusal_is_no_failure(
    radiograph_archive: Path, sqlite_url: str, settings: Settings, predictors: ModuleType, content_of: Content
) -> None:
    predictor = predictors.QuadrantPredictor(supported_views=())
    run(radiograph_archive, sqlite_url, settings, predictor, limit=1)
    before = content_of(sqlite_url)
    database = Database(sqlite_url)
    [refused] = [row for row in _refusals(database) if row.work]

    Workshop.of(database, predictor).record_failure(refused.item, "The job broke.")

    assert content_of(sqlite_url) == before
    database.dispose()


def test_only_one_set_of_jobs_is_open_in_a_process(
    sqlite_url: str, settings: Settings, predictors: ModuleType, database: Database
) -> None:
    with Jobs(database, predictors.QuadrantPredictor(), settings), pytest.raises(JobsUnusable, match="already"):  # noqa: SIM117
        with Jobs(database, predictors.QuadrantPredictor(), settings):
            pass
    assert not [thread for thread in threading.enumerate() if thread.name == "interval-heartbeat"]


def test_a_database_in_memory_takes_no_jobs() -> None:
    with pytest.raises(JobsUnusable, match="outlives"):
        system_database_url(Database("sqlite://"))


def test_the_job_engine_keeps_its_tables_beside_ours(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/interval.sqlite")

    assert system_database_url(database) == f"sqlite:///{tmp_path}/interval.jobs.sqlite"


def test_the_job_engine_stores_no_pickles(
    scene_archive: Path, sqlite_url: str, settings: Settings, predictors: ModuleType, tmp_path: Path
) -> None:
    run(scene_archive, sqlite_url, settings, predictors.QuadrantPredictor(), limit=1)

    connection = sqlite3.connect(tmp_path / "interval.jobs.sqlite")
    forms = connection.execute("SELECT DISTINCT serialization FROM workflow_status").fetchall()
    values = [
        json.loads(value)
        for table, column in (
            ("workflow_input", "inputs"),
            ("workflow_output", "output"),
            ("operation_outputs", "output"),
        )
        for (value,) in connection.execute(f"SELECT {column} FROM {table}")
    ]
    connection.close()
    assert forms == [("portable_json",)]
    assert "reported" in values
    assert len(values) == 3


def test_a_folder_that_is_not_there_is_a_usage_error(
    tmp_path: Path, sqlite_url: str, settings: Settings, predictors: ModuleType
) -> None:
    with pytest.raises(UsageError) as caught:
        run(tmp_path / "missing", sqlite_url, settings, predictors.QuadrantPredictor())

    assert str(tmp_path) not in str(caught.value)
