"""Fixtures that every folder of tests uses."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# A time says how busy the machine is, and what a process loads at its first example; no test asserts one.
settings.register_profile("interval", deadline=None)
settings.load_profile("interval")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real test files; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/data beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def require_program() -> Callable[[str], Path]:
    """Finds a program by name; a missing one skips the test, and fails it when CI=true."""

    def require(name: str) -> Path:
        # Debian keeps PostgreSQL's programs off the path; the newest version comes first.
        debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))[::-1]
        found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *map(str, debian)]))
        if found is None:
            reason = f"needs the program {name}; scripts/ensure-servers tells the package"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        return Path(found)

    return require
