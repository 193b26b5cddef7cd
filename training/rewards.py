"""How good is a sampled answer, by the audit's own measures?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from reports.change import Change
from reports.difference import read_difference
from reports.f1 import Counts, Label, Level, count, labels_of
from reports.parse import parse
from reports.progression import read_progression
from training.config import GRPOSettings
from training.errors import TrainingError
from training.prompt import Wording
from training.readers.sample import Sample


class NoReward(TrainingError, ValueError):
    """The references of this data set are sentences without findings, which no answer can be judged by; use SFT."""


#: The part of a change that is its direction: towards more of a finding, or towards less.
_DIRECTIONS = {
    Change.NEW.value: 1,
    Change.WORSE.value: 1,
    Change.STABLE.value: 0,
    Change.IMPROVED.value: -1,
    Change.RESOLVED.value: -1,
}


@dataclass(frozen=True)
class Reward:
    """The parts of a reward, each in [0, 1].

    Attributes:
        finding: F1 of findings with place and change; 1 where there is none in answer and reference.
        direction: F1 of findings with the direction of their change, wherever they are.
        form: 1 for an answer that is read without rest.
    """

    finding: float
    direction: float
    form: float

    def total(self, settings: GRPOSettings) -> float:
        """The weighted sum."""
        return settings.finding * self.finding + settings.direction * self.direction + settings.form * self.form


def reward(sample: Sample, text: str) -> Reward:
    """What an answer to a pair is worth.

    An answer that cannot be read at all has no finding and no form, so silence earns nothing.

    Raises:
        NoReward: The data set has no labels of findings.
    """
    if sample.labels is None or sample.wording is Wording.LEVIR_CC:
        raise NoReward
    said, is_read, is_clean = _read(sample, text)
    if not is_read:
        return Reward(0.0, 0.0, 0.0)
    known = frozenset(sample.labels)
    return Reward(_f1(said, known), _f1(_directions(said), _directions(known)), float(is_clean))


def _read(sample: Sample, text: str) -> tuple[frozenset[Label], bool, bool]:
    """The labels of an answer, whether anything was read, and whether everything was."""
    if sample.wording is Wording.REPORT:
        parsed = parse(sample.domain, text)
        is_read = bool(parsed.findings) or not parsed.unparsed
        return labels_of(parsed.findings, Level.EXACT), is_read, not parsed.unparsed
    if sample.wording is Wording.MEDICAL_DIFF_VQA:
        difference = read_difference(text)
        return frozenset(difference.labels), difference.is_stated, not difference.rest
    assert sample.labels is not None  # checked by the caller
    change = read_progression(text)
    labels = frozenset((name, change.value) for name, *_ in sample.labels) if change is not None else frozenset()
    return labels, change is not None, change is not None


def _directions(labels: Collection[Label]) -> frozenset[Label]:
    """Finding and direction; the change is the last part of a label."""
    return frozenset((label[0], str(_DIRECTIONS.get(label[-1], label[-1]))) for label in labels)


def _f1(said: Collection[Label], known: Collection[Label]) -> float:
    found = sum(count([(said, known)]).values(), Counts()).f1
    return 1.0 if found is None else found


def judge_of(samples: Sequence[Sample], settings: GRPOSettings) -> Callable[[int, str], dict[str, float]]:
    """What answers to these samples are worth, by their number: the parts, and the whole as "reward"."""

    def judge(index: int, text: str) -> dict[str, float]:
        parts = reward(samples[index], text)
        return {**vars(parts), "reward": parts.total(settings)}

    return judge
