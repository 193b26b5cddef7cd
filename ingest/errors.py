"""Errors of the ingest folder, and the refusal that each of them becomes."""

from dataclasses import dataclass
from typing import ClassVar


class IngestError(Exception):
    """Something about the input makes it unusable."""

    #: Reason code under which the refusal is stored and counted.
    code: ClassVar[str] = "UNREADABLE"

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").strip()


@dataclass(frozen=True, kw_only=True, order=True)
class Refusal:
    """One file, acquisition or pair that gives no report, and why.

    Attributes:
        item: What is refused: a path relative to the archive, an acquisition id, a pair id, or a UID. Never a patient
            name.
        level: "file", "acquisition" or "pair"; of a mirror "instance", "study", "peer" or "folder".
        code: Reason code, upper case.
        reason: A sentence with the reason and the next step.
    """

    item: str
    level: str
    code: str
    reason: str


class BadRules(IngestError, ValueError):
    """The file with the pairing rules cannot be used; compare it with the rules that come with the package."""

    code: ClassVar[str] = "BAD_RULES"
