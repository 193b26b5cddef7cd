"""May these two radiographs be compared, and which of them was first?"""

from dataclasses import dataclass
from enum import Enum

from ingest.acquisition import Acquisition
from ingest.dicom.rules import PairingRules, RuleGroup
from ingest.pairing import interval_in_days


class Verdict(Enum):
    """What stands between a candidate and being a prior; the first that applies, in this order."""

    SAME_STUDY = "is an image of the same study"
    OTHER_BODY_PART = "shows another body part"
    OTHER_VIEW = "was taken from another side"
    NO_DATE = "has no date"
    DATES_REMOVED = "lost its dates in de-identification"
    SAME_MOMENT = "is of the same day and nothing tells which was first"
    LATER = "is later"
    OUT_OF_RANGE = "is nearer or further in time than the rules allow"
    OTHER_PERSON = "has another birth date or another name and sex under the same patient id"
    COMPARABLE = "is comparable"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An acquisition of the same subject, and whether it may be the current's prior."""

    prior: Acquisition
    verdict: Verdict


def judge(prior: Acquisition, current: Acquisition, rules: PairingRules) -> Candidate:
    """The candidate with what stands in its way; both must be of one subject."""
    return Candidate(prior=prior, verdict=_verdict(prior, current, rules))


def comparison_key(acquisition: Acquisition, rules: PairingRules) -> tuple[str, ...]:
    """What must be equal to be compared: group of the rules, body part by its one name, and side of a paired part."""
    group = rules.group_of(acquisition)
    if group is None:
        return (acquisition.group,)
    _, *parts = acquisition.group.split(":")
    sides = {"L", "R"} if not group.laterality_must_match else set()
    return (group.name, *(group.body_part_synonyms.get(part, part) for part in parts if part not in sides))


def body_part(acquisition: Acquisition, rules: PairingRules) -> str:
    """The body part by its one name; empty if unknown."""
    stated = acquisition.attributes.get("body_part", "")
    group = rules.group_of(acquisition)
    return stated if group is None else group.body_part_synonyms.get(stated, stated)


def is_dated(acquisition: Acquisition) -> bool:
    """True if the acquisition has a time that may be ordered by."""
    return acquisition.time is not None and not dates_removed(acquisition)


def dates_removed(acquisition: Acquisition) -> bool:
    """True if de-identification took the dates away. Source: DICOM PS3.15 E.2, element (0028,0303)."""
    return acquisition.attributes.get("longitudinal") == "REMOVED"


def study_key(acquisition: Acquisition) -> str:
    """The study; an image without one is a study of its own."""
    return acquisition.study or acquisition.id


def days_before(prior: Acquisition, current: Acquisition) -> float | None:
    """Days by which `prior` is earlier, negative if later; None if nothing tells.

    Nothing tells where one has no date, where both are of one day and one has no clock time, and where both times are
    the same.
    """
    if prior.time is None or current.time is None or not (is_dated(prior) and is_dated(current)):
        return None
    by_day = "day" in (prior.attributes.get("time_precision"), current.attributes.get("time_precision"))
    if by_day and prior.time.date() == current.time.date():
        return None
    return interval_in_days(prior.time, current.time) or None


def same_view(one: Acquisition, other: Acquisition) -> bool:
    """True if both show the same side; an unknown view equals only one that is labelled alike."""
    if one.view or other.view:
        return one.view == other.view
    return one.attributes.get("view_stated") == other.attributes.get("view_stated")


def _comparable_view(one: Acquisition, other: Acquisition, group: RuleGroup | None) -> bool:
    return same_view(one, other) or (group is not None and group.views_comparable(one.view, other.view))


def _verdict(prior: Acquisition, current: Acquisition, rules: PairingRules) -> Verdict:
    group = rules.group_of(current)
    if study_key(prior) == study_key(current):
        return Verdict.SAME_STUDY
    if comparison_key(prior, rules) != comparison_key(current, rules):
        return Verdict.OTHER_BODY_PART
    if not _comparable_view(prior, current, group):
        return Verdict.OTHER_VIEW
    if dates_removed(prior) or dates_removed(current):
        return Verdict.DATES_REMOVED
    if prior.time is None or current.time is None:
        return Verdict.NO_DATE
    days = days_before(prior, current)
    if days is None:
        return Verdict.SAME_MOMENT
    if days < 0:
        return Verdict.LATER
    if group is not None and not group.age_allowed(days):
        return Verdict.OUT_OF_RANGE
    if _is_other_person(prior, current):
        return Verdict.OTHER_PERSON
    return Verdict.COMPARABLE


def _is_other_person(one: Acquisition, other: Acquisition) -> bool:
    """True if birth dates differ, or name and sex both do: one id was given to two people."""
    return _differ(one, other, "birth_key") or (_differ(one, other, "name_key") and _differ(one, other, "sex_key"))


def names_differ(one: Acquisition, other: Acquisition) -> bool:
    """True if both record a name and the names differ, as after a marriage or a typing error."""
    return _differ(one, other, "name_key")


def _differ(one: Acquisition, other: Acquisition, key: str) -> bool:
    here, there = one.attributes.get(key), other.attributes.get(key)
    return here is not None and there is not None and here != there
