"""A planted name is found in nothing that a full run prints or writes; a path is in the database only."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pydicom
import pytest

from services.settings import Settings

HERE = Path(__file__).parent
#: Planted in every file. No word of them is part of anything else.
CANARIES = ("Zebulon", "Quockerwodger", "PID-7351-XYZZY", "ACC-8462-PLUGH")
#: Part of the archive's path, which only the database may hold.
SECRET_FOLDER = "folder-of-the-ward"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from training.phantoms.dicom_archive import write_dicom_archive

    root = tmp_path_factory.mktemp("planted") / SECRET_FOLDER / "archive"
    write_dicom_archive(root, subjects=3, seed=21, patient_name="Quockerwodger^Zebulon")
    planted = 0
    for path in sorted(root.rglob("*")):
        if not path.is_file():
            continue
        try:
            dataset = pydicom.dcmread(path)
        except (pydicom.errors.InvalidDicomError, EOFError, OSError):
            continue
        if "PatientID" in dataset:
            dataset.PatientID = f"PID-7351-XYZZY-{dataset.PatientID}"
        dataset.AccessionNumber = "ACC-8462-PLUGH"
        dataset.ReferringPhysicianName = "Quockerwodger^Zebulon"
        dataset.OperatorsName = "Quockerwodger^Zebulon"
        dataset.StudyDescription = "Chest of Zebulon Quockerwodger"
        dataset.PatientComments = "Zebulon"
        if hasattr(dataset, "PixelData") and not path.name.endswith("truncated.dcm"):
            dataset.save_as(path)
            planted += 1
    assert planted > 5
    return root


@pytest.fixture(scope="module")
def traces(planted: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, bytes]]:
    """Everything that was printed and written, by where: a full run, a failing one, and the service's answers."""
    folder = tmp_path_factory.mktemp("run")
    found: dict[str, bytes] = {}

    def run(*arguments: str, script: str = "cli_process.py") -> None:
        process = subprocess.run(
            [sys.executable, str(HERE / script), *arguments],
            cwd=folder,
            capture_output=True,
            env={**os.environ, "INTERVAL_LOG_LEVEL": "DEBUG", "INTERVAL_WORKERS": "1", "OMP_NUM_THREADS": "1"},
        )
        assert process.returncode in (0, 1), process.stderr.decode()
        name = " ".join(one for one in (script, *arguments) if "/" not in one)
        found[f"{name} stdout"], found[f"{name} stderr"] = process.stdout, process.stderr

    archive = str(planted)
    run("index", archive)
    run("index", archive, "--json")
    run("run", archive)
    run("run", archive, "--json")
    run("findings", "--json")
    run("audit", "--labels", f"{archive}/labels.csv", "--html", "audit.html")
    run("page", "page.html")
    files = sorted(path for path in planted.rglob("*") if path.is_file())
    run("report", str(files[0]), str(files[-1]), "--json")
    run("run", archive, f"sqlite:///{folder}/faulty.sqlite", "faulty", script="line_process.py")
    for path in folder.rglob("*"):
        if path.is_file():
            found[path.name] = path.read_bytes()
            found[f"name of {path.name}"] = path.name.encode()

    from fastapi.testclient import TestClient

    from services.api.app import create_app

    with TestClient(
        create_app(Settings(database_url=f"sqlite:///{folder / 'interval.sqlite'}")), base_url="http://localhost"
    ) as client:
        for address in ("/", "/pairs", "/reports", "/findings", "/refusals", "/audits", "/health", "/openapi.json"):
            found[f"GET {address}"] = client.get(address).content
        report = client.get("/reports").json()["items"][0]
        found["GET report"] = client.get(f"/reports/{report['id']}").content
        found["GET nothing"] = client.get("/reports/nothing").content
    yield found


def test_the_run_left_what_is_to_be_searched(traces: dict[str, bytes]) -> None:
    assert {"interval.sqlite", "interval.jobs.sqlite", "faulty.sqlite", "audit.html", "page.html"} <= set(traces)
    assert json.loads(traces["cli_process.py run --json stdout"])["refusals"]
    assert b"RuntimeError" in traces["faulty.sqlite"]
    assert json.loads(traces["GET /findings"])["items"]


@pytest.mark.parametrize("canary", CANARIES)
def test_a_planted_identity_is_nowhere_not_even_in_the_database(traces: dict[str, bytes], canary: str) -> None:
    where = [name for name, content in traces.items() if canary.lower().encode() in content.lower()]

    assert where == []


def test_the_path_of_the_archive_is_in_the_database_only(traces: dict[str, bytes]) -> None:
    where = {name for name, content in traces.items() if SECRET_FOLDER.encode() in content}

    assert where == {name for name in where if name.startswith(("interval.sqlite", "faulty.sqlite"))}
    assert "interval.sqlite" in where


def test_what_a_model_says_when_it_fails_is_not_repeated(traces: dict[str, bytes], predictors: ModuleType) -> None:
    secret = predictors.FaultyPredictor.SECRET.encode()

    assert [name for name, content in traces.items() if secret in content] == []
