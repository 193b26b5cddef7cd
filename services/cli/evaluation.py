"""`interval predict` and `interval evaluate`: what does a model answer on a labelled data set, and how good is that?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from services.cli import output
from services.cli.options import Json, Model, make_settings

if TYPE_CHECKING:
    from training.predict import Predictor
    from training.readers.sample import DataSet, Split

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="DATASET",
        help="Folder of Medical-Diff-VQA, MS-CXR-T, LEVIR-CC or LEVIR-MCI, or an archive with labels.csv.",
        show_default=False,
        exists=True,
        file_okay=False,
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(
        "--images", help="Folder of MIMIC-CXR-JPG, which the first two refer to.", exists=True, file_okay=False
    ),
]
Part = Annotated[
    str | None,
    typer.Option("--split", help="train, validation or test. [test; an archive as a whole]", show_default=False),
]


def predict(
    data_set: Folder,
    out: Annotated[Path, typer.Argument(help="File of answers, one JSON object a line.", show_default=False)],
    images: Images = None,
    split: Part = None,
    model: Model = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Pairs that are answered at once.")] = 16,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The first so many pairs only.")] = None,
    json: Json = False,
) -> None:
    """Answer the questions of a labelled data set, into a file.

    May be killed and repeated at any time: it goes on, and the file ends up the same.
    """
    from services.errors import UsageError
    from services.predictor import load_predictor
    from training.answering import answer_all
    from training.errors import TrainingError

    settings = make_settings(model=model)
    try:
        found, part = _read(data_set, images, split)
        predictor = cast("Predictor", load_predictor(settings.model, cache_bytes=0))
        with output.ProgressBars() as progress:
            written = answer_all(
                found.of(part)[:limit],
                out,
                predictor,
                batch_size=batch_size,
                progress=lambda done, total: progress("predict", done, total),
            )
    except TrainingError as error:
        raise UsageError(str(error)) from error
    counts = {"answers written now": written, "left out of the data set": sum(one.count for one in found.left_out)}
    if json:
        output.print_json({"counts": counts, "data_set": _account(found)})
    else:
        output.print_counts(counts)
        _print_account(found)


def evaluate(
    answers: Annotated[
        Path, typer.Argument(help="File of answers, as `interval predict` writes it.", exists=True, dir_okay=False)
    ],
    data_set: Folder,
    images: Images = None,
    split: Part = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="Answers of another run, to compare with.", exists=True)
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    json: Json = False,
) -> None:
    """Score answers on a labelled data set, as its papers do and corrected.

    Figures times 100, with 95 % intervals over patients or areas and what one constant answer scores.
    """
    from reports.errors import ReportsError
    from services.errors import UsageError
    from training.errors import TrainingError
    from training.scoring import score_answers

    try:
        found, part = _read(data_set, images, split)
        result = score_answers(found, part, answers, against=against, seed=seed)
    except (TrainingError, ReportsError) as error:
        raise UsageError(str(error)) from error
    if json:
        output.print_json({**result.to_dict(), "read": _account(found)})
    else:
        typer.echo(result.table())
        _print_account(found)


def _read(folder: Path, images: Path | None, split: str | None) -> "tuple[DataSet, Split]":
    """The data set and the split to use; an archive of our own is taken as a whole unless a split is named."""
    from services.errors import UsageError
    from training.readers.folder import read_folder
    from training.readers.sample import SPLIT_NAMES, Split

    if split is None:
        return read_folder(folder, images=images, split=Split.TEST), Split.TEST
    if split not in SPLIT_NAMES:
        raise UsageError(f"{split!r} is no split; known: train, validation, test.")
    return read_folder(folder, images=images), SPLIT_NAMES[split]


def _account(found: "DataSet") -> dict[str, object]:
    return {
        "name": found.name,
        "repaired": found.repaired,
        "left_out": [vars(one) for one in found.left_out],
        "notes": found.notes(),
    }


def _print_account(found: "DataSet") -> None:
    """What was put right or left out, on standard error: it is about the data, not about the run."""
    for one in found.left_out:
        lines = (
            f" (lines {', '.join(map(str, one.lines))}{', ...' * (one.count > len(one.lines))})" if one.lines else ""
        )
        typer.echo(f"left out: {one.count} {one.code}: {one.reason}{lines}", err=True)
    for what, counts in (("put right", found.repaired), ("noted", found.notes())):
        for code, count in counts.items():
            typer.echo(f"{what}: {count} {code}", err=True)
