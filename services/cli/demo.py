"""`interval demo`: the whole line on an archive with known changes."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli import output
from services.cli.options import Json, Model, Workers, make_settings


def demo(
    folder: Annotated[Path, typer.Argument(help="Where archives, database and page go.")] = Path("interval-demo"),
    subjects: Annotated[int, typer.Option(min=1, help="Patients, and as many places.")] = 40,
    model: Model = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Show the whole line on sample archives with known changes.

    Writes the archives, runs the line on them, audits it, and leaves a database and a page to open.
    """
    from services.demo import run_demo
    from services.predictor import load_predictor

    settings = make_settings(db=str(folder / "interval.sqlite"), workers=workers, model=model)
    with output.ProgressBars() as progress:
        result = run_demo(
            folder, subjects=subjects, load=lambda: load_predictor(settings.model), settings=settings, progress=progress
        )
    if json:
        output.print_json(
            {
                "runs": [one.as_json() for one in result.summaries],
                "audit": result.audited.audit.to_dict(),
                "page": str(result.page),
                "database": str(result.database),
            }
        )
        return
    typer.echo(result.audited.audit.table())
    typer.echo()
    output.print_counts(
        {
            "reports made now": sum(one.reported for one in result.summaries),
            "pairs done before": sum(one.kept for one in result.summaries),
            "refused": sum(sum(one.refused.values()) for one in result.summaries),
            "failed": sum(one.failed for one in result.summaries),
            "database": str(result.database),
            "page to open": str(result.page),
        }
    )
