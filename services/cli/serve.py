"""`interval serve`: the REST service."""

from typing import Annotated

import typer

from services.cli.options import Db, make_settings


def serve(
    db: Db = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    allow_unauthenticated: Annotated[
        bool, typer.Option("--allow-unauthenticated", help="Listen where other machines reach it.")
    ] = False,
) -> None:
    """Serve findings over HTTP until interrupted."""
    from services.api.server import serve as serve_api

    serve_api(make_settings(db=db), host=host, port=port, allow_unauthenticated=allow_unauthenticated)
