"""The doctor says what is wrong and what to do about it."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from services import doctor
from services.database import Database
from services.doctor import Check, examine
from services.schema import alembic_config, upgrade_database
from services.settings import Settings


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {one.name: one for one in checks}


def test_this_installation_is_sound(sqlite_url: str) -> None:
    checks = by_name(examine(Settings(database_url=sqlite_url, model=Path("nothing"))))

    assert [name for name, one in checks.items() if not one.ok and name != "model"] == []
    assert checks["torch"].found[0].isdigit()
    assert checks["package services"].found == "interval-change"


def test_a_database_is_named_with_its_version(database: Database) -> None:
    settings = Settings(database_url=database.url.render_as_string(hide_password=False), model=Path("nothing"))

    found = by_name(examine(settings))["database"]

    assert found.ok
    newest = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert f"revision {newest}" in found.found


def test_looking_makes_no_database(tmp_path: Path) -> None:
    examine(Settings(database_url=f"sqlite:///{tmp_path}/interval.sqlite", model=Path("nothing")))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["mysql://host/name", "postgresql://127.0.0.1:1/nothing"])
def test_a_database_out_of_reach_is_told(url: str) -> None:
    found = by_name(examine(Settings(database_url=url, model=Path("nothing"))))["database"]

    assert not found.ok


def test_a_database_that_is_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "interval.sqlite"
    path.write_bytes(b"this is no database, whatever its name says" * 100)

    found = by_name(examine(Settings(database_url=f"sqlite:///{path}", model=Path("nothing"))))["database"]

    assert not found.ok
    assert str(tmp_path) not in found.found


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> None:
    monkeypatch.setattr(doctor, "REQUIRED", ("a-library-that-nobody-has",))

    found = by_name(examine(Settings(database_url=sqlite_url, model=Path("nothing"))))

    assert not found["a-library-that-nobody-has"].ok


def test_a_strangers_package_of_our_name_is_told(tmp_path: Path, sqlite_url: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("")
    code = "from services.doctor import _packages; print(*[one.name for one in _packages() if not one.ok], sep=',')"

    process = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"],
        check=True,
        capture_output=True,
        text=True,
    )

    assert process.stdout.strip() == "package models"


def test_a_model_that_is_not_there_is_told(sqlite_url: str) -> None:
    found = by_name(examine(Settings(database_url=sqlite_url, model=Path("no-such-model"))))["model"]

    assert not found.ok
    assert "--model" in found.found


def test_an_upgraded_database_needs_no_second_upgrade(database: Database) -> None:
    upgrade_database(database)

    url = database.url.render_as_string(hide_password=False)
    assert by_name(examine(Settings(database_url=url, model=Path("nothing"))))["database"].ok
