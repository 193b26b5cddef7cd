"""A large pair in two UTM zones goes through with little memory and leaves nothing behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ingest.large_pair import CURRENT, PRIOR, write_large_pair

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_pair_of_100_megapixels_in_two_zones_takes_less_than_2_gb_and_leaves_no_file(tmp_path: Path) -> None:
    archive, scratch = tmp_path / "archive", tmp_path / "scratch"
    archive.mkdir()
    scratch.mkdir()
    write_large_pair(archive)

    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch), "HOME": str(scratch)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.ingest.large_pair", archive],
        cwd=scratch,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    took = json.loads(done.stdout)
    print(took)
    assert took["peak"] < 2 * 10**9
    assert took["clear"] > 400
    assert min(took["shape"]) > 9_000
    assert sorted(path.name for path in archive.iterdir()) == sorted((PRIOR, CURRENT))
    assert not list(scratch.iterdir())
