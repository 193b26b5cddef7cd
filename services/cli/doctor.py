"""`interval doctor`: is everything here that a run needs?"""

import typer

from services.cli import output
from services.cli.options import Db, Json, Model, make_settings


def doctor(db: Db = None, model: Model = None, json: Json = False) -> None:
    """Check installation, database and model.

    Says what to do about what is missing.
    """
    from services.doctor import examine

    checks = examine(make_settings(db=db, model=model))
    if json:
        output.print_json([vars(one) for one in checks])
    else:
        output.print_table(
            [["", "what", "found"], *(["ok" if one.ok else "NO", one.name, one.found] for one in checks)]
        )
    raise typer.Exit(output.CLEAN if all(one.ok for one in checks) else output.INCOMPLETE)
