"""Which options do several commands share?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reports.vocabulary import Domain

if TYPE_CHECKING:
    from services.settings import Settings

Archive = Annotated[Path, typer.Argument(help="Folder with DICOM files or GeoTIFF scenes.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Db = Annotated[
    str | None,
    typer.Option("--db", help="Database: a SQLite file or a URL. [INTERVAL_DATABASE_URL; interval.sqlite]"),
]
OneDomain = Annotated[Domain | None, typer.Option("--domain", help="Only this domain.", show_default=False)]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, max=256, help="Processes that index, and jobs at a time. [INTERVAL_WORKERS; 2]"),
]
Model = Annotated[
    Path | None,
    typer.Option("--model", help="Folder of a model. [INTERVAL_MODEL; the embedded one]", show_default=False),
]
Rules = Annotated[
    str | None,
    typer.Option(
        "--rules", help="Pairing rules: default, same-view, same-season or a TOML file. [INTERVAL_RULES; default]"
    ),
]


def make_settings(
    *, db: str | None = None, workers: int | None = None, model: Path | None = None, rules: str | None = None
) -> "Settings":
    """Settings from the environment, with the options that were given in their place; configures the log."""
    from services.logs import configure_logs
    from services.settings import Settings

    given: dict[str, Any] = {}
    if db is not None:
        given["database_url"] = db if "://" in db else f"sqlite:///{db}"
    if workers is not None:
        given["workers"] = workers
    if model is not None:
        given["model"] = model
    if rules is not None:
        given["rules"] = rules
    settings = Settings(**given)
    configure_logs(settings.log_level, settings.log_format)
    return settings
