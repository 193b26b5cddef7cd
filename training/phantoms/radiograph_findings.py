"""Which findings does a generated radiograph show, and how do they change between studies?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from reports.change import Change
from reports.finding import Finding
from reports.vocabulary import FINDINGS, PLACES, Domain
from training.errors import TrainingError

_SIDES: Final = ("right", "left")
_ZONES: Final = ("right upper", "right lower", "left upper", "left lower")

#: Findings that are drawn, and where each may be.
DRAWN: Final[dict[str, tuple[str, ...]]] = {
    "pleural effusion": _SIDES,
    "pneumothorax": _SIDES,
    "consolidation": _ZONES,
    "atelectasis": ("right lower", "left lower"),
    "cardiomegaly": ("central",),
    "edema": ("bilateral",),
    "fracture": _SIDES,
    "granuloma": _ZONES,
    "hernia": ("central",),
}

#: Number of sizes of each finding. A heart cannot grow by 1.6 in area three times and still fit a chest.
GRADES: Final[dict[str, int]] = {name: 2 if name == "cardiomegaly" else 3 for name in DRAWN}

#: Lung findings that hide or imitate each other when they share a zone.
_ZONAL: Final = frozenset({"consolidation", "atelectasis", "granuloma"})

_MOST_LESIONS: Final = 4
_CHANGES: Final = (Change.NEW, Change.WORSE, Change.STABLE, Change.IMPROVED, Change.RESOLVED)
#: Mixed pairs hold fewer stable lesions, since pairs in which all is stable add theirs: together about a fifth each.
_MIXED_WEIGHTS: Final = (0.22, 0.22, 0.12, 0.22, 0.22)


class UnknownLesion(TrainingError, ValueError):
    """A lesion has a finding, place or grade that is not drawn; see `DRAWN` and `GRADES`."""


@dataclass(frozen=True, kw_only=True, order=True)
class LesionState:
    """One lesion as it is at one time.

    Attributes:
        finding: A key of `DRAWN`.
        place: One of its places; sides are the patient's.
        grade: 1 to `GRADES[finding]`; neighbours differ by at least 1.6 in visible area.
        seed: Seed of shape and position: equal seeds give the same lesion, whatever the grade.

    Raises:
        UnknownLesion: Finding, place or grade is not drawn.
    """

    finding: str
    place: str
    grade: int
    seed: int

    def __post_init__(self) -> None:
        if self.place not in DRAWN.get(self.finding, ()) or not 1 <= self.grade <= GRADES[self.finding]:
            raise UnknownLesion(f"No lesion is drawn for {self.finding!r}, {self.place!r}, grade {self.grade}.")

    @property
    def key(self) -> tuple[str, str]:
        """Finding and place: at most one lesion of a key is in an image."""
        return self.finding, self.place


def conflict(first: LesionState, second: LesionState) -> bool:
    """Whether two lesions would hide or imitate each other in one image."""
    if first.key == second.key:
        return True
    return _hides(first, second) or _hides(second, first)


def _hides(upper: LesionState, under: LesionState) -> bool:
    """Whether `upper` makes `under` hard to see."""
    same_side = upper.place.split()[0] == under.place.split()[0]
    if upper.finding in _ZONAL and under.finding in _ZONAL:
        return upper.place == under.place
    if upper.finding == "pneumothorax":
        return under.finding == "edema" or (same_side and under.finding in _ZONAL | {"pleural effusion"})
    if upper.finding == "pleural effusion":
        return same_side and under.finding in _ZONAL and under.place.endswith("lower")
    if upper.finding == "edema":
        return under.finding == "consolidation"
    if upper.finding == "cardiomegaly":
        return under.finding in _ZONAL and under.place == "left lower"
    return False


def draw_lesion(rng: np.random.Generator, present: Sequence[LesionState]) -> LesionState | None:
    """A random lesion that conflicts with none of those present; None if a number of draws found none."""
    names = tuple(DRAWN)
    for _ in range(30):
        finding = names[int(rng.integers(len(names)))]
        places = DRAWN[finding]
        lesion = LesionState(
            finding=finding,
            place=places[int(rng.integers(len(places)))],
            grade=int(rng.integers(1, GRADES[finding] + 1)),
            seed=int(rng.integers(2**31)),
        )
        if not any(conflict(lesion, other) for other in present):
            return lesion
    return None


def draw_pair(rng: np.random.Generator) -> tuple[tuple[LesionState, ...], tuple[LesionState, ...]]:
    """Lesions of a prior and of its current: about 10 % of pairs without any, 17 % with stable ones only."""
    kind = rng.random()
    if kind < 0.10:
        return (), ()
    all_stable = kind < 0.25
    count = int(rng.choice((1, 2, 3, 4), p=(0.5, 0.3, 0.15, 0.05) if all_stable else (0.28, 0.35, 0.24, 0.13)))
    drawn: list[LesionState] = []
    for _ in range(count):
        lesion = draw_lesion(rng, drawn)
        if lesion is not None:
            drawn.append(lesion)
    prior: list[LesionState] = []
    current: list[LesionState] = []
    for lesion in drawn:
        change = Change.STABLE if all_stable else _CHANGES[int(rng.choice(len(_CHANGES), p=_MIXED_WEIGHTS))]
        before, after = _states(rng, lesion, change)
        prior.extend(before)
        current.extend(after)
    return tuple(sorted(prior)), tuple(sorted(current))


def _states(
    rng: np.random.Generator, lesion: LesionState, change: Change
) -> tuple[tuple[LesionState, ...], tuple[LesionState, ...]]:
    """The lesion in prior and in current, as the change asks."""
    if change is Change.NEW:
        return (), (lesion,)
    if change is Change.RESOLVED:
        return (lesion,), ()
    if change is Change.STABLE:
        return (lesion,), (lesion,)
    low, high = sorted(int(grade) + 1 for grade in rng.choice(GRADES[lesion.finding], size=2, replace=False))
    small, large = replace(lesion, grade=low), replace(lesion, grade=high)
    return ((small,), (large,)) if change is Change.WORSE else ((large,), (small,))


def evolve(rng: np.random.Generator, lesions: Sequence[LesionState]) -> tuple[LesionState, ...]:
    """The lesions of the next study of a subject, for chains of several studies."""
    if rng.random() < 0.2:
        return tuple(lesions)
    kept: list[LesionState] = []
    for lesion in lesions:
        fate = rng.random()
        others = [grade for grade in range(1, GRADES[lesion.finding] + 1) if grade != lesion.grade]
        if fate < 0.25:
            kept.append(lesion)
        elif fate < 0.72:
            kept.append(replace(lesion, grade=others[int(rng.integers(len(others)))]))
    for _ in range(int(rng.choice((0, 1, 2), p=(0.35, 0.45, 0.2)))):
        if len(kept) < _MOST_LESIONS:
            # Against the prior too: a lesion that leaves and another of the same key that comes would read as stable.
            lesion_new = draw_lesion(rng, (*kept, *lesions))
            if lesion_new is not None:
                kept.append(lesion_new)
    return tuple(sorted(kept))


def findings_between(prior: Sequence[LesionState], current: Sequence[LesionState]) -> tuple[Finding, ...]:
    """One finding for each lesion of either image, in the vocabulary's order of finding, then of place."""
    before = {lesion.key: lesion.grade for lesion in prior}
    after = {lesion.key: lesion.grade for lesion in current}
    return tuple(
        Finding(
            domain=Domain.RADIOLOGY, finding=key[0], place=key[1], change=_change(before.get(key, 0), after.get(key, 0))
        )
        for key in sorted(before.keys() | after.keys(), key=_order)
    )


def _order(key: tuple[str, str]) -> tuple[int, int]:
    return FINDINGS[Domain.RADIOLOGY].index(key[0]), PLACES[Domain.RADIOLOGY].index(key[1])


def _change(before: int, after: int) -> Change:
    """Change from one grade to another, at least one of them not 0; 0 means not there."""
    if before == 0:
        return Change.NEW
    if after == 0:
        return Change.RESOLVED
    if before == after:
        return Change.STABLE
    return Change.WORSE if after > before else Change.IMPROVED
