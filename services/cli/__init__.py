"""The command line: parse, call one function, print, exit code. One file a command."""

import sys
from types import TracebackType

import typer

from services.cli.analyse import analyse
from services.cli.audit import audit
from services.cli.deidentify import deidentify
from services.cli.demo import demo
from services.cli.doctor import doctor
from services.cli.evaluation import evaluate, predict
from services.cli.findings import findings
from services.cli.index import index
from services.cli.mirror import mirror
from services.cli.mirror_stac import mirror_stac
from services.cli.output import USAGE
from services.cli.page import page
from services.cli.report import report
from services.cli.run import run
from services.cli.serve import serve
from services.cli.train import train
from services.cli.worker import worker

# Typer's own rendering of exceptions shows local variables, and with them whatever an archive holds.
app = typer.Typer(
    name="interval",
    help="Report interval change between prior and current images of one patient or one place.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    demo,
    mirror,
    mirror_stac,
    index,
    deidentify,
    run,
    report,
    findings,
    audit,
    predict,
    evaluate,
    page,
    serve,
    worker,
    doctor,
):
    app.command()(command)
app.add_typer(train, name="train")
app.add_typer(analyse, name="analyse")


def main() -> None:
    """The console script `interval`: exit code 0, 1 (something was refused or failed) or 2 (usage)."""
    from services.errors import UsageError

    try:
        app()
    except UsageError as error:
        typer.echo(str(error), err=True)
        sys.exit(USAGE)
    finally:
        # Typer puts a hook of its own in place while it runs.
        sys.excepthook = _explain


def _explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Says what ended the process without what a library's message may quote; the exit code is then 1."""
    from services.logs import OWN_PACKAGES, describe_exception, describe_traceback

    is_own = kind.__module__.split(".")[0] in OWN_PACKAGES
    typer.echo(describe_exception(error) if is_own else "\n".join(describe_traceback(error)), err=True)
