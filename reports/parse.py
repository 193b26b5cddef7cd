"""Which findings does a report state, and which of its sentences say nothing we know?"""

import re
from dataclasses import dataclass

from reports.compose import CERTAINTY_WORDS
from reports.finding import Finding
from reports.vocabulary import CHANGE_WORDS, FINDINGS, NOTHING_FOUND, PLACES, Domain

_SENTENCE = re.compile(r"[^.!?;\n]+")
_CERTAINTIES = {word.strip(): certainty for certainty, word in CERTAINTY_WORDS.items()}
_CHANGES = {domain: {words: change for change, words in table.items()} for domain, table in CHANGE_WORDS.items()}


@dataclass(frozen=True, kw_only=True)
class ParsedReport:
    """What was read from a report text.

    Attributes:
        findings: In the order of the text, no (finding, place) twice.
        unparsed: Sentences that state no finding, or one already stated, as they stood in the text. A text without any
            sentence is itself unparsed, so an empty answer never reads as "nothing found".
    """

    findings: tuple[Finding, ...]
    unparsed: tuple[str, ...]


def parse(domain: Domain, text: str) -> ParsedReport:
    """Findings of a report text, tolerant of case, spaces and missing final stops.

    Of two sentences about one (finding, place) the first wins; the other is returned among the unparsed ones. So is "no
    finding in either image" beside a finding.
    """
    stated: dict[tuple[str, str], Finding] = {}
    unparsed: list[str] = []
    nothing: list[str] = []
    for match in _SENTENCE.finditer(text):
        raw = match.group().strip()
        if not raw:
            continue
        words = _normalised(raw)
        if words == _NOTHING[domain]:
            nothing.append(raw)
            continue
        finding = _read(domain, words)
        if finding is None or (finding.finding, finding.place) in stated:
            unparsed.append(raw)
        else:
            stated[finding.finding, finding.place] = finding
    if stated:
        unparsed += nothing
    else:
        unparsed += nothing[1:]
        if not nothing and not unparsed:
            unparsed.append(text.strip())
    return ParsedReport(findings=tuple(stated.values()), unparsed=tuple(unparsed))


def _normalised(words: str) -> str:
    # tokenizers may put blanks around a hyphen: "north - west"
    return re.sub(r"\s*-\s*", "-", " ".join(words.split())).casefold()


def _pattern(domain: Domain) -> re.Pattern[str]:
    def either(names: tuple[str, ...]) -> str:
        return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))

    certainties = either(tuple(filter(None, _CERTAINTIES)))
    return re.compile(
        rf"(?:({certainties}) )?({either(PLACES[domain])}) ({either(FINDINGS[domain])}) "
        rf"({either(tuple(_CHANGES[domain]))})"
    )


_PATTERNS = {domain: _pattern(domain) for domain in Domain}
_NOTHING = {domain: _normalised(words.rstrip(".")) for domain, words in NOTHING_FOUND.items()}


def _read(domain: Domain, words: str) -> Finding | None:
    match = _PATTERNS[domain].fullmatch(words)
    if match is None:
        return None
    certainty, place, finding, change = match.groups()
    return Finding(
        domain=domain,
        finding=finding,
        place=place,
        change=_CHANGES[domain][change],
        certainty=_CERTAINTIES[certainty or ""],
    )
