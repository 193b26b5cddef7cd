"""Which objects stand in a generated place at each date, and what changed between two dates?"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from reports.change import PROGRESSION, Change
from reports.finding import Finding
from reports.vocabulary import PLACES, SCENE_FINDINGS, Domain
from training.phantoms.scene_ground import PlaceBackground, draw_place
from training.phantoms.scene_object import OPPOSITE, SLOTS, ObjectState

#: Share of cases without any object, and of those with objects of which none changes on purpose.
EMPTY_SHARE: Final = 0.10
UNCHANGED_SHARE: Final = 0.14
#: Number of objects in either image and how often.
COUNTS: Final = (1, 2, 3, 4)
COUNT_SHARES: Final = (0.25, 0.30, 0.25, 0.20)
#: How often an object of the other cases takes each change; few are stable because the unchanged cases have many.
CHANGE_SHARES: Final[dict[Change, float]] = {
    Change.NEW: 0.225,
    Change.WORSE: 0.225,
    Change.STABLE: 0.10,
    Change.IMPROVED: 0.225,
    Change.RESOLVED: 0.225,
}
#: Grades (prior, current) that stand for each change; 0 is absent.
_GRADES: Final[dict[Change, tuple[tuple[int, int], ...]]] = {
    Change.NEW: ((0, 1), (0, 2), (0, 3)),
    Change.WORSE: ((1, 2), (2, 3), (1, 3)),
    Change.STABLE: ((1, 1), (2, 2), (3, 3)),
    Change.IMPROVED: ((2, 1), (3, 2), (3, 1)),
    Change.RESOLVED: ((1, 0), (2, 0), (3, 0)),
}

_Objects = tuple[ObjectState, ...]


def draw_case(rng: np.random.Generator) -> tuple[PlaceBackground, _Objects, _Objects, tuple[Finding, ...]]:
    """A new place at two dates: its ground, the objects of the prior and of the current, and what changed."""
    background = draw_place(rng)
    kind = rng.random()
    if kind < EMPTY_SHARE:
        return background, (), (), ()
    unchanged = kind < EMPTY_SHARE + UNCHANGED_SHARE
    shares = list(CHANGE_SHARES.values())
    seats: list[ObjectState] = []
    prior: list[ObjectState] = []
    current: list[ObjectState] = []
    for _ in range(int(rng.choice(COUNTS, p=COUNT_SHARES))):
        change = Change.STABLE if unchanged else PROGRESSION[int(rng.choice(len(PROGRESSION), p=shares))]
        before, after = _GRADES[change][int(rng.integers(3))]
        seat = _seat(rng, seats, grade=before or after)
        if seat is None:
            break
        seats.append(seat)
        if before:
            prior.append(_with_grade(seat, before))
        if after:
            current.append(_with_grade(seat, after))
    return background, tuple(prior), tuple(current), findings_between(prior, current)


def evolve(rng: np.random.Generator, objects: Sequence[ObjectState]) -> _Objects:
    """The objects at the next date: some stay, grow, shrink or go, and some appear."""
    if rng.random() < UNCHANGED_SHARE:
        return tuple(objects)
    later: list[ObjectState] = []
    for state in objects:
        step = rng.random()
        if step < 0.25:
            continue
        grades = [grade for grade in (1, 2, 3) if grade != state.grade]
        later.append(state if step < 0.45 else _with_grade(state, int(rng.choice(grades))))
    # Places just left stay empty for one date, so that one object never stands for two.
    seats = list(objects)
    for _ in range(int(rng.integers(0, 3)) if len(seats) < 4 else 0):
        seat = _seat(rng, seats, grade=int(rng.integers(1, 4)))
        if seat is not None and len(later) < 4:
            seats.append(seat)
            later.append(seat)
    return tuple(later)


def findings_between(prior: Iterable[ObjectState], current: Iterable[ObjectState]) -> tuple[Finding, ...]:
    """One finding for each object in either image, in the order of the vocabulary.

    Raises:
        ValueError: One image holds two objects of a kind in one quadrant.
    """
    before, after = _by_key(prior), _by_key(current)
    findings = []
    for name in SCENE_FINDINGS:
        for place in PLACES[Domain.SATELLITE]:
            old, new = before.get((name, place), 0), after.get((name, place), 0)
            if old or new:
                findings.append(Finding(domain=Domain.SATELLITE, finding=name, place=place, change=_change(old, new)))
    return tuple(findings)


def _by_key(objects: Iterable[ObjectState]) -> dict[tuple[str, str], int]:
    grades: dict[tuple[str, str], int] = {}
    for state in objects:
        key = (state.finding, state.place)
        if key in grades:
            raise ValueError(f"two objects of the kind {key[0]!r} in the {key[1]}; a report could not tell them apart.")
        grades[key] = state.grade
    return grades


def _change(before: int, after: int) -> Change:
    """The change from one grade to another; 0 is absent."""
    if not before:
        return Change.NEW
    if not after:
        return Change.RESOLVED
    if before == after:
        return Change.STABLE
    return Change.WORSE if after > before else Change.IMPROVED


def _with_grade(state: ObjectState, grade: int) -> ObjectState:
    return ObjectState(finding=state.finding, place=state.place, grade=grade, slot=state.slot, seed=state.seed)


def _seat(rng: np.random.Generator, taken: Sequence[ObjectState], *, grade: int) -> ObjectState | None:
    """A new object where there is room beside `taken`; None when there is none."""
    options: list[tuple[str, str]] = []
    for place in PLACES[Domain.SATELLITE]:
        slots = [state.slot for state in taken if state.place == place]
        if not slots:
            options.append((place, str(rng.choice(list(SLOTS), p=(0.4, 0.15, 0.15, 0.15, 0.15)))))
        elif len(slots) == 1 and slots[0] in OPPOSITE:
            options.append((place, OPPOSITE[slots[0]]))
    if not options:
        return None
    place, slot = options[int(rng.integers(len(options)))]
    there = {state.finding for state in taken if state.place == place}
    kinds = [name for name in SCENE_FINDINGS if name not in there]
    return ObjectState(
        finding=str(rng.choice(kinds)), place=place, grade=grade, slot=slot, seed=int(rng.integers(2**31))
    )
