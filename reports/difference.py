"""What does an answer of Medical-Diff-VQA say has changed, and what would it say with prior and current swapped?"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from reports.change import Change
from reports.vocabulary import FINDINGS, Domain

#: The answer when neither image has what the other lacks.
NOTHING_CHANGED: Final = "nothing has changed."

#: Findings that answers name and the finding-level protocol does not count.
#: Source: the generator's list of 30 names less the 27 of arXiv 2606.04433, table 18.
UNCOUNTED: Final = (
    "enlargement of the cardiac silhouette", "hypoxemia", "hypertensive heart disease", "thymoma",
)  # fmt: skip

#: Other words for a finding; versions of the data set differ in them.
ALIASES: Final[dict[str, str]] = {
    "pulmonary edema": "edema",
    "effusion": "pleural effusion",
    "effusions": "pleural effusion",
    "pleural effusions": "pleural effusion",
    "opacity": "lung opacity",
    "opacities": "lung opacity",
    "lung opacities": "lung opacity",
    "collapse": "atelectasis",
    "volume loss": "atelectasis",
    "atelectases": "atelectasis",
    "hiatal hernia": "hernia",
    "pulmonary vascular congestion": "vascular congestion",
    "congestive heart failure": "heart failure",
    "pulmonary contusion": "contusion",
    "granulomatous disease": "granuloma",
    "calcifications": "calcification",
    "fractures": "fracture",
    "thoracolumbar scoliosis": "scoliosis",
    "blunting of the costophrenic angles": "blunting of the costophrenic angle",
    "blunting of the left costophrenic angle": "blunting of the costophrenic angle",
    "blunting of the right costophrenic angle": "blunting of the costophrenic angle",
}

_END = r"(?: than the reference image|(?=\.|$))"
_ADDED = rf"(?:the main image has )?(?:an )?additional findings? of (?P<added>[^.]+?){_END}"
_MISSING = rf"(?:the main image is )?missing the findings? of (?P<missing>[^.]+?){_END}"
_LEVEL = r"the level of (?P<name>[^.]+?) has changed from (?P<old>[^.]+?) to (?P<new>[^.]+?)(?=\.|$)"
_NOTHING = r"(?P<nothing>nothing has changed)"
_CLAUSE = re.compile("|".join((_ADDED, _MISSING, _LEVEL, _NOTHING)))
_BETWEEN = re.compile(r",? and |, *")


@dataclass(frozen=True, kw_only=True)
class LevelChange:
    """One finding whose level differs, such as from "small" to "moderate"."""

    finding: str
    old: str
    new: str


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What an answer says, current against prior.

    Attributes:
        added: Names of findings that only the current has, in the order of the text, as the data set spells them.
        missing: Names of findings that only the prior has: not mentioned in the later report, which is not "resolved".
        levels: Findings in both whose level differs; the published protocol does not know these sentences.
        is_stated: The text states something: a change, or that nothing has changed.
        rest: What no pattern has read.
    """

    added: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    levels: tuple[LevelChange, ...] = ()
    is_stated: bool = True
    rest: str = ""

    @property
    def has_change(self) -> bool:
        """Whether any change is stated, of a counted finding or not."""
        return bool(self.added or self.missing or self.levels)

    @property
    def labels(self) -> frozenset[tuple[str, str]]:
        """(finding, change) of the 27 counted findings: added is new, missing is resolved; 54 labels exist.

        Source: arXiv 2606.04433, appendix F; change codes by the mapping of CheXTemporal's five classes.
        """
        counted = FINDINGS[Domain.RADIOLOGY]
        return frozenset(
            (name, change.value)
            for names, change in ((self.added, Change.NEW), (self.missing, Change.RESOLVED))
            for name in names
            if name in counted
        )

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names that are neither counted nor in `UNCOUNTED`."""
        known = {*FINDINGS[Domain.RADIOLOGY], *UNCOUNTED}
        return tuple(name for name in (*self.added, *self.missing) if name not in known)

    @property
    def can_be_mirrored(self) -> bool:
        """Whether all was read, and in one way: "from mild to moderate to severe" can be cut at either "to"."""
        return self.is_stated and not self.rest and not any(" to " in one.new for one in self.levels)

    def mirrored(self) -> "Difference":
        """What is said when prior and current change places."""
        return Difference(
            added=self.missing,
            missing=self.added,
            levels=tuple(LevelChange(finding=one.finding, old=one.new, new=one.old) for one in self.levels),
            is_stated=self.is_stated,
            rest=self.rest,
        )

    def text(self) -> str:
        """The answer in the data set's words; `read_difference` gives the same difference back."""
        parts = [f"the level of {one.finding} has changed from {one.old} to {one.new}." for one in self.levels]
        if self.added:
            article = "an additional finding" if len(self.added) == 1 else "additional findings"
            parts.append(f"the main image has {article} of {_listed(self.added)} than the reference image.")
        if self.missing:
            noun = "finding" if len(self.missing) == 1 else "findings"
            parts.append(f"the main image is missing the {noun} of {_listed(self.missing)} than the reference image.")
        return " ".join(parts) or NOTHING_CHANGED


def read_difference(text: str) -> Difference:
    """What a text says, tolerant of case, spaces, singular and plural.

    "Nothing has changed" beside a change counts as unread. Names are cut at commas and "and", so that names with "of"
    in them stay whole.

    Source: templates of the generator, Holipori/MIMIC-Diff-VQA, commit 270912d7.
    """
    words = " ".join(text.casefold().split())
    added: list[str] = []
    missing: list[str] = []
    levels: list[LevelChange] = []
    nothing = 0
    for clause in _CLAUSE.finditer(words):
        if clause["added"]:
            added += _names(clause["added"])
        elif clause["missing"]:
            missing += _names(clause["missing"])
        elif clause["nothing"]:
            nothing += 1
        else:
            levels.append(LevelChange(finding=_name(clause["name"]), old=clause["old"], new=clause["new"]))
    has_change = bool(added or missing or levels)
    rest = [part.strip(" .,;") for part in _CLAUSE.sub("\n", words).split("\n")]
    if has_change and nothing:
        rest.append("nothing has changed")
    return Difference(
        added=tuple(dict.fromkeys(added)),
        missing=tuple(dict.fromkeys(missing)),
        levels=tuple(levels),
        is_stated=has_change or nothing > 0,
        rest=" ".join(filter(None, rest)),
    )


def _listed(names: Iterable[str]) -> str:
    """A, and B; the generator puts a comma before every "and"."""
    *first, last = names
    return ", ".join([*first, f"and {last}"]) if first else last


def _names(listed: str) -> list[str]:
    return [_name(part) for part in _BETWEEN.split(listed) if part.strip()]


def _name(words: str) -> str:
    name = words.strip(" .").removeprefix("and ")
    return ALIASES.get(name, name)
