import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.ingest.mutated_scenes import KINDS, write_originals

ROOT = Path(__file__).resolve().parents[2]
#: Seconds that one damaged file may take, on a machine that others use too.
LIMIT_S = 5.0


@pytest.fixture(scope="module")
def originals(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    write_originals(shared_data, folder)
    return folder


def index_damaged(originals: Path, work: Path, first: int, last: int) -> list[dict[str, Any]]:
    """What became of the damaged copies with these numbers, all indexed and verified by one process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.ingest.mutated_scenes", str(originals), str(first), str(last), str(work)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60 + LIMIT_S * (last - first),
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    at = lines[-1] if lines else "the start"
    assert done.returncode == 0, f"ended by {done.returncode} at {at}: {done.stderr[-2000:]}"
    return [line for line in lines if "outcomes" in line]


def check(results: list[dict[str, Any]], count: int) -> None:
    outcomes = Counter(code for result in results for code in result["outcomes"] or ["used"])
    slowest = max(results, key=lambda result: result["seconds"])
    print(dict(outcomes), f"slowest {slowest['seconds']:.2f} s, peak {results[-1]['peak_kb'] / 2**20:.2f} GiB")
    assert len(results) == count
    assert slowest["seconds"] < LIMIT_S, slowest
    assert not [result for result in results if result["lost"]]
    assert not [result for result in results if result["unforeseen"]]
    assert "OUTSIDE" not in outcomes
    # Some copies are damaged where it does not show, and some where it does: else the test would see one side only.
    for kind in KINDS:
        used = [bool(result["scenes"]) for result in results if result["kind"] == kind]
        assert any(used), kind
    assert outcomes["used"] < count


def test_damaged_scenes_are_used_or_refused_within_seconds_and_2_gb(originals: Path, tmp_path: Path) -> None:
    check(index_damaged(originals, tmp_path, 0, 90), 90)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_1200_damaged_scenes_are_used_or_refused_within_seconds_and_2_gb(originals: Path, tmp_path: Path) -> None:
    results: list[dict[str, Any]] = []
    for first in range(1000, 2200, 300):
        results += index_damaged(originals, tmp_path, first, first + 300)

    check(results, 1200)
