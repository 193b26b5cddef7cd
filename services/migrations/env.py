"""How does Alembic reach our database? It runs this file; `services.schema` is the way in from our code."""

from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection

from services.database import Database
from services.settings import get_settings
from services.tables import Base, Days, UtcDateTime


def render_item(kind: str, item: Any, _autogen_context: Any) -> str | Literal[False]:
    """Writes our own column types as the plain ones they store, so that old migrations never depend on our code."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, Days):
        return "sa.Double()"
    return False


def migrate_on(connection: Connection) -> None:
    """Runs the requested migrations on an open connection."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        render_item=render_item,
        compare_type=True,
        # The job engine keeps its tables in a schema of its own, which is not ours to compare.
        include_schemas=False,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    raise SystemExit("Migrations run on a database only; leave out --sql.")

given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    migrate_on(given)
else:
    database = Database(get_settings().database_url)
    with database.engine.connect() as opened:
        migrate_on(opened)
    database.dispose()
