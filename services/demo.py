"""What does the demonstration do? The whole line on two generated archives whose changes are known."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.audits import AuditedModel, LabelSet, audit_reports
from services.database import Database
from services.errors import UsageError
from services.identity import ModelIdentity
from services.line import RunSummary, run_archive
from services.pages import build_page, write_page
from services.predictor import Predictor, identity_of
from services.settings import Settings
from services.survey import Progress, tell


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demonstration left.

    Attributes:
        summaries: One run an archive.
        audited: The audit of both domains.
        database: The SQLite file.
        page: The page to open.
    """

    summaries: tuple[RunSummary, ...]
    audited: AuditedModel
    database: Path
    page: Path


def run_demo(
    folder: Path,
    *,
    subjects: int,
    load: Callable[[], Predictor],
    settings: Settings,
    seed: int | None = None,
    progress: Progress | None = None,
) -> DemoResult:
    """Writes the archives if they are not there, runs and audits them, and writes the page.

    A second call finds everything done and writes nothing but the page, which comes out the same.

    Args:
        folder: Made if it does not exist.
        subjects: Patients of one archive and places of the other.
        load: Gives the model; called once.
        settings: Its database is the folder's.
        seed: Of the archives; None for the one that the embedded model was never trained on.
        progress: Told of each stage.

    Raises:
        UsageError: `folder` is a file.
    """
    from training.recipe import SAMPLE_SEED

    if folder.exists() and not folder.is_dir():
        raise UsageError("The place for the demonstration is a file; give a folder.")
    folder.mkdir(parents=True, exist_ok=True)
    archives = write_archives(folder, subjects=subjects, seed=SAMPLE_SEED if seed is None else seed, progress=progress)
    database = Database(settings.database_url)
    predictor = load()
    summaries = tuple(
        run_archive(root, database=database, load=lambda: predictor, settings=settings, progress=progress)
        for root in archives
    )
    page = folder / "index.html"
    audited = _audit_and_draw(database, identity_of(predictor), archives, summaries, page)
    database.dispose()
    return DemoResult(summaries=summaries, audited=audited, database=folder / "interval.sqlite", page=page)


def write_archives(folder: Path, *, subjects: int, seed: int, progress: Progress | None = None) -> tuple[Path, Path]:
    """The two sample archives, written if they are not there; their names carry size and seed."""
    from training.phantoms.dicom_archive import write_dicom_archive
    from training.phantoms.geotiff_archive import write_geotiff_archive

    writers: list[tuple[str, Callable[[Path], Path]]] = [
        ("radiology", lambda root: write_dicom_archive(root, subjects=subjects, seed=seed)),
        ("satellite", lambda root: write_geotiff_archive(root, places=subjects, seed=seed)),
    ]
    roots = []
    for number, (name, write) in enumerate(writers):
        tell(progress, "archives", number, len(writers))
        root = folder / f"{name}-{subjects}-seed{seed}"
        if not root.exists():
            # Written aside and renamed when whole, so that a kill leaves no half archive under the final name.
            unfinished = root.with_name(root.name + ".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            write(unfinished)
            unfinished.rename(root)
        roots.append(root)
    tell(progress, "archives", len(writers), len(writers))
    return roots[0], roots[1]


def _audit_and_draw(
    database: Database,
    identity: ModelIdentity,
    archives: tuple[Path, ...],
    summaries: tuple[RunSummary, ...],
    page: Path,
) -> AuditedModel:
    label_sets = [
        LabelSet.read(root / "labels.csv", summary.archive_id)
        for root, summary in zip(archives, summaries, strict=True)
    ]
    with database.read() as session:
        audited = audit_reports(session, label_sets, identity)
        write_page(
            build_page(session, identity, title="Interval demo", label_sets=label_sets, audit=audited.audit), page
        )
    with database.write() as session:
        audited.store(session)
    return audited
