"""By which rules may one scene be the prior of another?"""

import hashlib
import json
import tomllib
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Final

from ingest.errors import BadRules
from ingest.geotiff.place import LEAST_OVERLAP

#: Names of the rules that come with the package.
BUILT_IN: Final = {"default": "rules_default.toml", "same-season": "rules_same_season.toml"}

_PRIORS: Final = ("most recent", "oldest", "one year earlier")

#: Days of a year.
YEAR: Final = 365.25


@dataclass(frozen=True, kw_only=True)
class SceneRules:
    """Rules for scenes; `rules_default.toml` tells what each means.

    Attributes:
        name: Name of the file, or of built-in rules.
        sha256: Hash of the rules.
        least_overlap: Least share of the smaller valid footprint that both show.
        interval_days: How many days earlier a prior must and may be; 0 for an open end.
        season_days: Most days between the days of the year; 0 for any.
        sensor_groups: Sets of platforms that are compared with each other; none to compare all.
        cloud_percent: Most cloud that a scene's catalogue may state.
        prior: "most recent", "oldest" or "one year earlier".
    """

    name: str
    sha256: str
    least_overlap: float
    interval_days: tuple[float, float]
    season_days: float
    sensor_groups: tuple[frozenset[str], ...]
    cloud_percent: float
    prior: str

    def interval_allowed(self, days: float) -> bool:
        """True if a prior may be this many days earlier."""
        least, most = self.interval_days
        return days >= least and (most == 0 or days <= most)

    def season_allowed(self, days: float) -> bool:
        """True if dates this many days apart lie near each other in the year."""
        return self.season_days == 0 or min(days % YEAR, -days % YEAR) <= self.season_days

    def sensors_comparable(self, one: str, other: str) -> bool:
        """True if scenes of these two platforms may be compared; "" is a platform that is not stated."""
        return not self.sensor_groups or one == other or any({one, other} <= group for group in self.sensor_groups)

    def too_cloudy(self, stated: str) -> bool:
        """True if a scene states more cloud than is allowed; "" states nothing."""
        return stated != "" and float(stated) > self.cloud_percent

    def unlikeness(self, days: float) -> float:
        """Order of the passes: the least is taken."""
        return {"most recent": days, "oldest": -days, "one year earlier": abs(days - YEAR)}[self.prior]

    @property
    def remark(self) -> str:
        """What a pair's reason adds about the rules; nothing for those that everybody has."""
        return "" if self.name == "default" else f" By the pairing rules {self.name} ({self.sha256[:12]})."


@cache
def load_scene_rules(name: str) -> SceneRules:
    """Rules that come with the package; `ingest.rules.load_rules` also reads a file."""
    text = (Path(__file__).parent / BUILT_IN[name]).read_text(encoding="utf-8")
    return parse_scene_rules(tomllib.loads(text)["scenes"], name=name)


def parse_scene_rules(given: Any, *, name: str) -> SceneRules:
    """The rules of a table.

    Args:
        given: What TOML makes of the table [scenes].
        name: Of the file.

    Raises:
        BadRules: A key is missing, unknown or has a value that it cannot have.
    """
    where = f"[scenes] of the pairing rules {name}"
    keys = {field.name for field in fields(SceneRules)} - {"name", "sha256"}
    if not isinstance(given, dict) or given.keys() != keys:
        wrong = sorted(given.keys() ^ keys) if isinstance(given, dict) else []
        raise BadRules(f"{where} has the keys {', '.join(sorted(keys))}; missing or unknown: {', '.join(wrong)}.")

    def check(is_right: bool, key: str, wanted: str) -> None:
        if not is_right:
            raise BadRules(f"{where}: {key} has to be {wanted}.")

    overlap = given["least_overlap"]
    check(
        _is_number(overlap) and LEAST_OVERLAP <= overlap <= 1,
        "least_overlap",
        f"a number from {LEAST_OVERLAP:g}, below which two scenes are of two places, to 1",
    )
    days = given["interval_days"]
    is_range = (
        isinstance(days, list)
        and len(days) == 2
        and all(_is_number(one) and one >= 0 for one in days)
        and (days[1] == 0 or days[0] <= days[1])
    )
    check(is_range, "interval_days", "two numbers of days, the smaller first, 0 for an open end")
    season = given["season_days"]
    check(_is_number(season) and 0 <= season <= YEAR / 2, "season_days", "a number of days from 0 to 182")
    groups = given["sensor_groups"]
    is_groups = isinstance(groups, list) and all(
        isinstance(group, list) and group and all(isinstance(one, str) for one in group) for group in groups
    )
    check(is_groups, "sensor_groups", 'a list of lists, such as [["Landsat 8", "Landsat 9"]]')
    cloud = given["cloud_percent"]
    check(_is_number(cloud) and 0 <= cloud <= 100, "cloud_percent", "a number from 0 to 100")
    check(given["prior"] in _PRIORS, "prior", " or ".join(map(repr, _PRIORS)))
    return SceneRules(
        name=name,
        sha256=hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest(),
        least_overlap=float(overlap),
        interval_days=(float(days[0]), float(days[1])),
        season_days=float(season),
        sensor_groups=tuple(frozenset(group) for group in groups),
        cloud_percent=float(cloud),
        prior=given["prior"],
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
