"""Is the tree what the packaging and the import paths need?"""

import importlib
import subprocess
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ingest", "models", "reports", "services", "training")
TOP_LEVEL = {
    ".ci",
    ".dockerignore",
    ".gitignore",
    "LICENSE",
    "Makefile",
    "README.md",
    "docker-compose.yml",
    "docs",
    "pyproject.toml",
    "requirements.lock",
    "scripts",
    "tests",
    *PACKAGES,
}
#: Third-party top-level modules that our own files need by their bare name somewhere, installed here or not.
THIRD_PARTY = {"datasets", "deepspeed", "evaluate", "peft", "tokenizers", "transformers", "trl"}


@cache
def tracked() -> tuple[Path, ...]:
    """Files under version control and those about to be, relative to the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(Path(name) for name in sorted(filter(None, listing.split("\0"))) if (ROOT / name).is_file())


def shadowing(names: set[str]) -> set[str]:
    """Those of the names that a standard or installed module has at the top level."""
    taken = set(sys.stdlib_module_names) | set(packages_distributions()) | THIRD_PARTY
    return names & (taken - set(PACKAGES) - {"tests", "scripts"})


@pytest.mark.parametrize("name", PACKAGES)
def test_an_import_by_folder_name_gives_our_folder(name: str) -> None:
    package = importlib.import_module(name)

    assert package.__path__[0] == str(ROOT / name)


@pytest.mark.parametrize("name", PACKAGES)
def test_no_other_distribution_installs_our_package_names(name: str) -> None:
    assert set(packages_distributions()[name]) == {"interval-change"}


def test_no_module_of_ours_is_named_like_a_standard_or_installed_one() -> None:
    ours = {
        part.stem
        for path in tracked()
        if path.parts[0] in PACKAGES and path.suffix == ".py"
        for part in (path, *path.parents[:-2])
        if part.stem not in ("__init__", "__main__")
    }

    assert {"grid", "finding"} <= ours
    assert not shadowing(ours)


def test_a_shadowing_name_would_be_noticed() -> None:
    assert shadowing({"datasets", "types", "yaml", "numpy", "pair"}) == {"datasets", "types", "yaml", "numpy"}


def test_only_the_agreed_names_stand_at_the_top() -> None:
    assert {path.parts[0] for path in tracked()} <= TOP_LEVEL


def test_tests_are_no_packages() -> None:
    assert not [path for path in tracked() if path.parts[0] == "tests" and path.name == "__init__.py"]


@pytest.mark.parametrize("name", PACKAGES)
def test_each_package_says_that_it_is_typed(name: str) -> None:
    assert (ROOT / name / "py.typed").is_file()
