"""Do the scripts that prepare a machine say and do what they should on machines unlike this one?"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHELL = shutil.which("sh") or "/bin/sh"
TOOLS = ("dirname", "grep", "ls", "mktemp", "rm", "tail")

Machine = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Function that runs a script where only the basic tools and the given programs are on the path."""

    def run(script: str, *arguments: str, programs: dict[str, str]) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "bin"
        path.mkdir()
        for name in TOOLS:
            (path / name).symlink_to(str(shutil.which(name)))
        for name, body in programs.items():
            (path / name).write_text(f"#!{SHELL}\n{body}\n")
            (path / name).chmod(0o755)
        command = [SHELL, str(ROOT / "scripts" / script), *arguments]
        environment = {"PATH": str(path), "TMPDIR": str(tmp_path), "LOG": str(tmp_path / "log")}
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return run


def test_root_on_debian_gets_what_is_missing_and_no_more(machine: Machine, tmp_path: Path) -> None:
    programs = {"id": "echo 0", "apt-get": 'echo "$@" >> "$LOG"', "initdb": "", "chromium": ""}

    done = machine("ensure-servers", programs=programs)

    assert done.returncode == 0, done.stderr
    packages = "dicom3tools gdal-bin dcmtk dcm2niix default-jre-headless orthanc orthanc-dicomweb"
    assert f"Installed: {packages}" in done.stdout
    assert (tmp_path / "log").read_text().splitlines() == [
        "-qq update",
        f"-qq install -y --no-install-recommends {packages}",
    ]


def test_where_nothing_is_missing_nothing_is_said(machine: Machine) -> None:
    names = ("initdb", "dciodvfy", "chromium", "gdalinfo", "dcmj2pnm", "dcm2niix", "java", "Orthanc")
    programs = dict.fromkeys(names, "")

    done = machine("ensure-servers", programs=programs)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_anybody_else_is_told_what_to_install(machine: Machine, tmp_path: Path) -> None:
    programs = {"id": "echo 1000", "apt-get": 'echo "$@" >> "$LOG"', "initdb": "", "chromium": "", "gdalinfo": ""}

    done = machine("ensure-servers", programs=programs)

    assert done.returncode == 0
    assert "apt-get install dicom3tools" in done.stderr
    assert not (tmp_path / "log").exists()


def test_a_failed_installation_is_told_and_leaves_the_verdict_to_the_tests(machine: Machine) -> None:
    programs = {"id": "echo 0", "apt-get": "echo no network; exit 100", "initdb": "", "chromium": "", "gdalinfo": ""}

    done = machine("ensure-servers", programs=programs)

    assert done.returncode == 0
    assert "no network" in done.stderr
    assert "Could not install dicom3tools" in done.stderr


def test_a_machine_without_a_new_enough_python_is_told_so(machine: Machine, tmp_path: Path) -> None:
    done = machine("set-up", str(tmp_path / "venv"), programs={"python3": "exit 1"})

    assert done.returncode == 1
    assert "Python 3.11 or newer" in done.stderr


def test_a_missing_program_fails_under_ci_and_skips_elsewhere(
    require_program: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program"):
        require_program("no-such-program")

    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match="no-such-program"):
        require_program("no-such-program")


def test_a_program_on_the_path_is_found(require_program: Callable[[str], Path]) -> None:
    assert os.access(require_program("sh"), os.X_OK)
