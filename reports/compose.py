"""How does a report read?"""

from collections.abc import Iterable
from itertools import pairwise

from reports.errors import DuplicateFinding, UnknownTerm
from reports.finding import Certainty, Finding
from reports.vocabulary import CHANGE_WORDS, FINDINGS, NOTHING_FOUND, PLACES, Domain

#: The word before the place; a certain finding has none.
CERTAINTY_WORDS = {Certainty.CERTAIN: "", Certainty.PROBABLE: "probable ", Certainty.POSSIBLE: "possible "}

_FINDING_RANK = {domain: {name: rank for rank, name in enumerate(names)} for domain, names in FINDINGS.items()}
_PLACE_RANK = {domain: {name: rank for rank, name in enumerate(names)} for domain, names in PLACES.items()}


def in_report_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings in the order of a report: by finding as the vocabulary lists them, then by place."""
    return tuple(
        sorted(
            findings, key=lambda item: (_FINDING_RANK[item.domain][item.finding], _PLACE_RANK[item.domain][item.place])
        )
    )


def sentence(finding: Finding) -> str:
    """One finding as a sentence, such as ``Possible left pneumothorax is new.``"""
    words = (
        f"{CERTAINTY_WORDS[finding.certainty]}{finding.place} {finding.finding} "
        f"{CHANGE_WORDS[finding.domain][finding.change]}."
    )
    return words[0].upper() + words[1:]


def compose(domain: Domain, findings: Iterable[Finding]) -> str:
    """The report on a pair: one sentence a finding, in the order of the vocabulary.

    `reports.parse.parse` gives the same findings back.

    Raises:
        DuplicateFinding: Two findings have the same name and place.
        UnknownTerm: A finding belongs to another domain.
    """
    ordered = in_report_order(findings)
    for item in ordered:
        if item.domain != domain:
            raise UnknownTerm(f"A {item.domain} finding ({item.finding}) cannot stand in a {domain} report.")
    for first, second in pairwise(ordered):
        if (first.finding, first.place) == (second.finding, second.place):
            raise DuplicateFinding(f"{first.place} {first.finding} occurs twice in one report; keep one of the two.")
    return " ".join(map(sentence, ordered)) or NOTHING_FOUND[domain]
