import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ingest.fan_out import fan_out


def crashed(item: str) -> object:
    return f"crashed: {item}"


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    slow_first = ["__import__('time').sleep(0.5) or 0", *(str(number) for number in range(1, 80))]

    results = list(fan_out(eval, slow_first, workers=workers, on_crash=crashed))

    assert results == list(range(80))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("killer", ["__import__('os')._exit(3)", "__import__('os').abort()"])
def test_only_the_item_that_kills_its_process_is_reported_as_crashed(workers: int, killer: str) -> None:
    results = list(fan_out(eval, ["1", "2", killer, "4", "5"], workers=workers, on_crash=crashed))

    assert results == [1, 2, f"crashed: {killer}", 4, 5]


def test_items_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def source() -> object:
        for number in range(10_000):
            taken.append(number)
            yield str(number)

    results = fan_out(eval, source(), workers=2, on_crash=crashed)  # type: ignore[arg-type]

    assert next(results) == 0
    assert len(taken) < 100
    results.close()  # type: ignore[attr-defined]


def test_no_items_give_no_results() -> None:
    assert list(fan_out(eval, [], workers=2, on_crash=crashed)) == []


def test_processes_that_cannot_start_end_the_run_with_what_to_do(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from ingest.fan_out import fan_out\nprint(list(fan_out(eval, ['1'], workers=2, on_crash=str)))\n"
    )

    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)

    assert ended.returncode != 0
    assert "if __name__ == '__main__':" in ended.stderr.splitlines()[-1]


def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(
        textwrap.dedent("""
            from ingest.fan_out import fan_out

            if __name__ == "__main__":
                items = ["'ready'", *["__import__('time').sleep(0.1)"] * 10_000]
                for result in fan_out(eval, items, workers=2, on_crash=str):
                    print(result, flush=True)
        """)
    )
    started = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    started.kill()

    # The processes inherited this pipe, so its end is theirs.
    started.communicate(timeout=20)
