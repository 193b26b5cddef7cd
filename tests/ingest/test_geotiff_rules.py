"""Scenes are paired by the rules of a file; every candidate has its verdict, and every reason code occurs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.acquisition import Acquisition
from ingest.errors import BadRules
from ingest.geotiff.pair import explain, pair_scenes
from ingest.geotiff.place import assign_places
from ingest.geotiff.rules import BUILT_IN, SceneRules, load_scene_rules
from ingest.pair import chains
from ingest.rules import load_rules, parse_rules
from tests.ingest.test_geotiff_pair import _codes, _names, _pair, _scene

FOLDER = Path(__file__).parents[2] / "ingest"
DEFAULT = (FOLDER / "geotiff/rules_default.toml").read_text(encoding="utf-8")
RADIOLOGY = (FOLDER / "dicom/rules_default.toml").read_text(encoding="utf-8")


def changed(**values: Any) -> str:
    """The default rules with other values, as TOML."""
    text = DEFAULT
    for key, value in values.items():
        (line,) = [one for one in DEFAULT.splitlines() if one.startswith(f"{key} = ")]
        written = f'"{value}"' if isinstance(value, str) else str(value)
        text = text.replace(line, f"{key} = {written}")
    return text


def rules(**values: Any) -> SceneRules:
    return parse_rules(changed(**values), name="agency.toml").scenes


def of(scene: Acquisition, **attributes: str) -> Acquisition:
    return replace(scene, attributes={**scene.attributes, **attributes})


def found(scenes: Sequence[Acquisition], **values: Any) -> set[tuple[str, str]]:
    return _names(pair_scenes(assign_places(scenes), rules(**values)))


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_rules_can_be_read_and_leave_radiology_alone(name: str) -> None:
    both = load_rules(name)

    assert both.scenes.name == name
    assert both.radiology == load_rules("default").radiology
    assert load_rules("same-view").scenes == load_rules("default").scenes


def test_the_default_rules_are_those_of_no_rules() -> None:
    scenes = [_scene(number, day=day) for number, day in enumerate((0, 5, 400))]

    assert pair_scenes(assign_places(scenes), load_scene_rules("default")) == _pair(scenes)


def test_a_prior_may_be_neither_too_recent_nor_too_old() -> None:
    scenes = [_scene(number, day=day) for number, day in ((1, 0), (2, 50), (3, 55), (4, 300))]

    pairing = pair_scenes(assign_places(scenes), rules(interval_days=[10, 100]))

    assert _names(pairing) == {("001.tif", "002.tif"), ("001.tif", "003.tif")}
    assert _codes(pairing)["004.tif"] == "NO_PRIOR"
    assert "than the rules allow" in next(one.reason for one in pairing.unpaired if one.item == "004.tif")
    assert "By the pairing rules agency.toml" in pairing.pairs[0].reason


def test_with_the_same_season_summer_is_compared_with_summer() -> None:
    # January 2020, July 2020, January 2021, July 2021
    scenes = [_scene(number, day=day) for number, day in ((1, 0), (2, 182), (3, 366), (4, 550))]

    pairing = pair_scenes(assign_places(scenes), load_scene_rules("same-season"))

    assert _names(pairing) == {("001.tif", "003.tif"), ("002.tif", "004.tif")}
    assert _codes(pairing) == {"001.tif": "NO_PRIOR", "002.tif": "NO_PRIOR"}
    assert len(chains(pairing.pairs)) == 2
    assert len(chains(_pair(scenes).pairs)) == 1


@given(days=st.floats(0, 20_000), most=st.floats(1, 182))
def test_seasons_go_round_the_year(days: float, most: float) -> None:
    season = rules(season_days=most)

    assert season.season_allowed(days) == season.season_allowed(days + 365.25) or abs(days % 365.25 - most) < 1e-6
    assert season.season_allowed(10 * 365.25)
    assert not season.season_allowed(10.5 * 365.25) or most > 182


def test_which_of_several_passes_is_the_prior_can_be_asked_for() -> None:
    scenes = [_scene(number, day=day) for number, day in ((1, 0), (2, 300), (3, 650), (4, 700))]

    assert ("003.tif", "004.tif") in found(scenes)
    assert found(scenes, prior="oldest") == {("001.tif", f"00{number}.tif") for number in (2, 3, 4)}
    assert {("002.tif", "003.tif"), ("002.tif", "004.tif")} <= found(scenes, prior="one year earlier")


def test_more_overlap_can_be_demanded() -> None:
    scenes = [_scene(1, day=0), _scene(2, day=9, east=30)]

    assert found(scenes) == {("001.tif", "002.tif")}
    pairing = pair_scenes(assign_places(scenes), rules(least_overlap=0.9))
    assert _codes(pairing)["002.tif"] == "NO_OVERLAP"
    assert "at most 70%" in pairing.unpaired[1].reason


def test_satellites_of_one_group_are_compared_and_others_are_not() -> None:
    scenes = [
        of(_scene(1, day=0), platform="Sentinel-2A"),
        of(_scene(2, day=10), platform="Landsat 8"),
        of(_scene(3, day=20), platform="Sentinel-2B"),
        _scene(4, day=30),
    ]
    groups = [["Sentinel-2A", "Sentinel-2B"], ["Landsat 8", "Landsat 9"]]

    pairing = pair_scenes(assign_places(scenes), rules(sensor_groups=groups))

    assert _names(pairing) == {("001.tif", "003.tif")}
    assert _codes(pairing) == {"001.tif": "NO_PRIOR", "002.tif": "NO_COMPARABLE_VIEW", "004.tif": "NO_COMPARABLE_VIEW"}
    assert len(found(scenes)) == 3


def test_scenes_that_state_too_much_cloud_are_passed_over_and_refused() -> None:
    clear, cloudy, unstated, late = (
        of(_scene(1, day=0), cloud_cover="3"),
        of(_scene(2, day=10), cloud_cover="98"),
        _scene(3, day=20),
        of(_scene(4, day=30), cloud_cover="60.5"),
    )

    pairing = pair_scenes(assign_places([clear, cloudy, unstated, late]), rules(cloud_percent=60))
    only_cloudy = pair_scenes(assign_places([cloudy, unstated]), rules(cloud_percent=60))

    assert _names(pairing) == {("001.tif", "003.tif")}
    assert _codes(pairing) == {"001.tif": "NO_PRIOR", "002.tif": "TOO_CLOUDY", "004.tif": "TOO_CLOUDY"}
    assert set(_codes(only_cloudy).values()) == {"TOO_CLOUDY"}


def test_every_candidate_is_told_with_its_verdict() -> None:
    scenes = [
        _scene(1, day=None),
        of(_scene(2, day=0), platform="Landsat 8"),
        of(_scene(3, day=100), platform="Sentinel-2A"),
        of(_scene(4, day=300), platform="Sentinel-2A", cloud_cover="90"),
        of(_scene(5, day=340, group="grey:B04 integer"), platform="Sentinel-2A"),
        of(_scene(6, day=345, east=70), platform="Sentinel-2A"),
        of(_scene(7, day=350), platform="Sentinel-2A"),
        of(_scene(8, day=365, pixels=3), platform="Sentinel-2A"),
        of(_scene(9, day=400), platform="Sentinel-2A"),
        of(_scene(10, day=400.01), platform="Sentinel-2A"),
        of(_scene(11, day=410), platform="Sentinel-2A"),
        of(_scene(12, day=35), platform="Sentinel-2A"),
        of(_scene(13, day=40, east=100), platform="Sentinel-2A"),
    ]
    places = assign_places(scenes)
    subject = next(one.subject for one in places if one.name == "009.tif")
    given_rules = rules(
        interval_days=[60, 380], season_days=60, cloud_percent=50, sensor_groups=[["Sentinel-2A", "Sentinel-2B"]]
    )

    lines = explain(places, subject, given_rules)

    starts = [number for number, line in enumerate(lines) if not line.startswith("  ")]
    at = next(number for number in starts if lines[number].startswith("009.tif"))
    until = min((number for number in starts if number > at), default=len(lines))
    verdicts = {line[2:9]: line.split("): ", 1)[1] for line in lines[at + 1 : until]}
    assert lines[at].startswith("009.tif (2021-02-04 10:00, Sentinel-2A, unknown product, rgb 8-bit): paired. ")
    assert verdicts == {
        "001.tif": "has no date.",
        "002.tif": "is of a satellite that the rules do not compare with this one.",
        "003.tif": "is of another season (300 days before).",
        "004.tif": "is of another season (100 days before).",
        "005.tif": "has other bands or another product.",
        "006.tif": "shares 30% of the smaller valid footprint, which is too little.",
        "007.tif": "is nearer or further in time than the rules allow (50 days before).",
        "008.tif": "holds the same picture as another scene.",
        "010.tif": "is of the same pass.",
        "011.tif": "is later.",
        "012.tif": "was taken.",
        "013.tif": "shares no valid ground.",
    }
    assert not any(one.startswith("006.tif") for one in (lines[number] for number in starts))
    cloudy = explain(places, subject, rules(cloud_percent=50))
    assert any(line.startswith("  004.tif") and "more cloud than the rules allow" in line for line in cloudy)
    # what is told of each scene is what pairing does with it
    pairing = pair_scenes(places, given_rules)
    told = {lines[number][:7]: lines[number].split("): ", 1)[1].split(".")[0] for number in starts}
    codes = _codes(pairing) | {pair.current.name: "paired" for pair in pairing.pairs}
    assert told == {name: codes[name] for name in told}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("scenes = 3", "has the keys"),
        ("[scenes]\nprior = 'oldest'", "missing or unknown: cloud_percent"),
        (changed(least_overlap=0.2), "least_overlap has to be a number from 0.5"),
        (changed(interval_days=[9, 3]), "interval_days has to be two numbers"),
        (changed(season_days=300), "season_days has to be"),
        (changed(sensor_groups=["Landsat 8"]), "sensor_groups has to be"),
        (changed(cloud_percent="some"), "cloud_percent has to be"),
        (changed(prior="latest"), "prior has to be 'most recent' or"),
        (DEFAULT + "surprise = 1\n", "missing or unknown: surprise"),
        (DEFAULT + "[other]\n", "nothing else"),
        ("", "at least one"),
        ("this is no TOML", "no TOML"),
    ],
)
def test_a_bad_file_is_told_key_and_allowed_values(text: str, told: str) -> None:
    with pytest.raises(BadRules, match=told) as caught:
        parse_rules(text, name="agency.toml")

    assert "agency.toml" in str(caught.value)


def test_one_file_may_hold_the_rules_of_both_domains_or_of_one() -> None:
    both = parse_rules(RADIOLOGY.replace('"preferred"', '"required"') + changed(prior="oldest"), name="x.toml")

    assert both.scenes.prior == "oldest"
    assert both.radiology.groups[0].same_view == "required"
    assert parse_rules(RADIOLOGY, name="x.toml").scenes == load_scene_rules("default")
    assert parse_rules(DEFAULT, name="x.toml").radiology == load_rules("default").radiology


def test_rules_that_are_not_there_are_told_without_the_path(tmp_path: Path) -> None:
    with pytest.raises(BadRules, match=r"absent\.toml cannot be read.*same-view, same-season") as caught:
        load_rules(str(tmp_path / "absent.toml"))

    assert str(tmp_path) not in str(caught.value)
