"""`interval analyse`: what does a model with visual memory do, and is it the memory that does it?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import typer

from services.cli import output
from services.cli.options import Json, Model, make_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.batch import PairSample
    from training.predict import Predictor

Result = TypeVar("Result")

analyse = typer.Typer(help="Look into a model: attention, gates, retrieval.", no_args_is_help=True)

Prior = Annotated[Path, typer.Argument(help="The earlier image, or a folder with its slices.", exists=True)]
Current = Annotated[Path, typer.Argument(help="The later image, or a folder with its slices.", exists=True)]
Figure = Annotated[Path | None, typer.Option("--figure", help="Write a figure here, as SVG.", show_default=False)]


@analyse.command()
def attention(
    prior: Prior,
    current: Current,
    model: Model = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Tokens to write.")] = 256,
    figure: Figure = None,
    json: Json = False,
) -> None:
    """Attention to the images while decoding, by layer."""
    import torch

    from models.placement import max_decay, peak_attention
    from reports.analysis_figures import draw_attention
    from training.analysis import attention_profile

    predictor, sample = _given(prior, current, model)
    mass = attention_profile(predictor, sample, steps=steps)
    measured = torch.from_numpy(mass)
    count = min(3, int(measured.isfinite().any(-1).sum()))
    places = {"peak_attention": peak_attention(measured, count), "max_decay": max_decay(measured, count)}
    if figure is not None:
        draw_attention(mass, figure)
    if json:
        output.print_json({"mass": [[None if v != v else v for v in row] for row in mass.tolist()], **places})
        return
    quarter = max(1, steps // 4)
    rows = [["layer", "mass, first quarter", "last quarter", "text-to-visual, last quarter"]]
    for layer, row in enumerate(mass):
        early, late = float(row[:quarter].mean()), float(row[-quarter:].mean())
        rows.append([str(layer), f"{early:.4f}", f"{late:.4f}", f"{(1 - late) / late:.1f}" if late > 0 else "n/a"])
    output.print_table(rows)
    for name, layers in places.items():
        typer.echo(f"{name}: {', '.join(map(str, layers))}")


@analyse.command()
def lens(prior: Prior, current: Current, model: Model = None, figure: Figure = None, json: Json = False) -> None:
    """How early in the decoder the next token is settled."""
    from models.gates import gate_values
    from reports.analysis_figures import draw_lens
    from training.analysis import closed_gates, lens_profile

    predictor, sample = _given(prior, current, model)
    profiles = {"as it is": lens_profile(predictor, sample)}
    if gate_values(predictor.model):
        with closed_gates(predictor):
            profiles["gates closed"] = lens_profile(predictor, sample)
    if figure is not None:
        draw_lens(profiles, figure)
    if json:
        output.print_json({name: profile.tolist() for name, profile in profiles.items()})
        return
    rows = [["behind layer", *profiles]]
    for layer, values in enumerate(zip(*profiles.values(), strict=True)):
        rows.append([str(layer), *(f"{value:.3f}" for value in values)])
    output.print_table(rows)


@analyse.command()
def gates(
    metrics: Annotated[Path, typer.Argument(help="JSON lines that a training run wrote.", exists=True, dir_okay=False)],
    figure: Figure = None,
    json: Json = False,
) -> None:
    """Gates of the visual memory over a training run."""
    from reports.analysis_figures import draw_gates
    from services.errors import UsageError
    from training.metrics import MetricsUnusable, read_gates

    try:
        steps, values = read_gates(metrics)
    except MetricsUnusable as error:
        raise UsageError(str(error)) from error
    if figure is not None:
        draw_gates(steps, values, figure)
    if json:
        output.print_json({"steps": steps, "gates": values})
        return
    rows = [["layer", f"step {steps[0]}", f"step {steps[-1]}", "largest"]]
    rows += [[name, f"{one[0]:.4f}", f"{one[-1]:.4f}", f"{max(one, key=abs):.4f}"] for name, one in values.items()]
    output.print_table(rows)


@analyse.command()
def retrieval(prior: Prior, current: Current, model: Model = None, figure: Figure = None, json: Json = False) -> None:
    """Where in prior and current each sentence was read."""
    from reports.analysis_figures import draw_retrieval
    from training.analysis import sentence_maps

    predictor, sample = _given(prior, current, model)
    maps = _with_memory(lambda: sentence_maps(predictor, sample))
    if figure is not None:
        draw_retrieval([(one.sentence, one.prior, one.current) for one in maps], sample.prior, sample.current, figure)
    if json:
        output.print_json(
            [{"sentence": one.sentence, "prior": one.prior.tolist(), "current": one.current.tolist()} for one in maps]
        )
        return
    rows = [["sentence", "read from the prior", "from the current"]]
    rows += [[one.sentence, f"{one.prior.sum():.2f}", f"{one.current.sum():.2f}"] for one in maps]
    output.print_table(rows)


@analyse.command()
def controls(
    archive: Annotated[Path, typer.Argument(help="Archive with a labels.csv.", exists=True, file_okay=False)],
    model: Model = None,
    figure: Figure = None,
    json: Json = False,
) -> None:
    """Scores with the memory closed, shuffled, or wrong."""
    from reports.analysis_figures import draw_controls
    from reports.audit_table import figure as three_digits
    from reports.audit_table import span
    from services.errors import UsageError
    from training.analysis import memory_controls

    if not (archive / "labels.csv").is_file():
        raise UsageError("The archive has no labels.csv, so there is nothing to score against.")
    predictor = _load(model)
    audits = _with_memory(lambda: memory_controls(archive, predictor))
    scores = [(part.domain.value, name, part.headline) for name, one in audits.items() for part in one.domains]
    if figure is not None:
        heads = [(f"{domain}: {name}", one.all_pairs.micro.f1, one.all_interval) for domain, name, one in scores]
        draw_controls(heads, figure)
    if json:
        output.print_json({name: one.to_dict() for name, one in audits.items()})
        return
    rows = [["domain", "visual memory", "F1 of finding, place, change", "95 % interval"]]
    for domain, name, one in scores:
        rows.append([domain, name, three_digits(one.all_pairs.micro.f1), span(one.all_interval)])
    output.print_table(rows)


def _load(model: Path | None) -> "Predictor":
    from services.predictor import load_predictor

    return cast("Predictor", load_predictor(make_settings(model=model).model))


def _given(prior: Path, current: Path, model: Path | None) -> "tuple[Predictor, PairSample]":
    """The model, and the two images as it is shown them; ends the command when the two form no pair for it."""
    from ingest.align import align_pair
    from ingest.errors import IngestError, Refusal
    from reports.vocabulary import Domain
    from services.predictor import OneAtATime
    from services.single import pair_files

    pair = pair_files(prior, current)
    if isinstance(pair, Refusal):
        typer.echo(f"{pair.code}  {pair.reason}")
        raise typer.Exit(output.INCOMPLETE)
    predictor = _load(model)
    try:
        OneAtATime(predictor).check_supports(pair.current)
        return predictor, predictor.sample(align_pair(pair), Domain(pair.domain))
    except IngestError as error:
        typer.echo(f"{error.code}  {error}")
        raise typer.Exit(output.INCOMPLETE) from error


def _with_memory(work: "Callable[[], Result]") -> "Result":
    """What `work` gives; a model without visual memory is a usage error."""
    from models.errors import AttachmentError
    from services.errors import UsageError

    try:
        return work()
    except AttachmentError as error:
        raise UsageError(f"{error} Give a model that has one with --model.") from error
