"""May these two images be compared, and which of them was first?"""

from enum import Enum

from ingest.acquisition import Acquisition
from ingest.dicom.rules import PairingRules, RuleGroup
from ingest.pairing import interval_in_days

#: What is equal for acquisitions that may be compared by what they show.
ComparisonKey = tuple[str, ...]
#: Keys of birth date, name and sex.
Person = tuple[str | None, str | None, str | None]


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


def judge(prior: Acquisition, current: Acquisition, rules: PairingRules) -> Verdict:
    """What stands between two acquisitions of one subject, whatever they show."""
    group = rules.group_of(current)
    if study_key(prior) == study_key(current):
        return Verdict.SAME_STUDY
    if comparison_key(prior, rules) != comparison_key(current, rules):
        return Verdict.OTHER_BODY_PART
    if not (same_view(prior, current) or (group is not None and group.views_comparable(prior.view, current.view))):
        return Verdict.OTHER_VIEW
    if not is_dated(prior):
        return undated_verdict(prior)
    if not is_dated(current):
        return undated_verdict(current)
    return judge_alike(prior, current, group)


def judge_alike(prior: Acquisition, current: Acquisition, group: RuleGroup | None) -> Verdict:
    """What stands between two acquisitions that are dated and show the same part from a comparable side."""
    if study_key(prior) == study_key(current):
        return Verdict.SAME_STUDY
    days = days_before(prior, current)
    if days is None:
        return Verdict.SAME_MOMENT
    if days < 0:
        return Verdict.LATER
    if group is not None and not group.age_allowed(days):
        return Verdict.OUT_OF_RANGE
    if are_two_people(person(prior), person(current)):
        return Verdict.OTHER_PERSON
    return Verdict.COMPARABLE


def comparison_key(acquisition: Acquisition, rules: PairingRules) -> ComparisonKey:
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


def undated_verdict(image: Acquisition) -> Verdict:
    """Why an image that is not dated is not."""
    return Verdict.DATES_REMOVED if dates_removed(image) else Verdict.NO_DATE


def person(image: Acquisition) -> Person:
    """Keys of birth date, name and sex, None where they are not recorded."""
    return image.attributes.get("birth_key"), image.attributes.get("name_key"), image.attributes.get("sex_key")


def are_two_people(one: Person, other: Person) -> bool:
    """True if birth dates differ, or name and sex both do: one id was given to two people."""
    if one == other:
        return False
    birth, name, sex = (
        here is not None and there is not None and here != there for here, there in zip(one, other, strict=True)
    )
    return birth or (name and sex)


def names_differ(one: Acquisition, other: Acquisition) -> bool:
    """True if both record a name and the names differ, as after a marriage or a typing error."""
    here, there = one.attributes.get("name_key"), other.attributes.get("name_key")
    return here is not None and there is not None and here != there
