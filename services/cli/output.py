"""How do results and progress reach the terminal? Results on standard output, progress on standard error."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from tqdm import tqdm

    from ingest.errors import Refusal as IndexedRefusal
    from services.tables import Refusal

#: Exit codes.
CLEAN, INCOMPLETE, USAGE = 0, 1, 2


def print_json(value: Any) -> None:
    """A value as indented JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Rows in columns, the first row underlined."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number == 0:
            typer.echo("  ".join("-" * width for width in widths))


def print_counts(counts: Mapping[str, int | float | str]) -> None:
    """Names and figures, one a line."""
    width = max(map(len, counts), default=0)
    for name, value in counts.items():
        typer.echo(f"{name.ljust(width)}  {value}")


def print_refusals(refusals: "Iterable[Refusal | IndexedRefusal]") -> None:
    """What was refused, one line each: code, level, item, reason."""
    for one in refusals:
        typer.echo(f"{one.code}  {one.level}  {one.item}  {one.reason}")


class ProgressBars:
    """One bar after the other, with rate and time left; stages are named when they begin."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._stage = ""

    def __enter__(self) -> "ProgressBars":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Moves the bar of a stage."""
        from tqdm import tqdm

        if self._bar is None or stage != self._stage:
            if self._bar is not None:
                self._bar.close()
            # A file does not forget what was overwritten, so it gets a line now and then only.
            interval = 0.2 if sys.stderr.isatty() else 5.0
            self._bar = tqdm(total=total, desc=stage, mininterval=interval, file=sys.stderr, dynamic_ncols=True)
            self._stage = stage
        self._bar.total = total
        self._bar.update(done - self._bar.n)
