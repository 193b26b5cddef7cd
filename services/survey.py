"""What is in an archive, and which pairs does it give? What is known of its files is kept in the database, if any."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.errors import Refusal
from ingest.index import ArchiveIndex, index_archive
from ingest.pairing import Pairing
from ingest.unreadable import pair_readable
from services.errors import UsageError

if TYPE_CHECKING:
    from ingest.rules import Rules
    from services.database import Database

#: Told the stage, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]


def survey_archive(
    root: Path,
    *,
    database: "Database | None" = None,
    domain: str | None = None,
    workers: int = 2,
    pixels: bool = True,
    rules: str = "default",
    progress: Progress | None = None,
) -> tuple[ArchiveIndex, Pairing]:
    """What is in an archive and which pairs it gives.

    Args:
        root: Folder of the archive.
        database: Where it is kept what the files are, so that only new and changed ones are read the next time;
            upgraded first, if need be. None to read everything and keep nothing.
        domain: Look at files of this domain only.
        workers: Processes that read.
        pixels: Decode the images as well.
        rules: Pairing rules, built-in or a file.
        progress: Told of each stage.

    Raises:
        UsageError: The path is no folder, or the rules cannot be used.
        DatabaseUnusable: The database cannot be reached, or was written by newer code.
    """
    folder = archive_folder(root)
    chosen = usable_rules(rules)
    catalogue = None
    mine: AbstractContextManager[None] = nullcontext()
    if database is not None:
        from services.catalogue import DatabaseCatalogue
        from services.schema import upgrade_database
        from services.store import archive_key
        from services.turns import turn

        upgrade_database(database)
        catalogue = DatabaseCatalogue(database, archive_key(str(folder)))
        mine = turn(database, catalogue.archive_id)
    with mine:
        index = index_archive(
            folder, domain=domain, workers=workers, pixels=pixels, catalogue=catalogue, progress=progress
        )
    return index, pair_readable(index.acquisitions, index.unreadable, chosen)


def archive_folder(root: Path) -> Path:
    """The folder of an archive, resolved.

    Raises:
        UsageError: The path is no folder that can be read, or cannot be written down.
    """
    if not root.is_dir():
        raise UsageError("The archive is not a folder that can be read; check the path.")
    if not str(root.resolve()).isprintable():
        raise UsageError("The path of the archive holds bytes that are no text; mount it under another name.")
    return root.resolve()


def usable_rules(name_or_file: str) -> "Rules":
    """Pairing rules, built-in or of a file.

    Raises:
        UsageError: They cannot be used.
    """
    from ingest.errors import BadRules
    from ingest.rules import load_rules

    try:
        return load_rules(name_or_file)
    except BadRules as error:
        raise UsageError(str(error)) from error


def explain_pairs(index: ArchiveIndex, wanted: str, *, rules: str = "default") -> tuple[str, ...]:
    """What was chosen or left as prior, and why, for every acquisition of one subject.

    Args:
        index: The archive.
        wanted: Key of the subject, its beginning, or a file of it, relative to the archive.
        rules: Pairing rules, built-in or a file.

    Raises:
        UsageError: No subject, or more than one, is meant.
    """
    from ingest.explain import explain

    known = (*index.acquisitions, *index.unreadable)
    subjects = {one.subject for one in known if one.subject.startswith(wanted) or wanted in one.names}
    if len(subjects) != 1:
        found = "Several subjects begin" if subjects else "No subject begins"
        raise UsageError(f"{found} like this, and no usable file has this name; give a subject's key or a file of it.")
    return explain(index.acquisitions, subjects.pop(), usable_rules(rules), index.unreadable)


def all_refusals(index: ArchiveIndex, pairing: Pairing) -> list[Refusal]:
    """Every file, acquisition and pair that gives no report, sorted."""
    return sorted({*index.refusals, *pairing.unpaired, *pairing.unused})


def tell(progress: Progress | None, stage: str, done: int, total: int) -> None:
    """Tells whoever wants to know."""
    if progress is not None:
        progress(stage, done, total)
