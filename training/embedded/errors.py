"""Where do a model's errors come from: missed, invented, misplaced, mistaken, or the change misread?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

from reports.change import PROGRESSION, Change
from reports.finding import Finding

#: Finding and place.
_Key = tuple[str, str]


@dataclass(frozen=True)
class Errors:
    """What became of the findings of reference and report; every one of either side is counted once.

    Attributes:
        right: Finding, place and change agree.
        wrong_change: Finding and place agree, the change does not.
        wrong_place: The report has the finding at a place where the reference has none.
        wrong_finding: The report has another finding at this place, which the reference does not have there.
        missed: In the reference, and none of the above.
        invented: In the report, and none of the above.
    """

    right: int = 0
    wrong_change: int = 0
    wrong_place: int = 0
    wrong_finding: int = 0
    missed: int = 0
    invented: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    @property
    def reference(self) -> int:
        """Findings of the reference."""
        return self.right + self.wrong_change + self.wrong_place + self.wrong_finding + self.missed

    @property
    def report(self) -> int:
        """Findings of the report."""
        return self.right + self.wrong_change + self.wrong_place + self.wrong_finding + self.invented


def errors_of(predicted: Iterable[Finding], reference: Iterable[Finding]) -> dict[str, Errors]:
    """The errors of one pair by finding; a mistaken one counts under the reference's name.

    Findings that are absent or not assessable say nothing and are left out. Of several ways to match what is left, a
    misplaced finding comes before a mistaken one, and what stands first in the reference is matched first.
    """
    said, wanted = _changes(predicted), _changes(reference)
    table: dict[str, Errors] = {}

    def add(name: str, errors: Errors) -> None:
        table[name] = table.get(name, Errors()) + errors

    for key in wanted.keys() & said.keys():
        add(key[0], Errors(right=1) if wanted[key] is said[key] else Errors(wrong_change=1))
    left = [key for key in wanted if key not in said]
    loose = [key for key in said if key not in wanted]
    left = _match(left, loose, 0, lambda key: add(key[0], Errors(wrong_place=1)))
    left = _match(left, loose, 1, lambda key: add(key[0], Errors(wrong_finding=1)))
    for key in left:
        add(key[0], Errors(missed=1))
    for key in loose:
        add(key[0], Errors(invented=1))
    return table


def total(tables: Sequence[dict[str, Errors]]) -> dict[str, Errors]:
    """The errors of several pairs together, by finding."""
    names = {name for table in tables for name in table}
    return {name: sum((table.get(name, Errors()) for table in tables), Errors()) for name in sorted(names)}


def _changes(findings: Iterable[Finding]) -> dict[_Key, Change]:
    return {(one.finding, one.place): one.change for one in findings if one.change in PROGRESSION}


def _match(wanted: list[_Key], loose: list[_Key], part: int, found: Callable[[_Key], None]) -> list[_Key]:
    """Takes a key out of `loose` for each of `wanted` that agrees with it in one part; those that found none."""
    left = []
    for key in wanted:
        other = next((one for one in loose if one[part] == key[part]), None)
        if other is None:
            left.append(key)
        else:
            loose.remove(other)
            found(key)
    return left
