"""Pairing follows the rules of a file, and a bad file is told what is wrong with it."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.dicom.pair import pair_radiographs
from ingest.dicom.rules import BUILT_IN, load_rules, parse_rules
from ingest.errors import BadRules
from ingest.explain import explain
from ingest.geotiff.rules import load_scene_rules
from ingest.pair import chains
from ingest.rules import Rules
from tests.ingest.radiograph_files import an_entry

DEFAULT = (Path(__file__).parents[2] / "ingest/dicom/rules_default.toml").read_text(encoding="utf-8")


def day(number: float) -> datetime:
    return datetime(2020, 1, 1, 10) + timedelta(days=number)


def changed(old: str, new: str) -> str:
    assert old in DEFAULT
    return DEFAULT.replace(old, new, 1)


def pairs(text: str, *acquisitions: object) -> list[tuple[str, str]]:
    found = pair_radiographs(acquisitions, parse_rules(text, name="test.toml"))  # type: ignore[arg-type]
    return [(pair.prior.id, pair.current.id) for pair in found.pairs]


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_rules_can_be_read(name: str) -> None:
    rules = load_rules(name)

    assert rules.name == name
    assert {modality for group in rules.groups for modality in group.modalities} >= {"CR", "DX", "CT", "MR"}


def test_the_second_built_in_rules_never_compare_ap_with_pa() -> None:
    history = (an_entry(1, time=day(1), view="PA"), an_entry(2, time=day(2), view="AP"), an_entry(3, time=day(3)))

    strict = pair_radiographs(history, load_rules("same-view"))

    assert [(pair.prior.id, pair.current.id) for pair in strict.pairs] == [("1.2.1", "1.2.3")]
    assert {one.item: one.code for one in strict.unpaired} == {"1.2.1": "NO_PRIOR", "1.2.2": "NO_COMPARABLE_VIEW"}
    assert "By the pairing rules same-view" in strict.pairs[0].reason
    assert [(pair.prior.id, pair.current.id) for pair in pair_radiographs(history).pairs] == [
        ("1.2.1", "1.2.2"),
        ("1.2.1", "1.2.3"),
    ]


def test_with_views_ignored_the_most_recent_is_taken() -> None:
    text = changed('same_view = "preferred"', 'same_view = "ignored"')

    assert pairs(text, an_entry(1, time=day(1)), an_entry(2, time=day(2), view="AP"), an_entry(3, time=day(3))) == [
        ("1.2.1", "1.2.2"),
        ("1.2.2", "1.2.3"),
    ]


def test_with_views_ignored_the_like_image_of_the_study_is_taken() -> None:
    text = changed('same_view = "preferred"', 'same_view = "ignored"')
    prior = (an_entry(1, time=day(1), study="a"), an_entry(2, time=day(1), view="AP", study="a"))

    assert ("1.2.2", "1.2.3") in pairs(text, *prior, an_entry(3, time=day(2), view="AP"))


def test_the_oldest_prior_can_be_asked_for() -> None:
    text = changed("abstract_prior_value = 1", "abstract_prior_value = -1")

    assert pairs(text, *(an_entry(number, time=day(number)) for number in (1, 2, 3))) == [
        ("1.2.1", "1.2.2"),
        ("1.2.1", "1.2.3"),
    ]


def test_a_prior_may_be_neither_too_recent_nor_too_old() -> None:
    rules = parse_rules(changed("relative_time_days = [0, 0]", "relative_time_days = [1, 100]"), name="test.toml")
    history = [an_entry(number, time=day(at)) for number, at in ((1, 0), (2, 50), (3, 50.5), (4, 300))]

    found = pair_radiographs(history, rules)

    assert [(pair.prior.id, pair.current.id) for pair in found.pairs] == [("1.2.1", "1.2.2"), ("1.2.1", "1.2.3")]
    last = next(one for one in found.unpaired if one.item == "1.2.4")
    assert last.code == "NO_PRIOR"
    assert "than the rules allow" in last.reason
    lines = explain(history, "patient:1", Rules(radiology=rules, scenes=load_scene_rules("default")))
    assert sum(line.startswith("  ") and "nearer or further" in line for line in lines) == 4


def test_a_synonym_makes_two_body_parts_one() -> None:
    ribs, chest = an_entry(1, time=day(1), body_part="RIBS"), an_entry(2, time=day(2))

    assert pairs(DEFAULT, ribs, chest) == [("1.2.1", "1.2.2")]
    assert pairs(changed('RIBS = "CHEST", ', ""), ribs, chest) == []


def test_a_modality_that_no_group_names_has_a_code_of_its_own() -> None:
    found = pair_radiographs([an_entry(1, time=day(1), modality="MG"), an_entry(2, time=day(2), modality="MG")])

    assert {one.code for one in found.unpaired} == {"NO_RULE"}
    assert "MG" in found.unpaired[0].reason


def test_modalities_of_one_group_are_compared_and_those_of_two_are_not() -> None:
    computed, digital = an_entry(1, time=day(1)), an_entry(2, time=day(2), modality="DX")

    assert pairs(DEFAULT, computed, digital) == [("1.2.1", "1.2.2")]
    assert pairs(changed('modalities = ["CR", "DX", "RF", "XR"]', 'modalities = ["CR"]'), computed, digital) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("group = 3", "at least one"),
        ("[[group]]\nname = 'x'", "missing or unknown: abstract_prior_value"),
        ("this is no TOML", "no TOML"),
        (changed('same_view = "preferred"', 'same_view = "often"'), "same_view has to be 'preferred' or"),
        (changed("abstract_prior_value = 1", "abstract_prior_value = 2"), "abstract_prior_value has to be 1 or -1"),
        (changed("relative_time_days = [0, 0]", "relative_time_days = [9, 3]"), "relative_time_days has to be two"),
        (changed('"RF", "XR"]', "7]"), "modalities has to be"),
        (changed("laterality_must_match = true", 'laterality_must_match = "yes"'), "true or false"),
        (changed('comparable_views = [["AP", "PA"]]', 'comparable_views = ["AP"]'), "comparable_views has to be"),
        (DEFAULT + "\n[other]\nx = 1\n", "nothing else"),
        (DEFAULT + '\nsurprise = "x"\n', "missing or unknown: surprise"),
    ],
)
def test_a_bad_file_is_told_key_and_allowed_values(text: str, told: str) -> None:
    with pytest.raises(BadRules, match=told) as caught:
        parse_rules(text, name="hospital.toml")

    assert "hospital.toml" in str(caught.value)


@given(
    days=st.lists(st.integers(0, 2000), min_size=1, max_size=8, unique=True),
    views=st.lists(st.sampled_from(["PA", "AP", "LATERAL"]), min_size=8, max_size=8),
    moved=st.integers(1, 5000),
    name=st.sampled_from(sorted(BUILT_IN)),
)
def test_moving_all_dates_of_a_patient_changes_no_pair(
    days: list[int], views: list[str], moved: int, name: str
) -> None:
    def found(offset: int) -> list[tuple[str, str]]:
        history = [an_entry(number, time=day(at + offset), view=views[number]) for number, at in enumerate(days)]
        stranger = an_entry(99, time=day(days[0]), subject="patient:2")
        made = pair_radiographs([*history, stranger], load_rules(name)).pairs
        assert all(pair.prior.time < pair.current.time for pair in made)  # type: ignore[operator]
        return [(pair.prior.id, pair.current.id) for pair in made]

    assert found(0) == found(moved)


def test_chains_follow_one_study_to_the_next() -> None:
    history = [an_entry(number, time=day(number)) for number in (1, 2, 3)]
    history += [an_entry(number, time=day(number), subject="patient:2") for number in (11, 12)]

    found = chains(pair_radiographs(history).pairs)

    assert [[pair.current.id for pair in chain] for chain in found] == [["1.2.2", "1.2.3"], ["1.2.12"]]


def test_a_study_that_is_prior_of_two_begins_a_second_chain() -> None:
    history = [
        an_entry(1, time=day(1), view="PA"),
        an_entry(2, time=day(2), view="AP"),
        an_entry(3, time=day(3), view="PA"),
        an_entry(4, time=day(4), view="PA"),
    ]

    found = chains(pair_radiographs(history).pairs)

    assert [[(pair.prior.id, pair.current.id) for pair in chain] for chain in found] == [
        [("1.2.1", "1.2.2")],
        [("1.2.1", "1.2.3"), ("1.2.3", "1.2.4")],
    ]
