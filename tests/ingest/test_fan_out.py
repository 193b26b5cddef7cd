import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from ingest.fan_out import fan_out


def crashed(item: str) -> object:
    return f"crashed: {item}"


def late(item: str) -> object:
    return f"late: {item}"


def run(items: Iterable[str], *, workers: int, seconds: float = 60, chunk: int = 1) -> Iterator[object]:
    return fan_out(
        eval, items, workers=workers, seconds=lambda _: seconds, on_crash=crashed, on_timeout=late, chunk=chunk
    )


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    slow_first = ["__import__('time').sleep(0.5) or 0", *(str(number) for number in range(1, 80))]

    results = list(run(slow_first, workers=workers))

    assert results == list(range(80))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("killer", ["__import__('os')._exit(3)", "__import__('os').abort()"])
def test_only_the_item_that_kills_its_process_is_reported_as_crashed(workers: int, killer: str) -> None:
    results = list(run(["1", "2", killer, "4", "5"], workers=workers))

    assert results == [1, 2, f"crashed: {killer}", 4, 5]


#: The second holds the interpreter's lock all the time, as a decoder does.
@pytest.mark.parametrize(
    "endless", ["__import__('time').sleep(600)", "__import__('re').match('(a+)+$', 'a' * 60 + 'b')"]
)
@pytest.mark.parametrize("chunk", [1, 3])
def test_only_the_item_that_does_not_end_is_given_up(endless: str, chunk: int) -> None:
    results = list(run(["1", "2", endless, "4", "5"], workers=1, seconds=1.5, chunk=chunk))

    assert results == [1, 2, f"late: {endless}", 4, 5]


def test_items_that_together_take_longer_than_one_may_are_not_given_up() -> None:
    slow = ["__import__('time').sleep(1) or 7"] * 3

    assert list(run(slow, workers=1, seconds=2, chunk=3)) == [7, 7, 7]


def test_items_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def source() -> Iterator[str]:
        for number in range(10_000):
            taken.append(number)
            yield str(number)

    results = run(source(), workers=2)

    assert next(results) == 0
    assert len(taken) < 500
    results.close()  # type: ignore[attr-defined]


def test_no_items_give_no_results() -> None:
    assert list(run([], workers=2)) == []


SCRIPT = """
from ingest.fan_out import fan_out
print(list(fan_out(eval, ["1", "2"], workers=2, seconds=lambda _: 60, on_crash=str, on_timeout=str)))
"""


def ended(script: Path, content: str, **environment: str) -> subprocess.CompletedProcess[str]:
    script.write_text(content, encoding="utf-8")
    return subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, env=os.environ | environment
    )


def test_a_script_is_not_run_again_in_its_processes(tmp_path: Path) -> None:
    """Without `if __name__ == "__main__"`, as people write them."""
    run_once = ended(tmp_path / "unguarded.py", SCRIPT)

    assert (run_once.stdout, run_once.returncode) == ("[1, 2]\n", 0), run_once.stderr


def test_processes_that_cannot_start_end_the_run_with_what_to_do(tmp_path: Path) -> None:
    """No interpreter to start them with, and then each ended by the system as soon as it is there."""
    nothing = (
        "import multiprocessing.resource_tracker\nmultiprocessing.resource_tracker.ensure_running()\n"
        "multiprocessing.set_executable('/bin/false')\n"
    )
    (tmp_path / "sitecustomize.py").write_text("import os\nos.register_at_fork(after_in_child=lambda: os._exit(1))\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])

    for stopped in (ended(tmp_path / "one.py", nothing + SCRIPT), ended(tmp_path / "two.py", SCRIPT, PYTHONPATH=path)):
        assert stopped.returncode != 0
        assert "read with fewer workers" in stopped.stderr


def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(
        textwrap.dedent("""
            from ingest.fan_out import fan_out

            if __name__ == "__main__":
                items = ["'ready'", *["__import__('time').sleep(0.1)"] * 10_000]
                limits = {"seconds": lambda _: 60, "on_crash": str, "on_timeout": str}
                for result in fan_out(eval, items, workers=2, **limits):
                    print(result, flush=True)
        """)
    )
    started = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    started.kill()

    # The processes inherited this pipe, so its end is theirs.
    started.communicate(timeout=20)
