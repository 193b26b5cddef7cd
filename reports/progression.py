"""How is the progression of one named finding worded, and read back?

MS-CXR-T asks of a finding that is there in both images whether it is improving, stable or worsening.
"""

import re
from typing import Final

from reports.change import Change
from reports.vocabulary import CHANGE_WORDS, Domain

#: The findings that MS-CXR-T labels.
FINDINGS: Final = ("consolidation", "edema", "pleural effusion", "pneumonia", "pneumothorax")

#: Its three classes, as its table words them.
LABEL_WORDS: Final = {"improving": Change.IMPROVED, "stable": Change.STABLE, "worsening": Change.WORSE}

_STEMS: Final = {
    Change.IMPROVED: r"improv(?:ed|ing|es)",
    Change.STABLE: r"stable|unchanged",
    Change.WORSE: r"worse(?:ned|ning|ns)?",
}


def sentence(finding: str, change: Change) -> str:
    """Such as `Edema is worse.`"""
    return f"{finding[:1].upper()}{finding[1:]} {CHANGE_WORDS[Domain.RADIOLOGY][change]}."


def read_progression(text: str) -> Change | None:
    """The one class that a text names; None where it names none or several."""
    words = text.casefold()
    named = [change for change, stem in _STEMS.items() if re.search(rf"\b(?:{stem})\b", words)]
    return named[0] if len(named) == 1 else None
