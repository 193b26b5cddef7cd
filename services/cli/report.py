"""`interval report`: one pair, to the screen."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from services.cli import output
from services.cli.options import Json, Model, make_settings


def report(
    prior: Annotated[Path, typer.Argument(help="The earlier image, or a folder with its slices.", exists=True)],
    current: Annotated[Path, typer.Argument(help="The later image, or a folder with its slices.", exists=True)],
    normalise: Annotated[
        bool, typer.Option("--normalise", help="Bring the prior of two scenes to the brightness of the current.")
    ] = False,
    model: Model = None,
    json: Json = False,
) -> None:
    """Report what changed between two images; nothing is stored."""
    from ingest.errors import IngestError, Refusal
    from services.predictor import OneAtATime, load_predictor
    from services.single import pair_files
    from services.work import predict_pair

    settings = make_settings(model=model)
    pair = pair_files(prior, current)
    if isinstance(pair, Refusal):
        _refuse(pair.code, pair.reason, json)
    try:
        aligned, prediction = predict_pair(OneAtATime(load_predictor(settings.model)), pair, normalise=normalise)
    except IngestError as error:
        _refuse(error.code, str(error), json)
    warnings = [*pair.warnings, *aligned.warnings]
    if json:
        output.print_json(
            {
                "text": prediction.text,
                "findings": [vars(one) for one in prediction.findings],
                "unparsed": list(prediction.unparsed),
                "interval_days": pair.interval_days,
                "quality": {key: float(value) for key, value in aligned.quality.items()},
                "warnings": warnings,
                "steps": {"prior": list(aligned.prior.steps), "current": list(aligned.current.steps)},
            }
        )
        return
    typer.echo(prediction.text)
    for warning in warnings:
        typer.echo(warning, err=True)


def _refuse(code: str, reason: str, json: bool) -> NoReturn:
    if json:
        output.print_json({"refusals": [{"code": code, "reason": reason}]})
    else:
        typer.echo(f"{code}  {reason}")
    raise typer.Exit(output.INCOMPLETE)
