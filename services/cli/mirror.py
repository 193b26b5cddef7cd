"""`interval mirror`: an archive from a DICOMweb peer into a folder."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli import output
from services.cli.options import Json, make_settings


def mirror(
    url: Annotated[str, typer.Argument(help="Address of the DICOMweb service.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="Where the DICOM files go.", show_default=False, file_okay=False)],
    study_date: Annotated[str, typer.Option(help="Only studies of YYYYMMDD, or of YYYYMMDD-YYYYMMDD.")] = "",
    modality: Annotated[
        list[str] | None, typer.Option(help="Only series of this modality, such as CR; may be given several times.")
    ] = None,
    patient_ids: Annotated[
        Path | None,
        typer.Option(help="Only studies of the PatientIDs in this file, one a line.", exists=True, dir_okay=False),
    ] = None,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for a peer that stops answering.")] = 120.0,
    allow_http: Annotated[
        bool, typer.Option("--allow-http", help="Let patients' data travel from another machine without TLS.")
    ] = False,
    release_mismatched: Annotated[
        bool, typer.Option("--release-mismatched", help="Take in studies whose counts disagree, too.")
    ] = False,
    json: Json = False,
) -> None:
    """Fetch the studies of a DICOMweb service into a folder.

    May be killed and repeated at any time: what is there is kept, what is new is fetched. The login comes from
    INTERVAL_DICOMWEB_USER and INTERVAL_DICOMWEB_PASSWORD, or INTERVAL_DICOMWEB_TOKEN.
    """
    from contextlib import closing

    from ingest.dicom.dicomweb import Peer
    from ingest.dicom.mirror import Selection, mirror_peer
    from ingest.dicom.peer_errors import BadAddress, BadLogin, BadSelection, FolderOfOther
    from ingest.dicom.web_session import make_login
    from services.errors import UsageError

    settings = make_settings()
    try:
        login = make_login(
            user=settings.dicomweb_user,
            password=settings.dicomweb_password.get_secret_value(),
            token=settings.dicomweb_token.get_secret_value(),
        )
        selection = Selection(
            study_date=study_date,
            modalities=tuple(dict.fromkeys(modality or ())),
            patient_ids=_read_ids(patient_ids) if patient_ids is not None else None,
        )
        with (
            closing(Peer(url, login, allow_http=allow_http, patience=patience)) as peer,
            output.ProgressBars() as progress,
        ):
            summary = mirror_peer(
                peer,
                folder,
                selection=selection,
                releases_mismatched=release_mismatched,
                progress=lambda done, total: progress("Studies", done, total),
            )
    except (BadAddress, BadLogin, BadSelection, FolderOfOther) as error:
        raise UsageError(str(error)) from error
    counts = {
        "studies": summary.studies,
        "complete": summary.complete,
        "held back": summary.held_back,
        "instances fetched now": summary.fetched,
        "instances kept": summary.kept,
        "refused": len(summary.refusals),
    }
    if json:
        output.print_json({"counts": counts, "refusals": [vars(one) for one in summary.refusals]})
    else:
        output.print_counts(counts)
        if summary.refusals:
            typer.echo()
            output.print_refusals(summary.refusals)
    raise typer.Exit(output.INCOMPLETE if summary.refusals else output.CLEAN)


def _read_ids(path: Path) -> frozenset[str]:
    from services.errors import UsageError

    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        raise UsageError("The file of PatientIDs cannot be read as UTF-8 text.") from error
    return frozenset(filter(None, (line.strip() for line in lines)))
