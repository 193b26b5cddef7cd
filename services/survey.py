"""What is in an archive, and which pairs does it give? No database and no model is needed to know."""

from collections.abc import Callable
from pathlib import Path

from ingest.errors import Refusal
from ingest.index import ArchiveIndex, index_archive
from ingest.pair import Pairing, pair_acquisitions
from services.errors import UsageError

#: Told the stage, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]


def survey_archive(
    root: Path, *, domain: str | None = None, workers: int = 2, progress: Progress | None = None
) -> tuple[ArchiveIndex, Pairing]:
    """What is in an archive and which pairs it gives; writes nothing.

    Raises:
        UsageError: The path is no folder.
    """
    if not root.is_dir():
        raise UsageError("The archive is not a folder that can be read; check the path.")
    if not str(root.resolve()).isprintable():
        raise UsageError("The path of the archive holds bytes that are no text; mount it under another name.")

    index = index_archive(
        root.resolve(),
        domain=domain,
        workers=workers,
        progress=lambda done, total: tell(progress, "index", done, total),
    )
    return index, pair_acquisitions(index.acquisitions)


def all_refusals(index: ArchiveIndex, pairing: Pairing) -> list[Refusal]:
    """Every file, acquisition and pair that gives no report, sorted."""
    return sorted({*index.refusals, *pairing.unpaired, *pairing.unused})


def tell(progress: Progress | None, stage: str, done: int, total: int) -> None:
    """Tells whoever wants to know."""
    if progress is not None:
        progress(stage, done, total)
