"""What is one finding of a report?"""

from dataclasses import dataclass
from enum import StrEnum

from reports.change import Change
from reports.errors import UnknownTerm
from reports.vocabulary import FINDINGS, PLACES, Domain


class Certainty(StrEnum):
    """How sure a report is of a finding."""

    CERTAIN = "certain"
    PROBABLE = "probable"
    POSSIBLE = "possible"


@dataclass(frozen=True, kw_only=True, order=True)
class Finding:
    """One observation of a pair: what, where, how it changed, how sure.

    Raises:
        UnknownTerm: Finding or place is not in the vocabulary of the domain.
    """

    domain: Domain
    finding: str
    place: str
    change: Change
    certainty: Certainty = Certainty.CERTAIN

    def __post_init__(self) -> None:
        if self.finding not in FINDINGS[self.domain]:
            raise UnknownTerm(
                f"{self.finding!r} is no finding of {self.domain}; known: {', '.join(FINDINGS[self.domain])}."
            )
        if self.place not in PLACES[self.domain]:
            raise UnknownTerm(f"{self.place!r} is no place of {self.domain}; known: {', '.join(PLACES[self.domain])}.")
