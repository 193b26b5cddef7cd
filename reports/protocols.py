"""How is each labelled data set scored: by its published protocol, and by one that closes its gaps?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from reports.captions import tokens, tokens_with_commas
from reports.change import Change
from reports.difference import read_difference
from reports.f1 import Level, has_change, labels_of
from reports.parse import parse
from reports.progression import read_progression
from reports.section import Label, Section, caption_sections, change_section, class_section, label_section
from reports.vocabulary import NOTHING_FOUND, RADIOLOGY_GROUPS, Domain


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What is known about one pair.

    Attributes:
        id: Its id in the predictions.
        subject: What is resampled.
        domain: Radiology or satellite.
        texts: Reference texts.
        labels: Reference labels, where the data set has some.
        is_changed: Whether anything changed, where it says so.
        is_partial: The answer is about a part of the image: it says nothing about the rest.
    """

    id: str
    subject: str
    domain: Domain
    texts: tuple[str, ...]
    labels: frozenset[Label] | None = None
    is_changed: bool | None = None
    is_partial: bool = False


Runs = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Protocol:
    """How a data set is scored.

    Attributes:
        constant: An answer that is given to every pair, as the baseline that a model must beat.
        sections: From the references and the texts of each run.
    """

    constant: str
    sections: Callable[[Sequence[Reference], Runs], list[Section]]


#: The 54 labels of the published protocol.
DIFFERENCE_LABELS: Final[tuple[Label, ...]] = tuple(
    (name, change.value)
    for names in RADIOLOGY_GROUPS.values()
    for name in names
    for change in (Change.NEW, Change.RESOLVED)
)
_GROUPS: Final = {
    group: frozenset(label for label in DIFFERENCE_LABELS if label[0] in names)
    for group, names in RADIOLOGY_GROUPS.items()
}


def difference_sections(references: Sequence[Reference], runs: Runs) -> list[Section]:
    """Medical-Diff-VQA: captions, then findings as published, then findings on all pairs.

    As published, a text that cannot be read, and one that only names a level, counts as "no change"; F1 sees changed
    pairs only, so what is invented on stable pairs costs nothing. The corrected protocol counts a text that cannot be
    read as wrong, a changed level as a change and every pair in F1, but for questions about one area, whose answers are
    silent about the rest.

    Source: arXiv 2606.04433, appendix F.
    """
    read = [[read_difference(text) for text in run] for run in runs]
    said = [[one.labels for one in run] for run in read]
    known = [one.labels or frozenset() for one in references]
    zero = [bool(labels) for labels in known]
    stated = [[one.has_change if one.is_stated else None for one in run] for run in read]
    changed = [bool(one.is_changed) for one in references]
    whole = [not one.is_partial for one in references]
    return [
        *caption_sections({"Captions": [True] * len(known)}, runs, [one.texts for one in references], tokenize=tokens),
        label_section(
            "Findings as published: pairs with a change", DIFFERENCE_LABELS, said, known, taken=zero, groups=_GROUPS
        ),
        change_section(
            "Changed or not as published: unread texts and levels are no change",
            [[bool(labels) for labels in run] for run in said],
            zero,
            unread=[[not one.is_stated for one in run] for run in read],
        ),
        label_section(
            "Findings, corrected: all pairs with a question about the whole image",
            DIFFERENCE_LABELS, said, known, taken=whole, groups=_GROUPS,
        ),
        change_section(
            "Changed or not, corrected: unread texts are wrong, levels are changes",
            stated, changed, alarms=[[len(labels) for labels in run] for run in said],
        ),
    ]  # fmt: skip


def scene_sections(says_unchanged: Callable[[str], bool]) -> Callable[[Sequence[Reference], Runs], list[Section]]:
    """LEVIR-CC and LEVIR-MCI: captions on all pairs and on both halves, and whether a pair changed.

    Args:
        says_unchanged: The published test: is a text one of the fixed sentences?
    """

    def sections(references: Sequence[Reference], runs: Runs) -> list[Section]:
        changed = [bool(one.is_changed) for one in references]
        parts = {
            "Captions": [True] * len(changed),
            "Captions, changed pairs (CIDEr is not comparable between parts)": changed,
            "Captions, unchanged pairs": [not one for one in changed],
        }
        said = [[None if not text.strip() else not says_unchanged(text) for text in run] for run in runs]
        texts = [one.texts for one in references]
        return [
            *caption_sections(
                {title: part for title, part in parts.items() if any(part)},
                runs, texts, tokenize=tokens_with_commas, word_ids=True,
            ),
            change_section('Changed or not: one of the five fixed sentences says "unchanged"', said, changed),
        ]  # fmt: skip

    return sections


def progression_sections(references: Sequence[Reference], runs: Runs) -> list[Section]:
    """MS-CXR-T: which of three classes the named finding has."""
    labels = [next(iter(one.labels or [("", "")])) for one in references]
    said = [[change.value if (change := read_progression(text)) else None for text in run] for run in runs]
    return [class_section("Progression", said, [label[1] for label in labels], [label[0] for label in labels])]


def report_sections(references: Sequence[Reference], runs: Runs) -> list[Section]:
    """Our own reports: finding, place and change, and whether a pair changed."""
    parsed = [[parse(one.domain, text) for one, text in zip(references, run, strict=True)] for run in runs]
    said = [[labels_of(one.findings, Level.EXACT) for one in run] for run in parsed]
    known = [one.labels or frozenset() for one in references]
    changed = [bool(one.is_changed) for one in references]
    labels = sorted(frozenset().union(*known, *(one for run in said for one in run)))
    stated = [
        [None if one.unparsed and not one.findings else has_change(one.findings) for one in run] for run in parsed
    ]
    return [
        label_section("Finding, place and change: all pairs", labels, said, known),
        label_section("Finding, place and change: pairs with a change", labels, said, known, taken=changed),
        change_section("Changed or not", stated, changed),
    ]


DIFFERENCE: Final = Protocol(
    # the label with the most support in the published test split
    "the main image has an additional finding of atelectasis than the reference image.",
    difference_sections,
)
PROGRESSION: Final = Protocol("stable", progression_sections)


def report_protocol(domain: Domain) -> Protocol:
    """That of our reports on one domain."""
    return Protocol(NOTHING_FOUND[domain], report_sections)
