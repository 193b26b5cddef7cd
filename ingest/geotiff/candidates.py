"""May one scene be the prior of another, and if not, why?"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

from ingest.acquisition import Acquisition
from ingest.geotiff.bands import is_comparable
from ingest.geotiff.place import LEAST_OVERLAP
from ingest.geotiff.rules import SceneRules
from ingest.pairing import interval_in_days

if TYPE_CHECKING:
    from ingest.geotiff.footprint import Footprints

#: Scenes of one platform taken within this time are tiles or strips of one pass.
_ONE_PASS = timedelta(hours=1)


class Verdict(Enum):
    """What stands between a candidate and being a prior; the first that applies, in this order."""

    NO_DATE = "has no date"
    DUPLICATE = "holds the same picture as another scene"
    LATER = "is later"
    SAME_PASS = "is of the same pass"
    ELSEWHERE = "shares no valid ground"
    OTHER_BANDS = "has other bands or another product"
    OTHER_SENSOR = "is of a satellite that the rules do not compare with this one"
    LITTLE_OVERLAP = "shares too little valid ground"
    OUT_OF_RANGE = "is nearer or further in time than the rules allow"
    OTHER_SEASON = "is of another season"
    TOO_CLOUDY = "has more cloud than the rules allow"
    COMPARABLE = "is comparable"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A scene beside a current.

    Attributes:
        index: Its number among all scenes.
        verdict: Whether it may be the current's prior.
        overlap: Shared valid ground as a share of the smaller footprint; 0 where the verdict does not need it.
        days: How many days it is earlier; 0 without dates.
    """

    index: int
    verdict: Verdict
    overlap: float = 0.0
    days: float = 0.0

    @property
    def is_same_place(self) -> bool:
        """True if it shares enough ground for both to be of one place."""
        return self.overlap >= LEAST_OVERLAP

    def describe(self) -> str:
        """The verdict with its figure."""
        if self.verdict is Verdict.LITTLE_OVERLAP:
            return f"shares {self.overlap:.0%} of the smaller valid footprint, which is too little"
        if self.verdict in (Verdict.OUT_OF_RANGE, Verdict.OTHER_SEASON):
            return f"{self.verdict.value} ({self.days:.4g} days before)"
        return str(self.verdict.value)


def judge(
    other: int, current: int, scenes: tuple[Acquisition, ...], footprints: "Footprints", rules: SceneRules
) -> Candidate:
    """What stands between a scene and being the prior of a current; duplicates are told apart elsewhere.

    Args:
        other: Number of the scene.
        current: Number of the current.
        scenes: All scenes.
        footprints: Of the same scenes.
        rules: What must hold.
    """
    one, two = scenes[other], scenes[current]
    if one.time is None or two.time is None:
        return Candidate(index=other, verdict=Verdict.NO_DATE)
    if is_one_pass(one, two):
        return Candidate(index=other, verdict=Verdict.SAME_PASS)
    days = interval_in_days(one.time, two.time)
    if days <= 0:
        return Candidate(index=other, verdict=Verdict.LATER)
    overlap = footprints.overlap(current, other)
    verdict = Verdict.COMPARABLE
    if overlap == 0:
        verdict = Verdict.ELSEWHERE
    elif not is_comparable(one, two):
        verdict = Verdict.OTHER_BANDS
    elif not rules.sensors_comparable(one.attributes["platform"], two.attributes["platform"]):
        verdict = Verdict.OTHER_SENSOR
    elif overlap < rules.least_overlap:
        verdict = Verdict.LITTLE_OVERLAP
    elif not rules.interval_allowed(days):
        verdict = Verdict.OUT_OF_RANGE
    elif not rules.season_allowed(days):
        verdict = Verdict.OTHER_SEASON
    elif rules.too_cloudy(one.attributes.get("cloud_cover", "")):
        verdict = Verdict.TOO_CLOUDY
    return Candidate(index=other, verdict=verdict, overlap=overlap, days=days)


def is_one_pass(one: Acquisition, other: Acquisition) -> bool:
    """True if two dated scenes come from one pass over the area, so that neither is the other's prior."""
    if one.time is None or other.time is None:
        return False
    by_day = "day" in (one.attributes["time_precision"], other.attributes["time_precision"])
    if by_day:
        return one.time.date() == other.time.date()
    return abs(one.time - other.time) <= _ONE_PASS


def scene_order(scene: Acquisition) -> tuple[bool, datetime, str]:
    """Dated scenes by time, then undated ones; ties by name."""
    return scene.time is None, scene.time or datetime.min, scene.name
