"""Does the deployment that the repository describes hold together?"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
TRAINING = ROOT / "training" / "configs" / "docker-compose.yml"


def check_compose(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return YAML(typ="safe").load(COMPOSE.read_text())


@pytest.fixture(scope="module")
def dockerfile() -> list[str]:
    return (ROOT / "services" / "Dockerfile").read_text().splitlines()


@pytest.mark.parametrize("path", [COMPOSE, TRAINING], ids=["services", "training"])
def test_the_compose_file_follows_the_compose_specification(path: Path) -> None:
    checked = check_compose(path)

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_specification_refuses_a_misspelt_key(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(COMPOSE.read_text().replace("healthcheck:", "healthchek:", 1))

    assert check_compose(wrong).returncode == 1


def test_there_is_a_database_an_api_and_a_worker(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"database", "api", "worker"}


def test_no_secret_is_written_down(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        written = service.get("environment", {})
        assert not [name for name in written if "PASSWORD" in name or "URL" in name or "SECRET" in name]
        assert service["env_file"] == "interval.env"


@pytest.mark.parametrize("name", ["api", "worker"])
def test_our_containers_wait_for_a_healthy_database(compose: dict[str, Any], name: str) -> None:
    assert compose["services"][name]["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert "pg_isready" in compose["services"]["database"]["healthcheck"]["test"][1]


@pytest.mark.parametrize("name", ["api", "worker"])
def test_the_archive_is_mounted_read_only(compose: dict[str, Any], name: str) -> None:
    (archive,) = [m for m in compose["services"][name]["volumes"] if isinstance(m, dict) and m["target"] == "/archive"]

    assert archive["read_only"] is True


def test_training_reads_the_data_and_writes_to_the_runs_alone() -> None:
    service = YAML(typ="safe").load(TRAINING.read_text())["services"]["train"]

    assert {mount["target"]: mount.get("read_only", False) for mount in service["volumes"]} == {
        "/data": True,
        "/runs": False,
    }
    assert "env_file" not in service  # the passwords of the database are no concern of it
    assert (TRAINING.parent / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_what_must_survive_lies_in_named_volumes(compose: dict[str, Any]) -> None:
    assert set(compose["volumes"]) == {"database", "state"}
    assert "database:/var/lib/postgresql/data" in compose["services"]["database"]["volumes"]


def test_only_this_machine_reaches_the_published_ports(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_image_does_not_run_as_root(dockerfile: list[str]) -> None:
    users = [line.split()[1] for line in dockerfile if line.startswith("USER ")]

    assert users
    assert users[-1] not in ("root", "0")


def test_everything_that_the_image_copies_exists_and_is_sent_to_the_build(dockerfile: list[str]) -> None:
    copied = {
        source
        for line in dockerfile
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    }
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert copied == sent
    assert all((ROOT / name).exists() for name in copied)
