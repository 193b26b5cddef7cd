"""`interval train`: how is a model fine-tuned on labelled pairs?"""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import output
from services.cli.options import Json

if TYPE_CHECKING:
    from tqdm import tqdm

train = typer.Typer(
    name="train",
    no_args_is_help=True,
    help="Fine-tune a model on labelled pairs.",
    rich_markup_mode=None,
)

Config = Annotated[
    Path, typer.Argument(help="Settings of the run, TOML.", show_default=False, exists=True, dir_okay=False)
]
Out = Annotated[Path, typer.Argument(help="Folder of the run.", show_default=False)]
Override = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="In the place of what stands in the file.")
]


@train.command()
def sft(config: Config, out: Out, override: Override = None, json: Json = False) -> None:
    """Learn the answers of labelled pairs (supervised fine-tuning).

    May be killed and repeated at any time: it goes on from its last checkpoint. The model ends up in OUT/model.
    """
    _run("sft", config, out, override or [], json)


@train.command()
def grpo(config: Config, out: Out, override: Override = None, json: Json = False) -> None:
    """Learn from sampled answers that the audit judges (GRPO).

    May be killed and repeated at any time: it goes on from its last checkpoint. The model ends up in OUT/model.
    """
    _run("grpo", config, out, override or [], json)


def _run(method: str, config: Path, out: Path, override: list[str], json: bool) -> None:
    from ingest.errors import IngestError
    from reports.errors import ReportsError
    from services.errors import UsageError
    from training.config import Method, read_config
    from training.errors import TrainingError
    from training.run import run

    metrics: dict[str, float] = {}
    bar: tqdm[Any] | None = None

    def show(step: int, steps: int, values: dict[str, float]) -> None:
        nonlocal bar
        from tqdm import tqdm

        metrics.update(values)
        if bar is None:
            bar = tqdm(total=steps, initial=step - 1, desc=method, dynamic_ncols=True)
        shown: dict[str, object] = {
            name: f"{values[name]:.4g}" for name in ("loss", "reward", "tokens_per_second") if name in values
        }
        bar.set_postfix(shown, refresh=False)
        bar.update()

    try:
        settings = read_config(config, override)
        is_first = run(replace(settings, method=Method(method)), out, progress=show)
    except (TrainingError, IngestError, ReportsError) as error:
        if os.environ.get("RANK", "0") != "0":
            raise SystemExit(output.USAGE) from error  # the first process tells
        raise UsageError(str(error)) from error
    finally:
        if bar is not None:
            bar.close()
    if is_first:
        if json:
            output.print_json({"model": out.name + "/model", "metrics": metrics})
        else:
            output.print_counts({name: round(value, 6) for name, value in metrics.items()})
