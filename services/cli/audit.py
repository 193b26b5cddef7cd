"""`interval audit`: how do stored reports compare with labels?"""

from pathlib import Path
from typing import Annotated

import typer

from services.cli import output
from services.cli.options import Db, Json, OneDomain, make_settings


def audit(
    labels: Annotated[Path, typer.Option("--labels", help="CSV with the reference findings.", exists=True)],
    archive: Annotated[
        Path | None, typer.Option("--archive", help="Only reports on this archive, if others hold the same names.")
    ] = None,
    db: Db = None,
    domain: OneDomain = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with pairs and figures here.")] = None,
    json: Json = False,
) -> None:
    """Score stored reports against labels, finding by finding.

    Precision, recall and F1 of finding, place and change, with intervals; each row is explained in the README.
    """
    from services import repository
    from services.audits import LabelSet, audit_reports
    from services.database import Database
    from services.errors import UsageError
    from services.pages import build_page, write_page
    from services.schema import upgrade_database
    from services.store import archive_key

    database = Database(make_settings(db=db).database_url)
    upgrade_database(database)
    label_set = LabelSet.read(labels, archive_key(str(archive.resolve())) if archive is not None else None)
    with database.read() as session:
        models = repository.list_models(session, domain=domain)
        if not models:
            raise UsageError("There is no stored report to audit; run an archive first.")
        if html is not None and len(models) > 1:
            raise UsageError("Reports of several models are stored; a page shows one, so leave out --html.")
        audits = [audit_reports(session, [label_set], one, domain=domain) for one in models]
        if html is not None:
            page = build_page(session, models[0], label_sets=[label_set], audit=audits[0].audit, domain=domain)
            write_page(page, html)
    with database.write() as session:
        stored = [one.store(session) for one in audits]
    if json:
        output.print_json(
            [
                {
                    "audit_ids": keys,
                    "model": vars(one.identity),
                    "reported": one.reported,
                    "unreported": one.unreported,
                    **one.audit.to_dict(),
                }
                for one, keys in zip(audits, stored, strict=True)
            ]
        )
    else:
        for one in audits:
            typer.echo(f"{one.identity.name}: {one.reported} labelled pairs with a report, {one.unreported} without")
            typer.echo(one.audit.table())
    database.dispose()
