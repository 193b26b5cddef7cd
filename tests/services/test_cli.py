"""The command line: quick, honest about refusals, the same for people and machines."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from services.cli import app
from services.database import Database
from services.errors import UsageError
from services.line import run_archive
from services.settings import Settings

Content = Callable[[str], dict[str, list[tuple[object, ...]]]]
INTERVAL = Path(sys.executable).parent / "interval"


@pytest.fixture(autouse=True)
def plain_logs() -> Any:
    """Commands configure logging for their process; here that process is pytest."""
    import logging

    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    logging.captureWarnings(False)


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, predictors: ModuleType) -> Callable[..., Result]:
    """Function that runs a command in this process, with the tests' predictor as the model."""
    monkeypatch.setattr("services.predictor.load_predictor", lambda folder=None: predictors.QuadrantPredictor())

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(one) for one in arguments])

    return run


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, scene_archive: Path, predictors: ModuleType) -> Path:
    """A SQLite file with the reports of the scene archive."""
    path = tmp_path_factory.mktemp("filled") / "interval.sqlite"
    database = Database(f"sqlite:///{path}")
    run_archive(
        scene_archive,
        database=database,
        load=predictors.QuadrantPredictor,
        settings=Settings(workers=1, queue_poll_seconds=0.05),
    )
    database.dispose()
    return path


def test_help_takes_less_than_half_a_second_of_processor_time() -> None:
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([INTERVAL, "--help"], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    assert min(times) < 0.5


def test_help_imports_no_heavy_library() -> None:
    code = "import sys, services.cli; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    )

    assert not loaded & {
        "torch",
        "transformers",
        "monai",
        "rasterio",
        "pydicom",
        "sqlalchemy",
        "dbos",
        "fastapi",
        "numpy",
    }


def test_an_index_needs_no_model_and_no_job_engine(scene_archive: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['interval', 'index', sys.argv[1], '--workers', '1']; from services.cli import app\n"
        "try: app()\nexcept SystemExit: print(*sys.modules)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, scene_archive], check=True, capture_output=True, text=True, cwd=tmp_path
    )

    loaded = set(process.stdout.splitlines()[-1].split())
    assert "rasterio" in loaded
    assert not loaded & {"torch", "transformers", "monai", "dbos"}


def test_every_command_explains_itself_and_prints_json_where_there_is_a_result(invoke: Callable[..., Result]) -> None:
    names = [
        "demo",
        "index",
        "run",
        "report",
        "findings",
        "audit",
        "predict",
        "evaluate",
        "page",
        "serve",
        "worker",
        "doctor",
    ]
    for name in names:
        result = invoke(name, "--help")
        assert result.exit_code == 0
        assert ("--json" in result.output) == (name not in {"page", "serve", "worker"})


def test_an_index_counts_every_file_and_leaves_the_archive_as_it_is(
    invoke: Callable[..., Result], radiograph_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(radiograph_archive.rglob("*"))

    result = invoke("index", radiograph_archive, "--workers", 1, "--json")

    found = json.loads(result.stdout)
    counts = found["counts"]
    assert result.exit_code == 1
    assert counts["files"] == sum(1 for one in before if one.is_file())
    assert counts["files used"] + counts["sidecars"] + counts["refused files"] == counts["files"]
    assert counts["pairs"] == len(found["pairs"]) > 0
    assert all(one["code"] and one["reason"] for one in found["refusals"])
    assert sorted(radiograph_archive.rglob("*")) == before
    assert [one.name for one in tmp_path.iterdir()] == ["interval.sqlite"]


def test_the_text_of_an_index_names_the_pairs_and_the_refusals_of_the_json(
    invoke: Callable[..., Result], scene_archive: Path, tmp_path: Path
) -> None:
    db = tmp_path / "interval.sqlite"
    found = json.loads(invoke("index", scene_archive, "--db", db, "--workers", 1, "--json").stdout)

    text = invoke("index", scene_archive, "--db", db, "--workers", 1).stdout

    for pair in found["pairs"]:
        assert pair["current"] in text
    for refusal in found["refusals"]:
        assert f"{refusal['code']}  {refusal['level']}  {refusal['item']}" in text


def test_an_index_explains_the_choice_of_priors_of_one_place_by_the_rules_asked_for(
    shared_data: Path, tmp_path: Path, invoke: Callable[..., Result]
) -> None:
    scenes, name = shared_data / "satellite/s2_barbellino", "S2A2A_20190723_022_Barbellino_RGB432B_10.tif"
    options = ("--db", str(tmp_path / "x.sqlite"), "--explain", name)

    default = invoke("index", scenes, *options)
    seasonal = invoke("index", scenes, *options, "--rules", "same-season")
    unknown = invoke("index", scenes, *options, "--rules", "no-such.toml")

    assert f"{name} (2019-07-23 00:00, Sentinel-2A, S2 L2A RGB432B, rgb 8-bit): paired. Most recent" in default.stdout
    assert "  S2A2A_20170703_022_Barbellino_RGB432B_10.tif (2017-07-03 00:00, " in default.stdout
    assert "was taken." in default.stdout
    assert "has other bands or another product." in default.stdout
    assert "By the pairing rules same-season" in seasonal.stdout
    assert isinstance(unknown.exception, UsageError)


def test_an_index_explains_the_choice_of_priors_of_one_subject(
    invoke: Callable[..., Result], radiograph_archive: Path, tmp_path: Path
) -> None:
    options = ("--db", tmp_path / "interval.sqlite", "--workers", 1)
    found = json.loads(invoke("index", radiograph_archive, *options, "--json").stdout)
    pair = found["pairs"][0]

    by_file = invoke("index", radiograph_archive, *options, "--explain", pair["prior"])
    by_key = invoke("index", radiograph_archive, *options, "--explain", pair["subject"])
    nobody = invoke("index", radiograph_archive, *options, "--explain", "no-such-file.dcm")

    assert by_file.exit_code == by_key.exit_code == 0
    assert by_file.stdout == by_key.stdout
    lines = by_file.stdout.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"{pair['current']} "))
    assert "paired" in lines[start]
    assert any(pair["prior"] in line and line.endswith("was taken.") for line in lines[start + 1 :])
    assert isinstance(nobody.exception, UsageError)
    assert [pair["id"] for pair in found["pairs"]] == sorted(
        (key for chain in found["chains"] for key in chain), key=[pair["id"] for pair in found["pairs"]].index
    )


