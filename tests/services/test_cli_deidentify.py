"""`interval deidentify` as a process: exit codes, where the key comes from, what it prints, a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ingest.deidentify.batch import deidentify_archive
from ingest.deidentify.options import Options
from ingest.deidentify.secret import Secret
from services.cli import main
from tests.ingest.radiograph_files import a_radiograph, write_radiograph

COMMAND = [sys.executable, "-P", "-c", "from services.cli import main; main()", "deidentify"]
KEY = "0123456789abcdef" * 4


def environment(key: str | None = KEY) -> dict[str, str]:
    made = {name: value for name, value in os.environ.items() if not name.startswith("INTERVAL_")}
    root = str(Path(__file__).resolve().parents[2])
    return made | {"PYTHONPATH": root} | ({"INTERVAL_DEIDENTIFY_KEY": key} if key else {})


def deidentify(*arguments: object, key: str | None = KEY) -> subprocess.CompletedProcess[str]:
    asked = [*COMMAND, *map(str, arguments)]
    return subprocess.run(asked, env=environment(key), capture_output=True, text=True, timeout=120)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two studies of one patient, an ultrasound image, a broken file and a table."""
    root = tmp_path / "archive"
    for number, day in enumerate(("20200101", "20200301")):
        write_radiograph(root / f"{number}.dcm", a_radiograph(StudyDate=day, AccessionNumber="ACC9981"))
    write_radiograph(root / "us.dcm", a_radiograph(Modality="US"))
    (root / "broken.dcm").write_bytes((root / "0.dcm").read_bytes()[:700])
    (root / "patients.csv").write_text("Canary;00417\n")
    return root


def test_it_copies_lists_and_says_nothing_of_the_patient(archive: Path, tmp_path: Path) -> None:
    told = deidentify(archive, tmp_path / "out", "--json", "--workers", 2)

    said = json.loads(told.stdout)
    assert told.returncode == 1
    assert said["counts"] == {
        "files": 5,
        "written": 2,
        "there before": 0,
        "with masked text": 0,
        "not copied": 1,
        "refused": 2,
    }
    assert {one["item"]: one["code"] for one in said["refusals"]} == {"broken.dcm": "TRUNCATED", "us.dcm": "PIXEL_TEXT"}
    everything = told.stdout + told.stderr + (tmp_path / "out" / "manifest.json").read_text()
    for word in ("Canary", "Yellow", "00417", "19610203", "ACC9981", KEY, str(tmp_path)):
        assert word not in everything


def test_all_is_well_with_the_step_for_pixels_and_a_key_file(archive: Path, tmp_path: Path) -> None:
    (archive / "broken.dcm").unlink()
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o600)

    told = deidentify(archive, tmp_path / "out", "--key-file", key, "--pixels", "risky", "--workers", 1, key=None)

    assert (told.returncode, told.stderr.count("Traceback")) == (0, 0)
    assert "written           3" in told.stdout
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 3


@pytest.mark.parametrize(
    ("case", "next_step"),
    [("no key", "openssl rand"), ("open key", "chmod 600"), ("inside", "elsewhere"), ("nowhere", "no such folder")],
)
def test_wrong_use_ends_with_2_and_the_next_step(
    archive: Path,
    tmp_path: Path,
    case: str,
    next_step: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o644 if case == "open key" else 0o600)
    root = tmp_path / "nowhere" if case == "nowhere" else archive
    out = archive / "out" if case == "inside" else tmp_path / "out"
    monkeypatch.delenv("INTERVAL_DEIDENTIFY_KEY", raising=False)
    monkeypatch.setattr("sys.excepthook", sys.excepthook)
    monkeypatch.setattr("services.logs.configure_logs", lambda *_: None)
    given = [] if case == "no key" else ["--key-file", str(key)]
    monkeypatch.setattr("sys.argv", ["interval", "deidentify", str(root), str(out), *given])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert next_step in capsys.readouterr().err
    assert not out.exists()
    assert len(list(archive.iterdir())) == 5


def test_a_killed_run_leaves_whole_files_and_the_next_finishes(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    for number in range(120):
        write_radiograph(root / f"{number:03d}.dcm", a_radiograph(InstanceNumber=number))
    process = subprocess.Popen(
        [*COMMAND, str(root), str(tmp_path / "out"), "--workers", "1"],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while len(list((tmp_path / "out").rglob("*.dcm"))) < 5 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm")}

    secret = Secret(KEY.encode())
    done = deidentify_archive(root, tmp_path / "out", secret=secret, options=Options(), workers=1)
    deidentify_archive(root, tmp_path / "clean", secret=secret, options=Options(), workers=1)

    clean = {path.name: path.read_bytes() for path in (tmp_path / "clean").rglob("*") if path.is_file()}
    assert 5 <= len(killed) < 120
    assert (done.written, done.kept) == (120 - len(killed), len(killed))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == clean
    assert killed.items() <= clean.items()
