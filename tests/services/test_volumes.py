"""An archive with CT: every file is accounted for, pairs are stored, and a model says what it was not made for."""

from pathlib import Path
from types import ModuleType
from zipfile import ZipFile

import numpy as np
import pytest
from sqlalchemy import select

from ingest.align import align_pair
from ingest.errors import Refusal
from ingest.index import index_archive
from ingest.pairing import Pair
from services import repository
from services.database import Database
from services.line import RunSummary, run_archive
from services.settings import Settings
from services.single import pair_files
from services.tables import Acquisition
from services.tables import Pair as StoredPair
from tests.ingest.volume_files import CORONAL, OTHER_FRAME, a_grid, a_slice, drawn, torso, volume_slices, write_slices


@pytest.fixture(scope="module")
def ct_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies of one chest, the later one with a scout; the older one in another frame of reference."""
    root = tmp_path_factory.mktemp("ct") / "archive"
    shift = np.eye(4)
    shift[:3, 3] = (6, 0, 0)
    for name, day, frame in (("old", "20190504", OTHER_FRAME), ("new", "20200101", "1.2.3")):
        grid = a_grid((6.0, 4.0, 4.0), (30, 50, 66), frame=frame)
        uid = f"1.2.826.0.1.3680043.8.498.{day}"
        series = volume_slices(
            drawn(grid, torso, moved=shift if name == "old" else None).values,
            grid,
            StudyInstanceUID=uid,
            SeriesInstanceUID=f"{uid}.1",
            AcquisitionDate=day,
            StudyDate=day,
        )
        names = [f"{number:08d}" for number in np.random.default_rng(7).permutation(len(series))]
        write_slices(root / name, series, names)
    scout = a_slice(
        1, (0, 0, 0), orientation=CORONAL, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], SeriesInstanceUID=f"{uid}.2"
    )
    write_slices(root / "new", [scout], ["scout"])
    return root


def run(root: Path, url: str, settings: Settings, predictor: object) -> RunSummary:
    database = Database(url)
    try:
        return run_archive(root, database=database, load=lambda: predictor, settings=settings)  # type: ignore[arg-type, return-value]
    finally:
        database.dispose()


def test_every_slice_is_used_by_its_volume(ct_archive: Path) -> None:
    index = index_archive(ct_archive, workers=0)
    assert sorted(len(one.files) for one in index.acquisitions) == [30, 30]
    assert [(one.item, one.code) for one in index.refusals] == [("new/scout", "LOCALIZER")]
    used = {name for one in index.acquisitions for name in one.names}
    assert len(used) + len(index.refusals) + len(index.sidecars) == index.files_seen == 61


def test_a_model_for_radiographs_refuses_volumes(
    ct_archive: Path, sqlite_url: str, settings: Settings, predictors: ModuleType
) -> None:
    summary = run(ct_archive, sqlite_url, settings, predictors.QuadrantPredictor())
    assert (summary.pairs, summary.reported, summary.failed) == (1, 0, 0)
    assert summary.refused == {"LOCALIZER": 1, "NO_PRIOR": 1, "NOT_SUPPORTED_BY_MODEL": 1}
    again = run(ct_archive, sqlite_url, settings, predictors.QuadrantPredictor())
    assert again.rows_added == 0
    database = Database(sqlite_url)
    with database.read() as session:
        (reason,) = [one.reason for one in repository.iterate_refusals(session) if one.level == "pair"]
        groups = set(session.scalars(select(Acquisition.group)))
        (warnings,) = session.scalars(select(StoredPair.warnings))
    database.dispose()
    assert "was not made for CT volumes" in reason
    assert groups == {"CT:CHEST"}
    assert not any("view" in one for one in warnings)


def test_a_model_for_ct_reports_on_volumes_that_were_registered(
    ct_archive: Path, sqlite_url: str, settings: Settings, predictors: ModuleType
) -> None:
    summary = run(ct_archive, sqlite_url, settings, predictors.QuadrantPredictor(supported_views=("CT",)))
    assert (summary.reported, summary.failed) == (1, 0)
    database = Database(sqlite_url)
    with database.read() as session:
        (report,) = repository.iterate_reports(session)
        quality, warnings, steps = report.quality, report.warnings, report.provenance["prior"]["steps"]
    database.dispose()
    assert quality["shift_mm"] == pytest.approx(6, abs=0.5)
    assert quality["slices"] == 9
    assert any("no common frame of reference" in one for one in warnings)
    assert any(one.startswith("registered: turned by") for one in steps)


def test_two_folders_are_a_pair_of_volumes(ct_archive: Path) -> None:
    pair = pair_files(ct_archive / "old", ct_archive / "new")
    wrong = pair_files(ct_archive / "new", ct_archive / "old")
    lone = pair_files(ct_archive / "old", ct_archive / "new" / "scout")

    assert isinstance(pair, Pair)
    assert len(align_pair(pair).slices) == 9
    assert isinstance(wrong, Refusal)
    assert wrong.code == "WRONG_ORDER"
    assert isinstance(lone, Refusal)
    assert (lone.item, lone.code) == ("current", "LOCALIZER")


def test_a_folder_may_hold_its_slices_in_a_zip_file(ct_archive: Path, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with ZipFile(tmp_path / "old" / "series.zip", "w") as bundle:
        for path in (ct_archive / "old").iterdir():
            bundle.write(path, path.name)
    pair = pair_files(tmp_path / "old", ct_archive / "new")
    assert isinstance(pair, Pair)
    assert len(align_pair(pair).slices) == 9
