"""`interval run`: the batch over an archive."""

from typing import Annotated

import typer

from services.cli import output
from services.cli.options import Archive, Db, Json, Model, OneDomain, Rules, Workers, make_settings

Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Report on the first so many pairs only.")]


def run(
    archive: Archive,
    db: Db = None,
    model: Model = None,
    domain: OneDomain = None,
    rules: Rules = None,
    workers: Workers = None,
    limit: Limit = None,
    json: Json = False,
) -> None:
    """Report an archive: index, verify, pair, align, report, store.

    May be killed and repeated at any time: what is done stays done and is not done twice.
    """
    from services import repository
    from services.database import Database
    from services.line import run_archive
    from services.predictor import load_predictor

    settings = make_settings(db=db, workers=workers, model=model, rules=rules)
    database = Database(settings.database_url)
    with output.ProgressBars() as progress:
        summary = run_archive(
            archive,
            database=database,
            load=lambda: load_predictor(settings.model),
            settings=settings,
            domain=domain,
            limit=limit,
            progress=progress,
        )
    with database.read() as session:
        refusals = list(repository.iterate_refusals(session, archive_id=summary.archive_id))
    if json:
        listed = [{key: getattr(one, key) for key in ("item", "level", "code", "reason")} for one in refusals]
        output.print_json({**summary.as_json(), "refusals": listed})
    else:
        output.print_counts(
            {
                "files": summary.files_seen,
                "files used": summary.files_used,
                "acquisitions": summary.acquisitions,
                "sidecars": summary.sidecars,
                "pairs": summary.pairs,
                "reports made now": summary.reported,
                "pairs done before": summary.kept,
                "refused": sum(summary.refused.values()),
                "failed": summary.failed,
                "seconds": f"{summary.seconds:.1f}",
            }
        )
        if refusals:
            typer.echo()
            output.print_refusals(refusals)
    database.dispose()
    raise typer.Exit(output.CLEAN if summary.is_clean else output.INCOMPLETE)
