"""Route that tells whether the service can answer, and with what."""

from functools import cache
from importlib.metadata import version

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from fastapi import APIRouter

from services import repository
from services.api import schemas
from services.api.errors import PROBLEM_RESPONSES
from services.api.parameters import Session
from services.errors import DatabaseUnusable
from services.schema import alembic_config

router = APIRouter(tags=["health"])


@router.get("/health", responses=PROBLEM_RESPONSES)
def get_health(session: Session) -> schemas.Health:
    """Database, migration and models; 503 while the database cannot be reached or has another version."""
    connection = session.connection()
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is None or revision != _expected_revision():
        raise DatabaseUnusable("The database is not at the version of this code; restart the service to migrate it.")
    return schemas.Health(
        status="ok",
        version=version("interval-change"),
        database=connection.dialect.name,
        migration=revision,
        models=[schemas.Model.model_validate(one) for one in repository.list_models(session)],
    )


@cache
def _expected_revision() -> str | None:
    return ScriptDirectory.from_config(alembic_config()).get_current_head()
