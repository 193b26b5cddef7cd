"""`interval page`: the stored reports as one file to open."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import Db, OneDomain, make_settings


def page(
    out: Annotated[Path, typer.Argument(help="HTML file to write.", show_default=False)],
    db: Db = None,
    domain: OneDomain = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many pairs.")] = 500,
) -> None:
    """Write stored reports with their images as one HTML file.

    The file is self-contained: it can be sent and opened without the service.
    """
    from services import repository
    from services.database import Database
    from services.errors import UsageError
    from services.pages import build_page, write_page
    from services.schema import upgrade_database

    database = Database(make_settings(db=db).database_url)
    upgrade_database(database)
    with database.read() as session:
        models = repository.list_models(session, domain=domain)
        if not models:
            raise UsageError("There is no stored report to show; run an archive first.")
        for number, identity in enumerate(models):
            target = out if len(models) == 1 else out.with_stem(f"{out.stem}-{number + 1}")
            write_page(build_page(session, identity, domain=domain, limit=limit), target)
            typer.echo(f"{target}  {identity.name}")
    database.dispose()
