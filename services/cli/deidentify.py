"""`interval deidentify`: a copy of an archive that does not tell who the patients are."""

from pathlib import Path
from typing import Annotated

import typer

from ingest.deidentify.options import Options, PixelStep
from services.cli import output
from services.cli.options import Json, Workers, make_settings

KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        help="File with the key of the pseudonyms, readable by its owner only. [INTERVAL_DEIDENTIFY_KEY holds the key]",
        show_default=False,
    ),
]
Pixels = Annotated[
    PixelStep,
    typer.Option(
        "--pixels",
        help="Pictures that may show text, such as ultrasound: refuse them, mask text in these risky ones, or in all.",
    ),
]


def deidentify(
    archive: Annotated[
        Path, typer.Argument(help="Folder with DICOM files; nothing in it changes.", show_default=False)
    ],
    out: Annotated[Path, typer.Argument(help="Folder for the results, outside the archive.", show_default=False)],
    key_file: KeyFile = None,
    pixels: Pixels = PixelStep.REFUSE,
    retain_characteristics: Annotated[
        bool, typer.Option("--retain-characteristics", help="Keep sex, age, size, weight, smoking and pregnancy.")
    ] = False,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Copy an archive without identities; intervals stay exact.

    DICOM PS3.15 Basic Profile with modified dates: one shift of whole days for each patient, the same in every run with
    the same key. May be killed and repeated at any time.
    """
    from ingest.deidentify.batch import deidentify_archive
    from ingest.deidentify.errors import KeyUnusable, OutputUnusable
    from ingest.deidentify.secret import read_secret
    from ingest.index import ArchiveMissing
    from services.errors import UsageError

    settings = make_settings(workers=workers)
    try:
        with output.ProgressBars() as progress:
            done = deidentify_archive(
                archive,
                out,
                secret=read_secret(key_file),
                options=Options(pixels=pixels, characteristics=retain_characteristics),
                workers=settings.workers,
                progress=lambda number, total: progress("de-identify", number, total),
            )
    except (ArchiveMissing, KeyUnusable, OutputUnusable) as error:
        raise UsageError(str(error)) from error
    counts = {
        "files": done.files_seen,
        "written": done.written,
        "there before": done.kept,
        "with masked text": done.masked,
        "not copied": len(done.sidecars),
        "refused": len(done.refusals),
    }
    if json:
        output.print_json(
            {
                "counts": counts,
                "refusals": [vars(one) for one in done.refusals],
                "sidecars": [vars(one) for one in done.sidecars],
            }
        )
    else:
        output.print_counts(counts)
        if done.refusals:
            typer.echo()
            output.print_refusals(done.refusals)
    raise typer.Exit(output.INCOMPLETE if done.refusals else output.CLEAN)
