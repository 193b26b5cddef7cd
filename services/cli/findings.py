"""`interval findings`: what is stored?"""

from typing import Annotated

import typer

from reports.change import Change
from services.cli import output
from services.cli.options import Db, Json, OneDomain, make_settings


def findings(
    db: Db = None,
    domain: OneDomain = None,
    finding: Annotated[str | None, typer.Option(help="Only this finding, such as 'pleural effusion'.")] = None,
    change: Annotated[Change | None, typer.Option(help="Only this change.", show_default=False)] = None,
    place: Annotated[str | None, typer.Option(help="Only this place, such as 'left' or 'north-west'.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only this subject, as the list shows it.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many only.")] = None,
    json: Json = False,
) -> None:
    """List stored findings, in the order of subjects and time."""
    from itertools import islice

    from services import repository
    from services.api import shapes
    from services.database import Database
    from services.schema import upgrade_database

    database = Database(make_settings(db=db).database_url)
    upgrade_database(database)
    with database.read() as session:
        rows = repository.iterate_findings(
            session, domain=domain, finding=finding, change=change, place=place, subject=subject
        )
        found = [shapes.finding(row) for row in islice(rows, limit)]
    if json:
        output.print_json([one.model_dump(mode="json") for one in found])
    else:
        table = [["finding", "place", "change", "certainty", "prior", "current", "subject"]]
        for one in found:
            table.append(
                [one.finding, one.place, one.change, one.certainty, one.prior_name, one.current_name, one.subject]
            )
        output.print_table(table)
    database.dispose()