def test_pairing_rules_are_taken_from_a_file_and_a_bad_one_is_told(
    invoke: Callable[..., Result], radiograph_archive: Path, tmp_path: Path
) -> None:
    options = (radiograph_archive, "--db", tmp_path / "interval.sqlite", "--workers", 1, "--json")
    default = json.loads(invoke("index", *options).stdout)
    rules = tmp_path / "ward.toml"
    built_in = Path(__file__).parents[2] / "ingest/dicom/rules_default.toml"
    rules.write_text(built_in.read_text().replace("relative_time_days = [0, 0]", "relative_time_days = [100000, 0]"))

    none = json.loads(invoke("index", *options, "--rules", rules).stdout)
    rules.write_text("[[group]]")
    bad = invoke("index", *options, "--rules", rules)

    assert default["counts"]["pairs"] > 0
    assert none["counts"]["pairs"] == 0
    assert any("than the rules allow" in one["reason"] for one in none["refusals"])
    assert isinstance(bad.exception, UsageError)
    assert "ward.toml" in str(bad.exception)


def test_a_run_lists_what_was_refused_and_says_so_by_its_exit_code(
    invoke: Callable[..., Result], scene_archive: Path, tmp_path: Path
) -> None:
    url = tmp_path / "interval.sqlite"

    first = invoke("run", scene_archive, "--db", url, "--workers", 1, "--json")
    second = invoke("run", scene_archive, "--db", url, "--workers", 1, "--json")

    made, kept = json.loads(first.stdout), json.loads(second.stdout)
    assert first.exit_code == second.exit_code == 1
    assert made["reported"] == kept["kept"] == made["pairs"]
    assert kept["rows_added"] == kept["reported"] == 0
    assert sum(made["refused"].values()) == len(made["refusals"]) > 0
    assert made["refusals"] == kept["refusals"]
    assert "report:" in first.stderr and "report:" not in second.stderr


