"""Is everything here that a run needs, and what is to be done about what is not?"""

import importlib.util
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import DBAPIError

from services.database import Database
from services.errors import ServicesError
from services.settings import Settings

#: Our distribution, and the packages that must come from it.
DISTRIBUTION = "interval-change"
PACKAGES = ("ingest", "models", "reports", "services", "training")

#: What a run imports, by distribution.
REQUIRED = (
    "alembic", "dbos", "monai", "numpy", "pydicom", "pyjpegls", "pylibjpeg-openjpeg", "pylibjpeg-rle", "python-gdcm",
    "rasterio", "sqlalchemy", "torch", "torchgeo", "transformers",
)  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        ok: True if a run can use it.
        found: What was found, and what to do if it will not do.
    """

    name: str
    ok: bool
    found: str


def examine(settings: Settings) -> list[Check]:
    """Every check, in the order in which to mend things; changes nothing."""
    return [*_installation(), *_packages(), _database(settings), _model(settings)]


def _installation() -> Iterator[Check]:
    yield Check("Python", sys.version_info >= (3, 11), platform.python_version())
    for name in REQUIRED:
        try:
            yield Check(name, True, version(name))
        except PackageNotFoundError:
            yield Check(name, False, "not installed; install the locked requirements again")


def _packages() -> Iterator[Check]:
    """Our folders have everyday names, and another distribution may bring a package of the same one."""
    home = Path(__file__).resolve().parent.parent
    owners = packages_distributions()
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        places = [Path(place).resolve() for place in (spec.submodule_search_locations or ())] if spec else []
        others = sorted(set(owners.get(name, [])) - {DISTRIBUTION})
        if others:
            yield Check(
                f"package {name}", False, f"{', '.join(others)} brings one too; uninstall it or use a fresh venv"
            )
        elif places != [home / name]:
            yield Check(f"package {name}", False, "found in another folder; leave that folder or unset PYTHONPATH")
        else:
            yield Check(f"package {name}", True, DISTRIBUTION)


def _database(settings: Settings) -> Check:
    try:
        database = Database(settings.database_url)
        kind = "SQLite" if database.is_sqlite else "PostgreSQL"
        if database.is_sqlite and not Path(database.url.database or "").exists():
            return Check("database", True, f"{kind}, not there yet; the first run makes it")
        with database.engine.connect() as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
        database.dispose()
    except ServicesError as error:
        return Check("database", False, str(error))
    except DBAPIError as error:
        return Check("database", False, f"cannot be opened ({type(error.orig).__name__}); check --db")
    return Check("database", True, f"{kind}, revision {revision or 'none; the next run upgrades it'}")


def _model(settings: Settings) -> Check:
    from services.predictor import load_predictor

    try:
        predictor = load_predictor(settings.model)
    except ServicesError as error:
        return Check("model", False, str(error))
    trained = "" if predictor.trained_on_real_images else "; trained on generated images only"
    return Check("model", True, f"{predictor.name} {predictor.model_hash[:12]}{trained}")
