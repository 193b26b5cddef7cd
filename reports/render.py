"""How does a page become one HTML file?"""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from reports.audit_table import figure, percent, span
from reports.bootstrap import FEW
from reports.change import PROGRESSION
from reports.finding import Finding
from reports.page import PageRefusal, PageReport
from reports.vocabulary import CHANGE_WORDS, Domain

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"

#: Refusals listed under each code; the rest is counted.
LISTED_REFUSALS = 100


@dataclass(frozen=True)
class RefusalGroup:
    """Refusals of one code: how many, and the first ones."""

    code: str
    count: int
    listed: tuple[PageRefusal, ...]


def render_page(page: PageReport) -> str:
    """The page as one HTML document that loads nothing: style, script and pictures are inside.

    Every text of `page` is escaped, and a content security policy forbids scripts and styles other than our own, so a
    hostile text in a file's metadata stays text. Nothing in it depends on the clock.
    """
    from markupsafe import Markup

    style = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    script = (TEMPLATES / "filter.js").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            domains=[domain for domain in Domain if any(pair.domain == domain for pair in page.pairs)],
            anchors={pair.id: f"pair-{number}" for number, pair in enumerate(page.pairs, start=1)},
            refusals=group_refusals(page.refusals),
            style=Markup(style),  # our own file
            script=Markup(script),  # our own file
            style_hash=_source_hash(style),
            script_hash=_source_hash(script),
        )
    )


def group_refusals(refusals: Iterable[PageRefusal]) -> tuple[RefusalGroup, ...]:
    """Refusals by code, the most frequent code first."""
    groups = [(code, tuple(items)) for code, items in groupby(sorted(refusals), key=lambda item: item.code)]
    ordered = sorted(groups, key=lambda group: (-len(group[1]), group[0]))
    return tuple(RefusalGroup(code, len(items), items[:LISTED_REFUSALS]) for code, items in ordered)


def interval_words(days: float | None) -> str:
    """An interval as a reader says it: hours below two days, days, and years beside them from one year on."""
    if days is None:
        return "unknown interval"
    if days < 2:
        return f"{24 * days:.0f} hours"
    if days < 365.25:
        return f"{days:.0f} days"
    return f"{days:,.0f} days ({days / 365.25:.1f} years)"


def change_word(item: Finding) -> str:
    """The change of a finding in one word of its domain, such as "new" or "appeared"."""
    return _bare(CHANGE_WORDS[item.domain][item.change])


def _bare(words: str) -> str:
    return words.removeprefix("is ").removeprefix("has ").removeprefix("was ")


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        figure=figure, percent=percent, span=span, interval_words=interval_words, change_word=change_word, bare=_bare
    )
    environment.globals.update(change_words=CHANGE_WORDS, progression=PROGRESSION, few=FEW)
    return environment


def _source_hash(text: str) -> str:
    """The hash by which a content security policy allows exactly this inline text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
