"""A change data set without dates and places goes through the whole line, and nothing is made up for it."""

from pathlib import Path
from types import ModuleType

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from services.api.app import create_app
from services.database import Database
from services.line import run_archive
from services.settings import Settings


def test_pictures_in_folders_a_and_b_are_reported_without_dates_and_areas(
    tmp_path: Path, sqlite_url: str, settings: Settings, predictors: ModuleType
) -> None:
    archive = tmp_path / "archive"
    rng = np.random.default_rng(0)
    for role in "AB":
        (archive / role).mkdir(parents=True)
        for name in ("x", "y"):
            values = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(values).save(archive / role / f"{name}.png")
    database = Database(sqlite_url)
    options = settings.model_copy(update={"database_url": sqlite_url})

    first = run_archive(archive, database=database, load=predictors.QuadrantPredictor, settings=options)
    again = run_archive(archive, database=database, load=predictors.QuadrantPredictor, settings=options)
    with TestClient(create_app(options), base_url="http://localhost") as client:
        pairs = client.get("/pairs").json()["items"]
        reports = client.get("/reports").json()["items"]
        whole = client.get(f"/reports/{reports[0]['id']}").json()
        page = client.get("/").text
    database.dispose()

    assert (first.reported, first.failed, first.refused) == (2, 0, {"NO_PRIOR": 2})
    assert again.rows_added == 0
    assert [(one["prior"]["name"], one["current"]["name"]) for one in pairs] in (
        [("A/x.png", "B/x.png"), ("A/y.png", "B/y.png")],
        [("A/y.png", "B/y.png"), ("A/x.png", "B/x.png")],
    )
    assert {one["interval_days"] for one in (*pairs, *reports)} == {None}
    assert {one["prior"]["time"] for one in pairs} == {None}
    assert not [key for key in whole["quality"] if "_ha" in key or key.endswith("_m")]
    assert "unknown interval" in page
