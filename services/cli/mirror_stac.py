"""`interval mirror-stac`: scenes from a STAC API into a folder."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli import output
from services.cli.options import Json, make_settings


def mirror_stac(
    url: Annotated[str, typer.Argument(help="Address of the STAC API.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="Where the scenes go.", show_default=False, file_okay=False)],
    collection: Annotated[
        list[str] | None, typer.Option(help="Only items of this collection; may be given several times.")
    ] = None,
    bbox: Annotated[str, typer.Option(help="Only items that touch WEST,SOUTH,EAST,NORTH, in degrees.")] = "",
    datetime: Annotated[str, typer.Option(help="Only items of this time, or of FROM/TO.")] = "",
    cloud_cover: Annotated[float | None, typer.Option(min=0, max=100, help="Most cloud, in per cent.")] = None,
    asset: Annotated[
        list[str] | None,
        typer.Option(help="Fetch this file of each item, not the bands by common name; several times."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Fetch so many items at most.")] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Also read files on this host (name or name:port); several times.")
    ] = None,
    sign: Annotated[
        str, typer.Option(help="Address of a signing service that answers ?href=ADDRESS with a signed address.")
    ] = "",
    json: Json = False,
) -> None:
    """Fetch the scenes of a STAC API into a folder.

    May be killed and repeated at any time: what is there is kept, what is new is fetched. Nothing is read from a host
    that is neither the API's own nor allowed. A token for the API comes from INTERVAL_STAC_TOKEN.
    """
    from ingest.errors import IngestError
    from ingest.geotiff.mirror import Search, mirror_items
    from ingest.geotiff.stac_session import Session, signer
    from services.errors import UsageError

    settings = make_settings()
    try:
        box = tuple(float(part) for part in bbox.split(",")) if bbox else ()
    except ValueError:
        raise UsageError("The box is WEST,SOUTH,EAST,NORTH: four numbers.") from None
    if len(box) not in (0, 4):
        raise UsageError("The box is WEST,SOUTH,EAST,NORTH: four numbers.")
    search = Search(
        collections=tuple(collection or ()),
        bbox=box,
        datetime=datetime,
        cloud_cover=cloud_cover,
        assets=tuple(asset or ()),
        limit=limit,
    )
    try:
        session = Session(url, allow_host or (), token=settings.stac_token.get_secret_value())
        with output.ProgressBars() as progress:
            summary = mirror_items(
                url,
                folder,
                search=search,
                session=session,
                sign=signer(sign, session) if sign else None,
                progress=lambda done, total: progress("Items", done, total),
            )
    except IngestError as error:
        raise UsageError(str(error)) from error
    counts = {
        "items": summary.items,
        "complete": summary.complete,
        "items kept": summary.kept,
        "files fetched now": summary.fetched,
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
