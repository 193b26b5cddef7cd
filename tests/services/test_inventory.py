"""What a run writes follows the archive: gone, changed and mended files, and nothing twice."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sqlalchemy import select

from ingest.index import refresh
from services import inventory, repository
from services.catalogue import DatabaseCatalogue
from services.database import Database
from services.line import RunSummary, run_archive
from services.settings import Settings
from services.store import archive_key
from services.tables import Acquisition, Pair, Refusal, Report
from tests.ingest.radiograph_files import a_radiograph, write_radiograph

Content = Callable[[str], dict[str, list[tuple[object, ...]]]]
Run = Callable[[], RunSummary]


def a_study(root: Path, patient: str, year: int) -> Path:
    rng = np.random.default_rng([int(patient), year])
    made = a_radiograph(
        rng.integers(0, 4096, (96, 80), dtype=np.uint16),
        PatientID=patient,
        StudyDate=f"{year}0101",
        SOPInstanceUID=f"1.2.{patient}.{year}",
        PixelSpacing=[1.0, 1.0],
    )
    return write_radiograph(root / patient / f"{year}.dcm", made)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    for patient in ("1", "2", "3"):
        for year in (2018, 2019, 2020):
            a_study(root, patient, year)
    return root


@pytest.fixture
def run(archive: Path, database: Database, predictors: ModuleType, settings: Settings) -> Run:
    """Function that runs the archive, with as few files as there are."""
    options = settings.model_copy(update={"workers": 1})

    def go() -> RunSummary:
        return run_archive(archive, database=database, load=predictors.QuadrantPredictor, settings=options)

    return go


def names(database: Database) -> dict[str, set[str]]:
    """What is stored of acquisitions, pairs, reports and file refusals, by file names."""
    with database.read() as session:
        rows = {row.id: row.name for row in session.scalars(select(Acquisition))}
        pairs = {row.id: f"{rows[row.prior_id]} {rows[row.current_id]}" for row in session.scalars(select(Pair))}
        return {
            "acquisitions": set(rows.values()),
            "pairs": set(pairs.values()),
            "reports": {pairs[row.pair_id] for row in session.scalars(select(Report))},
            "refused": {row.item for row in session.scalars(select(Refusal)) if row.level == "file"},
        }


def test_gone_changed_and_mended_files_are_followed_and_reports_stay(
    run: Run, archive: Path, database: Database
) -> None:
    cut = archive / "3" / "2020.dcm"
    whole = cut.read_bytes()
    cut.write_bytes(whole[:-50])
    first = run()
    before = names(database)
    assert before["refused"] == {"3/2020.dcm"}
    assert "3/2018.dcm 3/2019.dcm" in before["reports"]
    assert first.files_used + 1 == first.files_seen == 9

    (archive / "1" / "2019.dcm").unlink()
    cut.write_bytes(whole)
    (archive / "2" / "2019.dcm").write_bytes(b"junk" * 99)
    second = run()

    after = names(database)
    assert after["refused"] == {"2/2019.dcm"}
    assert after["reports"] == before["reports"] | {
        "1/2018.dcm 1/2020.dcm",
        "2/2018.dcm 2/2020.dcm",
        "3/2019.dcm 3/2020.dcm",
    }
    # What was reported stays, also of files that are gone.
    assert "1/2018.dcm 1/2019.dcm" in after["pairs"]
    assert second.pairs == 4
    assert second.files_used + 1 == second.files_seen == 8


def test_pairs_without_a_report_go_with_their_files(
    run: Run, archive: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("services.line.Jobs", lambda *_: pytest.fail("stopped before the first report"))
        with pytest.raises(pytest.fail.Exception):
            run()
    assert len(names(database)["pairs"]) == 6

    for path in (archive / "1").iterdir():
        path.unlink()
    run()

    found = names(database)
    assert {one.split("/")[0] for one in found["acquisitions"]} == {"2", "3"}
    assert found["pairs"] == found["reports"]
    assert len(found["pairs"]) == 4


def test_a_run_does_not_wait_for_pairs_that_another_run_found_gone(
    run: Run, archive: Path, database: Database, predictors: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = predictors.QuadrantPredictor.report
    calls = 0

    def lose_two_patients(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            for patient in ("2", "3"):
                shutil.rmtree(archive / patient)
            other = Database(database.url.render_as_string(hide_password=False))
            catalogue = DatabaseCatalogue(other, archive_key(str(archive)))
            refresh(archive, catalogue, domain=None, workers=0, pixels=True)
            inventory.store_inventory(other, catalogue, archive, domain=None)
            other.dispose()
        return report(*arguments)

    monkeypatch.setattr(predictors.QuadrantPredictor, "report", lose_two_patients)

    summary = run()

    found = names(database)
    assert {one.split("/")[0] for one in found["pairs"]} == {"1"}
    assert found["pairs"] == found["reports"]
    assert (summary.pairs_asked, summary.reported, summary.failed) == (6, 2, 0)


@pytest.mark.parametrize("at", [0, 3, 5])
def test_a_run_that_was_interrupted_while_it_wrote_is_completed_by_the_next(
    run: Run,
    archive: Path,
    database: Database,
    content_of: Content,
    monkeypatch: pytest.MonkeyPatch,
    predictors: ModuleType,
    settings: Settings,
    tmp_path: Path,
    at: int,
) -> None:
    monkeypatch.setattr(inventory, "_TOGETHER", 2)
    (archive / "junk.dcm").write_bytes(b"junk" * 99)
    undisturbed = Database(f"sqlite:///{tmp_path / 'undisturbed.sqlite'}")
    run_archive(archive, database=undisturbed, load=predictors.QuadrantPredictor, settings=settings)
    undisturbed.dispose()
    writes = 0
    write = Database.write

    def interrupted(self: Database) -> object:
        nonlocal writes
        writes += 1
        if writes == 3 + at:
            raise KeyboardInterrupt
        return write(self)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run()

    run()

    url = database.url.render_as_string(hide_password=False)
    found, expected = (content_of(one) for one in (url, f"sqlite:///{tmp_path / 'undisturbed.sqlite'}"))
    assert {table: len(rows) for table, rows in found.items()} == {table: len(rows) for table, rows in expected.items()}
    for table in ("archive", "acquisition", "pair", "refusal", "file"):
        assert sorted(map(repr, found[table])) == sorted(map(repr, expected[table]))


def test_a_second_run_writes_nothing_new(run: Run, database: Database, content_of: Content, archive: Path) -> None:
    for path in archive.rglob("*.dcm"):
        os.utime(path, ns=(10**18, 10**18))
    url = database.url.render_as_string(hide_password=False)
    first = run()
    before = content_of(url)

    second = run()

    assert content_of(url) == before
    assert (second.reported, second.rows_added, second.kept) == (0, 0, first.reported)
    with database.read() as session:
        assert repository.count_rows(session)["report"] == 6
