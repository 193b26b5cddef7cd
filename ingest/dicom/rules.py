"""By which rules may one acquisition be the prior of another? Read from a file; two come with the package."""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Final

from ingest.acquisition import Acquisition
from ingest.errors import BadRules

#: Names of the rules that come with the package.
BUILT_IN: Final = {"default": "rules_default.toml", "same-view": "rules_same_view.toml"}

_SAME_VIEW: Final = ("preferred", "required", "ignored")
_CATEGORIES: Final = ("ABSTRACT_PRIOR", "RELATIVE_TIME")
_ABSTRACT_PRIORS: Final = (1, -1)


@dataclass(frozen=True, kw_only=True)
class RuleGroup:
    """Rules for acquisitions of some modalities.

    Attributes:
        name: For people.
        modalities: Modalities (0008,0060) that are compared with each other.
        body_part_synonyms: Body parts that count as another one, upper case.
        comparable_views: Sets of views that may be compared with each other.
        same_view: "preferred", "required" or "ignored".
        laterality_must_match: Whether paired parts of the body must be of one side.
        image_set_selector_category: "ABSTRACT_PRIOR": the one that `abstract_prior_value` names; "RELATIVE_TIME": the
            most recent within `relative_time_days`.
        abstract_prior_value: 1 for the most recent prior, -1 for the oldest.
        relative_time_days: How many days earlier a prior must and may be; 0 for an open end.

    Source: DICOM PS3.3 C.23.1, Image Set Selector Category (0072,0034), Relative Time (0072,0038), Abstract Prior Value
    (0072,003C).
    """

    name: str
    modalities: tuple[str, ...]
    body_part_synonyms: Mapping[str, str]
    comparable_views: tuple[frozenset[str], ...]
    same_view: str
    laterality_must_match: bool
    image_set_selector_category: str
    abstract_prior_value: int
    relative_time_days: tuple[float, float]

    def views_comparable(self, one: str, other: str) -> bool:
        """True if two different views may be compared."""
        return self.same_view != "required" and any({one, other} <= views for views in self.comparable_views)

    def age_allowed(self, days: float) -> bool:
        """True if a prior may be this many days earlier."""
        least, most = self.relative_time_days
        return days >= least and (most == 0 or days <= most)

    @property
    def takes_oldest(self) -> bool:
        """True if the oldest prior is chosen and not the most recent."""
        return self.image_set_selector_category == "ABSTRACT_PRIOR" and self.abstract_prior_value == -1


@dataclass(frozen=True, kw_only=True)
class PairingRules:
    """All groups of a file.

    Attributes:
        name: The file's name, or that of built-in rules.
        sha256: Hash of the file's text.
        groups: In the order of the file.
    """

    name: str
    sha256: str
    groups: tuple[RuleGroup, ...]

    def group_of(self, acquisition: Acquisition) -> RuleGroup | None:
        """The first group that names the acquisition's modality; None if none does."""
        modality = acquisition.attributes.get("modality", "")
        return next((group for group in self.groups if modality in group.modalities), None)

    @property
    def remark(self) -> str:
        """What a pair's reason adds about the rules; nothing for those that everybody has."""
        return "" if self.name == "default" else f" By the pairing rules {self.name} ({self.sha256[:12]})."


def load_rules(name: str) -> PairingRules:
    """Rules that come with the package; `ingest.rules.load_rules` also reads a file."""
    return _built_in(name)


@cache
def _built_in(name: str) -> PairingRules:
    return parse_rules((Path(__file__).parent / BUILT_IN[name]).read_text(encoding="utf-8"), name=name)


def parse_rules(text: str, *, name: str) -> PairingRules:
    """The rules that a TOML text states.

    Raises:
        BadRules: A key is missing, unknown or has a value that it cannot have.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadRules(f"The pairing rules {name} are no TOML: {error}.") from None
    groups = content.pop("group", None)
    content.pop("scenes", None)
    if content or not isinstance(groups, list) or not groups:
        raise BadRules(
            f"The pairing rules {name} hold tables [[group]] for radiology, at least one, a table [scenes], or both, "
            "and nothing else."
        )
    return PairingRules(
        name=name,
        sha256=hashlib.sha256(text.encode("utf-8")).hexdigest(),
        groups=tuple(
            _group(group, f"Group {number} of the pairing rules {name}") for number, group in enumerate(groups, 1)
        ),
    )


def _group(given: Any, where: str) -> RuleGroup:
    keys = {field.name for field in fields(RuleGroup)}
    if not isinstance(given, dict) or given.keys() != keys:
        wrong = sorted(given.keys() ^ keys) if isinstance(given, dict) else []
        raise BadRules(f"{where} has the keys {', '.join(sorted(keys))}; missing or unknown: {', '.join(wrong)}.")
    _check(_is_words(given["modalities"]), where, "modalities", 'a list of modalities, such as ["CR", "DX"]')
    synonyms = given["body_part_synonyms"]
    is_table = isinstance(synonyms, dict) and _is_words(list(synonyms.values()), may_be_empty=True)
    _check(is_table, where, "body_part_synonyms", 'a table, such as { RIBS = "CHEST" }')
    views = given["comparable_views"]
    is_views = isinstance(views, list) and all(_is_words(one) for one in views)
    _check(is_views, where, "comparable_views", 'a list of lists, such as [["AP", "PA"]]')
    _check(given["same_view"] in _SAME_VIEW, where, "same_view", " or ".join(map(repr, _SAME_VIEW)))
    _check(type(given["laterality_must_match"]) is bool, where, "laterality_must_match", "true or false")
    category = given["image_set_selector_category"]
    _check(category in _CATEGORIES, where, "image_set_selector_category", " or ".join(_CATEGORIES))
    _check(given["abstract_prior_value"] in _ABSTRACT_PRIORS, where, "abstract_prior_value", "1 or -1")
    days = given["relative_time_days"]
    is_range = (
        isinstance(days, list)
        and len(days) == 2
        and all(type(one) in (int, float) and one >= 0 for one in days)
        and (days[1] == 0 or days[0] <= days[1])
    )
    _check(is_range, where, "relative_time_days", "two numbers of days, the smaller first, 0 for an open end")
    return RuleGroup(
        name=str(given["name"]),
        modalities=tuple(given["modalities"]),
        body_part_synonyms={key.upper(): value.upper() for key, value in synonyms.items()},
        comparable_views=tuple(frozenset(one) for one in views),
        same_view=given["same_view"],
        laterality_must_match=given["laterality_must_match"],
        image_set_selector_category=category,
        abstract_prior_value=given["abstract_prior_value"],
        relative_time_days=(float(days[0]), float(days[1])),
    )


def _is_words(value: Any, *, may_be_empty: bool = False) -> bool:
    return isinstance(value, list) and (may_be_empty or bool(value)) and all(isinstance(one, str) for one in value)


def _check(is_right: bool, where: str, key: str, wanted: str) -> None:
    if not is_right:
        raise BadRules(f"{where}: {key} has to be {wanted}.")