def test_a_run_with_nothing_refused_ends_well(
    invoke: Callable[..., Result], scene_archive: Path, tmp_path: Path, filled: Path
) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()

    result = invoke("run", archive, "--db", tmp_path / "interval.sqlite", "--workers", 1)

    assert result.exit_code == 0
    assert "pairs" in result.stdout


def test_findings_are_the_same_on_the_command_line_in_the_service_and_on_the_page(
    invoke: Callable[..., Result], filled: Path, tmp_path: Path
) -> None:
    from fastapi.testclient import TestClient

    from services.api.app import create_app

    listed = json.loads(invoke("findings", "--db", filled, "--json").stdout)
    with TestClient(create_app(Settings(database_url=f"sqlite:///{filled}")), base_url="http://localhost") as client:
        served: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            answer = client.get("/findings", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
            served += answer["items"]
            cursor = answer["next_cursor"]
            if cursor is None:
                break
    page = tmp_path / "page.html"
    assert invoke("page", page, "--db", filled).exit_code == 0

    assert listed == served
    assert len(listed) > 0
    html = page.read_text(encoding="utf-8")
    for word in {one["change"] for one in listed} | {one["prior_name"] for one in listed}:
        assert word in html
    table = invoke("findings", "--db", filled).stdout.splitlines()
    assert len(table) == len(listed) + 2


@pytest.mark.parametrize(
    ("option", "value", "field"), [("--change", "stable", "change"), ("--place", "north-west", "place")]
)
def test_findings_can_be_filtered(
    invoke: Callable[..., Result], filled: Path, option: str, value: str, field: str
) -> None:
    whole = json.loads(invoke("findings", "--db", filled, "--json").stdout)

    found = json.loads(invoke("findings", "--db", filled, option, value, "--json").stdout)

    assert found == [one for one in whole if one[field] == value]
    assert 0 < len(found) < len(whole)


def test_an_audit_is_printed_drawn_and_stored_once(
    invoke: Callable[..., Result], filled: Path, scene_archive: Path, tmp_path: Path
) -> None:
    labels, page = scene_archive / "labels.csv", tmp_path / "audit.html"

    text = invoke("audit", "--labels", labels, "--db", filled)
    first = invoke("audit", "--labels", labels, "--db", filled, "--json", "--html", page)
    again = invoke("audit", "--labels", labels, "--db", filled, "--archive", scene_archive, "--json")

    [figures] = json.loads(first.stdout)
    assert text.exit_code == first.exit_code == 0
    assert figures["unreported"] == 0
    assert figures["domains"]["satellite"]["pairs"] == figures["reported"] if "pairs" in figures["domains"] else True
    assert "SATELLITE" in text.stdout
    assert page.read_text(encoding="utf-8").count("<html") == 1
    assert json.loads(again.stdout)[0]["audit_ids"] == figures["audit_ids"]


def test_labels_of_another_archive_find_no_report(
    invoke: Callable[..., Result], filled: Path, scene_archive: Path, tmp_path: Path
) -> None:
    result = invoke("audit", "--labels", scene_archive / "labels.csv", "--db", filled, "--archive", tmp_path, "--json")

    [figures] = json.loads(result.stdout)
    assert figures["reported"] == 0
    assert figures["unreported"] > 0


def test_one_pair_is_reported_from_its_two_files_and_in_the_right_order_only(
    invoke: Callable[..., Result], scene_archive: Path, filled: Path
) -> None:
    stored = json.loads(invoke("findings", "--db", filled, "--json").stdout)
    names = stored[0]["prior_name"], stored[0]["current_name"]
    prior, current = (scene_archive / name for name in names)

    right = invoke("report", prior, current, "--json")
    normalised = invoke("report", prior, current, "--normalise", "--json")
    wrong = invoke("report", current, prior)
    same = invoke("report", prior, prior, "--json")

    said, lit = json.loads(right.stdout), json.loads(normalised.stdout)
    assert right.exit_code == normalised.exit_code == 0
    assert [any("invariant pixels" in step for step in one["steps"]["prior"]) for one in (said, lit)] == [False, True]
    assert [(one["place"], one["change"]) for one in said["findings"]] == [
        (one["place"], one["change"]) for one in stored if (one["prior_name"], one["current_name"]) == names
    ]
    assert wrong.exit_code == 1
    assert wrong.stdout.startswith("WRONG_ORDER")
    assert same.exit_code == 1
    assert json.loads(same.stdout)["refusals"][0]["code"]


def test_a_file_that_is_no_image_is_refused_with_its_reason(
    invoke: Callable[..., Result], scene_archive: Path, filled: Path, tmp_path: Path
) -> None:
    stored = json.loads(invoke("findings", "--db", filled, "--json").stdout)
    junk = tmp_path / "junk.tif"
    junk.write_bytes(b"II*\0 no image at all")

    result = invoke("report", scene_archive / stored[0]["prior_name"], junk, "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["refusals"][0]["code"] not in {"", "NO_PRIOR"}


def test_a_demonstration_ends_with_figures_and_a_page_and_a_second_one_writes_nothing(
    invoke: Callable[..., Result], tmp_path: Path, content_of: Content
) -> None:
    folder = tmp_path / "demo"

    first = invoke("demo", folder, "--subjects", 3, "--workers", 1, "--json")
    page = (folder / "index.html").read_bytes()
    before = content_of(f"sqlite:///{folder / 'interval.sqlite'}")
    files = {path: path.stat().st_mtime_ns for root in folder.glob("*-seed*") for path in root.rglob("*")}
    second = invoke("demo", folder, "--subjects", 3, "--workers", 1)

    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    assert set(json.loads(first.stdout)["audit"]["domains"]) == {"radiology", "satellite"}
    assert "RADIOLOGY" in second.stdout and "SATELLITE" in second.stdout
    assert str(folder / "index.html") in second.stdout
    assert content_of(f"sqlite:///{folder / 'interval.sqlite'}") == before
    assert (folder / "index.html").read_bytes() == page
    assert {path: path.stat().st_mtime_ns for root in folder.glob("*-seed*") for path in root.rglob("*")} == files
    assert len(before["audit"]) == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["index", "missing-folder"], 2),
        (["run", "missing-folder"], 2),
        (["index", ".", "--domain", "botany"], 2),
        (["report", "missing", "missing"], 2),
        (["audit", "--labels", "missing.csv"], 2),
        (["serve", "--host", "0.0.0.0"], 2),
        (["no-such-command"], 2),
        (["findings", "--db", "mysql://somewhere/else"], 1),
        (["run", "empty", "--model", "not-needed-without-a-pair"], 0),
    ],
)
def test_wrong_usage_is_told_in_a_sentence_and_by_exit_code(arguments: list[str], code: int, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    process = subprocess.run(
        [INTERVAL, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "INTERVAL_WORKERS": "1"},
    )

    assert process.returncode == code, process.stderr
    assert "Traceback" not in process.stderr
    assert str(tmp_path) not in process.stderr + process.stdout


def test_a_model_that_is_not_there_is_told_without_a_traceback(scene_archive: Path, tmp_path: Path) -> None:
    process = subprocess.run(
        [INTERVAL, "run", scene_archive, "--model", "no-such-model", "--workers", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert process.returncode == 1
    assert "PredictorUnusable" in process.stderr
    assert "Traceback" not in process.stderr
    assert str(tmp_path) not in process.stderr


@pytest.mark.parametrize("folder", ["dicom", "satellite"])
def test_every_real_file_is_used_or_refused_with_a_reason(
    invoke: Callable[..., Result], shared_data: Path, tmp_path: Path, folder: str
) -> None:
    result = invoke("run", shared_data / folder, "--db", tmp_path / "interval.sqlite", "--workers", 1, "--json")

    found = json.loads(result.stdout)
    refused = [one for one in found["refusals"] if one["level"] == "file"]
    assert found["files_seen"] == sum(1 for one in (shared_data / folder).rglob("*") if one.is_file())
    assert found["files_used"] + found["sidecars"] + len(refused) == found["files_seen"]
    assert all(one["reason"].strip() for one in found["refusals"])
    assert found["failed"] == 0
    of_pairs = [one for one in found["refusals"] if one["code"] in ("NOT_SUPPORTED_BY_MODEL", "TOO_CLOUDY")]
    assert found["reported"] + len(of_pairs) == found["pairs"]
