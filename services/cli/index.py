"""`interval index`: what is in an archive, which pairs it gives, what is refused?"""

from typing import Annotated

import typer

from services.cli import output
from services.cli.options import Archive, Db, Json, OneDomain, Rules, Workers, make_settings

Pixels = Annotated[bool, typer.Option("--pixels", help="Decode every image as well, as `interval run` does.")]
Explain = Annotated[
    str | None,
    typer.Option("--explain", help="Only tell why each prior of one subject was chosen: its key, or a file of it."),
]


def index(
    archive: Archive,
    db: Db = None,
    domain: OneDomain = None,
    pixels: Pixels = False,
    rules: Rules = None,
    explain: Explain = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """List acquisitions, pairs and refusals; report nothing.

    Reads the headers of new and changed files; what they hold is kept in the database. Each refusal comes with its
    reason and what to do about it.
    """
    from ingest.pair import chains
    from services.database import Database
    from services.survey import all_refusals, explain_pairs, survey_archive

    settings = make_settings(db=db, workers=workers, rules=rules)
    database = Database(settings.database_url)
    with output.ProgressBars() as progress:
        found, pairing = survey_archive(
            archive,
            database=database,
            domain=domain,
            workers=settings.workers,
            pixels=pixels,
            rules=settings.rules,
            progress=progress,
        )
    database.dispose()
    if explain is not None:
        lines = explain_pairs(found, explain, rules=settings.rules)
        output.print_json(lines) if json else typer.echo("\n".join(lines))
        raise typer.Exit(output.CLEAN)
    refusals = all_refusals(found, pairing)
    counts = {
        "files": found.files_seen,
        "files used": found.files_used,
        "acquisitions": len(found.acquisitions),
        "sidecars": len(found.sidecars),
        "refused files": len(found.refusals),
        "pairs": len(pairing.pairs),
        "refused pairs and acquisitions": len(refusals) - len(found.refusals),
    }
    if json:
        output.print_json(
            {
                "counts": counts,
                "pairs": [
                    {
                        "id": pair.id,
                        "domain": pair.domain,
                        "subject": pair.subject,
                        "prior": pair.prior.name,
                        "current": pair.current.name,
                        "interval_days": pair.interval_days,
                        "reason": pair.reason,
                        "warnings": pair.warnings,
                    }
                    for pair in pairing.pairs
                ],
                "chains": [[pair.id for pair in chain] for chain in chains(pairing.pairs)],
                "refusals": [vars(one) for one in refusals],
                "sidecars": [vars(one) for one in found.sidecars],
            }
        )
    else:
        output.print_counts(counts)
        if pairing.pairs:
            typer.echo()
            rows = [["prior", "current", "days", "why"]]
            for pair in pairing.pairs:
                days = "" if pair.interval_days is None else f"{pair.interval_days:.1f}"
                rows.append([pair.prior.name, pair.current.name, days, pair.reason])
            output.print_table(rows)
        if refusals:
            typer.echo()
            output.print_refusals(refusals)
    raise typer.Exit(output.INCOMPLETE if refusals else output.CLEAN)
