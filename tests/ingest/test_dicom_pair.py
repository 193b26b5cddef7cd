from collections import Counter
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.acquisition import Acquisition
from ingest.dicom.compare import Verdict, days_before, judge, same_view
from ingest.dicom.pair import pair_radiographs
from ingest.dicom.rules import PairingRules, RuleGroup, load_rules
from ingest.explain import explain
from ingest.pairing import Pair, Pairing
from tests.ingest.radiograph_files import an_entry


def day(number: int, hour: int = 10) -> datetime:
    """A moment of January 2020."""
    return datetime(2020, 1, number, hour)


def the_pair(*acquisitions: Acquisition) -> Pair:
    """The one pair that these give."""
    (pair,) = pair_radiographs(acquisitions).pairs
    return pair


def codes(pairing: Pairing) -> dict[str, str]:
    """Code of everything that gives no pair."""
    return {refusal.item: refusal.code for refusal in (*pairing.unpaired, *pairing.unused)}


def test_the_most_recent_earlier_study_is_the_prior() -> None:
    first, second, third = (an_entry(number, time=day(number)) for number in (1, 2, 3))

    pairing = pair_radiographs([third, first, second])

    assert [(pair.prior.id, pair.current.id) for pair in pairing.pairs] == [("1.2.1", "1.2.2"), ("1.2.2", "1.2.3")]
    assert codes(pairing) == {"1.2.1": "NO_PRIOR"}
    assert pairing.pairs[0].interval_days == 1.0


def test_two_patients_are_never_mixed() -> None:
    pairing = pair_radiographs([an_entry(1, time=day(1)), an_entry(2, time=day(2), subject="patient:2")])

    assert not pairing.pairs
    assert set(codes(pairing).values()) == {"NO_PRIOR"}


def test_the_order_is_that_of_time_and_not_of_ids_or_names() -> None:
    pair = the_pair(an_entry(9, time=day(1)), an_entry(1, time=day(2)))

    assert (pair.prior.id, pair.current.id) == ("1.2.9", "1.2.1")


def test_a_frontal_is_never_compared_with_a_lateral() -> None:
    pairing = pair_radiographs([an_entry(1, time=day(1), view="LATERAL"), an_entry(2, time=day(2), view="AP")])

    assert codes(pairing) == {"1.2.1": "NO_PRIOR", "1.2.2": "NO_COMPARABLE_VIEW"}


def test_ap_and_pa_are_compared_with_a_warning() -> None:
    pair = the_pair(an_entry(1, time=day(1), view="AP"), an_entry(2, time=day(2), view="PA"))

    assert any("heart" in warning for warning in pair.warnings)


def test_the_same_view_is_preferred_to_a_more_recent_one() -> None:
    views = {1: "PA", 2: "AP", 3: "PA"}
    pairs = pair_radiographs([an_entry(number, time=day(number), view=view) for number, view in views.items()]).pairs

    assert {pair.current.id: pair.prior.id for pair in pairs} == {"1.2.2": "1.2.1", "1.2.3": "1.2.1"}


def test_an_unknown_view_is_not_taken_for_pa() -> None:
    pairing = pair_radiographs([an_entry(1, time=day(1), view="PA"), an_entry(2, time=day(2), view="")])

    assert codes(pairing)["1.2.2"] == "NO_COMPARABLE_VIEW"


def test_unknown_views_are_compared_with_a_warning_if_labelled_alike() -> None:
    pair = the_pair(an_entry(1, time=day(1), view=""), an_entry(2, time=day(2), view=""))
    oblique = an_entry(3, time=day(1), view="", view_stated="RAO")

    assert any("views are unknown" in warning for warning in pair.warnings)
    assert codes(pair_radiographs([oblique, an_entry(2, time=day(2), view="")]))["1.2.2"] == "NO_COMPARABLE_VIEW"


def test_another_body_part_is_no_prior() -> None:
    pairing = pair_radiographs([an_entry(1, time=day(1), body_part="HAND"), an_entry(2, time=day(2))])

    assert codes(pairing) == {"1.2.1": "NO_PRIOR", "1.2.2": "NO_SAME_BODY_PART"}


def test_parts_that_findings_do_not_cover_are_refused_as_pairs() -> None:
    pairing = pair_radiographs([an_entry(number, time=day(number), body_part="HAND") for number in (1, 2)])

    assert not pairing.pairs
    assert [(refusal.level, refusal.code) for refusal in pairing.unpaired] == [
        ("acquisition", "NO_PRIOR"),
        ("pair", "UNSUPPORTED_BODY_PART"),
    ]


def test_an_image_without_date_is_refused_and_makes_a_first_study_uncertain() -> None:
    pairing = pair_radiographs([an_entry(1), an_entry(2, time=day(2)), an_entry(3, time=day(3))])

    assert codes(pairing) == {"1.2.1": "DATE_UNKNOWN", "1.2.2": "DATE_UNKNOWN"}
    (pair,) = pairing.pairs
    assert any("no date" in warning for warning in pair.warnings)


def test_an_undated_lateral_does_not_matter_to_a_frontal() -> None:
    pairing = pair_radiographs([an_entry(1, view="LATERAL"), an_entry(2, time=day(2))])

    assert codes(pairing) == {"1.2.1": "DATE_UNKNOWN", "1.2.2": "NO_PRIOR"}


def test_removed_dates_have_their_own_code() -> None:
    removed = [an_entry(number, longitudinal="REMOVED") for number in (1, 2)]

    assert codes(pair_radiographs(removed)) == {"1.2.1": "DATES_REMOVED", "1.2.2": "DATES_REMOVED"}
    assert codes(pair_radiographs([removed[0], an_entry(3, time=day(3))]))["1.2.3"] == "DATES_REMOVED"


def test_two_studies_of_one_day_are_ordered_by_the_clock() -> None:
    pair = the_pair(an_entry(2, time=day(1, 8)), an_entry(1, time=day(1, 20)))

    assert pair.prior.id == "1.2.2"
    assert pair.interval_days == pytest.approx(0.5)


def test_two_studies_of_one_day_without_clock_are_a_tie() -> None:
    one, other = (an_entry(number, time=day(6, 0), time_precision="day") for number in (1, 2))

    pairing = pair_radiographs([one, other])

    assert codes(pairing) == {"1.2.1": "DATE_UNKNOWN", "1.2.2": "DATE_UNKNOWN"}
    assert "nothing tells which was first" in pairing.unpaired[0].reason


def test_a_day_without_clock_is_not_midnight() -> None:
    without_clock = an_entry(1, time=day(6, 0), time_precision="day")

    pairing = pair_radiographs([without_clock, an_entry(2, time=day(6, 12))])

    assert codes(pairing) == {"1.2.1": "DATE_UNKNOWN", "1.2.2": "DATE_UNKNOWN"}


def test_a_tie_among_priors_is_declared_and_decided_by_rule() -> None:
    tied = [an_entry(number, time=day(6, 0), time_precision="day") for number in (1, 2)]
    first, current = an_entry(3, time=day(1)), an_entry(4, time=day(7))

    pairs = {pair.current.id: pair for pair in pair_radiographs([*tied, first, current]).pairs}

    assert pairs["1.2.1"].prior.id == pairs["1.2.2"].prior.id == "1.2.3"
    assert any("same time" in warning for warning in pairs["1.2.1"].warnings)
    assert pairs["1.2.4"].prior.id == "1.2.1"
    assert any("equally recent" in warning for warning in pairs["1.2.4"].warnings)


def test_times_with_offset_are_compared_as_moments() -> None:
    one = an_entry(1, time=datetime(2020, 1, 1, 12, tzinfo=UTC))
    other = an_entry(2, time=datetime(2020, 1, 1, 13, tzinfo=UTC) + timedelta(hours=1))

    assert the_pair(one, other).interval_days == pytest.approx(2 / 24)


def test_a_time_with_and_one_without_offset_are_compared_locally_and_doubted() -> None:
    one = an_entry(1, time=datetime(2020, 1, 1, 12, tzinfo=UTC))
    other = an_entry(2, time=datetime(2020, 1, 1, 13))

    pair = the_pair(one, other)

    assert pair.interval_days == pytest.approx(1 / 24)
    assert any("time zone" in warning for warning in pair.warnings)


def test_a_study_is_reported_on_by_its_pa_and_the_rest_is_not_selected() -> None:
    prior = an_entry(1, time=day(1))
    views = {2: "LATERAL", 3: "AP", 4: "PA"}
    study = [an_entry(number, time=day(2), view=view, study="1.3.99") for number, view in views.items()]

    pairing = pair_radiographs([prior, *study])

    assert [pair.current.id for pair in pairing.pairs] == ["1.2.4"]
    assert {refusal.item: refusal.code for refusal in pairing.unused} == {
        "1.2.2": "NOT_SELECTED",
        "1.2.3": "NOT_SELECTED",
    }


def test_images_of_one_study_are_not_each_others_prior() -> None:
    repeat = [an_entry(number, time=day(1, 10 + number), study="1.3.9") for number in (1, 2)]

    assert not pair_radiographs(repeat).pairs


def test_a_lateral_pair_is_made_only_without_a_frontal() -> None:
    study = [an_entry(number, time=day(1), view=view, study="1.3.8") for number, view in ((1, "PA"), (2, "LATERAL"))]
    pair = the_pair(*study, an_entry(3, time=day(2), view="LATERAL"))

    assert (pair.prior.id, pair.current.id) == ("1.2.2", "1.2.3")


def test_of_a_repeat_the_later_image_is_taken_on_both_sides() -> None:
    first = [an_entry(number, time=day(1, number), study="1.3.100") for number in (8, 9)]
    second = [an_entry(number, time=day(2, number), study="1.3.200") for number in (11, 12)]

    pair = the_pair(*first, *second)

    assert (pair.prior.id, pair.current.id) == ("1.2.9", "1.2.12")


def test_an_image_for_display_is_preferred_to_one_for_processing() -> None:
    raw = an_entry(3, time=day(2, 12), study="1.3.200", presentation_intent="FOR PROCESSING")
    shown = an_entry(2, time=day(2, 11), study="1.3.200", presentation_intent="FOR PRESENTATION")

    assert the_pair(an_entry(1, time=day(1)), raw, shown).current.id == "1.2.2"


def test_one_picture_stored_as_two_studies_is_a_duplicate() -> None:
    one, other = (an_entry(number, time=day(number), pixel_sha256="f" * 64) for number in (1, 2))

    pairing = pair_radiographs([one, other])

    assert not pairing.pairs
    assert [(refusal.level, refusal.code) for refusal in pairing.unpaired] == [
        ("acquisition", "NO_PRIOR"),
        ("pair", "DUPLICATE"),
    ]


def test_another_birth_date_under_one_id_is_an_identity_conflict() -> None:
    one, other = an_entry(1, time=day(1), birth_key="a"), an_entry(2, time=day(2), birth_key="b")

    assert codes(pair_radiographs([one, other]))["1.2.2"] == "IDENTITY_CONFLICT"


def test_another_name_alone_is_a_warning_and_with_another_sex_a_conflict() -> None:
    one = an_entry(1, time=day(1), name_key="a", sex_key="f")
    renamed = an_entry(2, time=day(2), name_key="b", sex_key="f")
    stranger = an_entry(3, time=day(2), name_key="b", sex_key="m")

    assert any("names differ" in warning for warning in the_pair(one, renamed).warnings)
    assert codes(pair_radiographs([one, stranger]))["1.2.3"] == "IDENTITY_CONFLICT"


def test_with_two_people_under_one_id_each_gets_their_own_prior() -> None:
    people = {1: "a", 2: "b", 3: "a", 4: "b"}
    pairing = pair_radiographs([an_entry(number, time=day(number), birth_key=key) for number, key in people.items()])

    assert {pair.current.id: pair.prior.id for pair in pairing.pairs} == {"1.2.3": "1.2.1", "1.2.4": "1.2.2"}
    assert all(any("another person" in warning for warning in pair.warnings) for pair in pairing.pairs)


def test_doubts_of_the_index_reach_the_pair() -> None:
    pair = the_pair(an_entry(1, time=day(1), warnings="The view label lies."), an_entry(2, time=day(2)))

    assert "About the prior: The view label lies." in pair.warnings


def test_explain_names_every_candidate_and_why_it_was_left() -> None:
    lines = explain(
        [
            an_entry(1, time=day(1)),
            an_entry(2, time=day(2), view="LATERAL"),
            an_entry(3, time=day(3)),
            an_entry(4, time=day(4), subject="patient:2"),
        ],
        "patient:1",
    )

    start = next(at for at, line in enumerate(lines) if line.startswith("3.dcm "))
    assert "paired" in lines[start]
    assert lines[start + 1].endswith("was taken.")
    assert lines[start + 2].endswith("was taken from another side.")
    assert not any("4.dcm" in line for line in lines)


def test_explain_says_what_another_comparable_study_lacks() -> None:
    history = (
        an_entry(1, time=day(1)),
        an_entry(2, time=day(2)),
        an_entry(3, time=day(2, hour=11), study="1.3.2"),
        an_entry(4, time=day(3), view="AP"),
        an_entry(5, time=day(5)),
    )
    lost = an_entry(6, time=day(4))

    lines = explain(history, "patient:1", unreadable=[lost])

    start = next(at for at, line in enumerate(lines) if line.startswith("5.dcm "))
    told = {line.split()[0]: line.partition("): ")[2] for line in lines[start + 1 : start + 6]}
    assert told == {
        "1.dcm": "is comparable, but older than the prior.",
        "2.dcm": "is comparable, but another image of its study is more like the current.",
        "3.dcm": "was taken.",
        "4.dcm": "is comparable, but shows another view than the current and its prior.",
        "6.dcm": "is comparable, but its pixels cannot be read.",
    }


def test_an_interval_from_dates_of_which_only_one_was_shifted_is_doubted() -> None:
    known, shifted = an_entry(1, time=day(1)), an_entry(2, time=day(2), longitudinal="MODIFIED")

    assert any("order and interval are uncertain" in warning for warning in the_pair(known, shifted).warnings)
    both = the_pair(an_entry(1, time=day(1), longitudinal="MODIFIED"), shifted)
    assert not any("uncertain" in warning for warning in both.warnings)


def test_another_person_long_ago_is_told_though_nearer_images_were_enough() -> None:
    own = [an_entry(number, time=day(number), birth_key="a") for number in (20, 25)]
    other = an_entry(1, time=day(1), birth_key="b")

    assert any("seems to be of another person" in warning for warning in the_pair(*own, other).warnings)


OFFSETS = st.sampled_from([None, timezone(timedelta(hours=-12)), UTC, timezone(timedelta(hours=14))])
VISITS = st.tuples(st.integers(0, 400), OFFSETS, st.sampled_from(["PA", "AP", "LATERAL"]), st.booleans())


@given(st.lists(VISITS, max_size=12), st.booleans())
def test_the_prior_is_the_one_that_a_look_at_all_images_gives(visits: list[Any], oldest: bool) -> None:
    history = [
        an_entry(
            number,
            time=datetime(2020, 1, 1, tzinfo=offset) + timedelta(hours=3 * hours),
            view=view,
            **({"time_precision": "day"} if by_day else {}),
        )
        for number, (hours, offset, view, by_day) in enumerate(visits)
    ]
    group = load_rules("default").groups[0]
    group = replace(group, abstract_prior_value=-1 if oldest else 1)
    rules = PairingRules(name="test", sha256="", groups=(group,))

    pairing = pair_radiographs(history, rules)

    found = {pair.current.id: pair.prior.id for pair in pairing.pairs}
    for current in history:
        comparable = [one for one in history if judge(one, current, rules) is Verdict.COMPARABLE]
        sign = -1 if oldest else 1
        nearest = min(
            comparable,
            key=lambda one, of=current: (not same_view(one, of), sign * (days_before(one, of) or 0), one.id),
            default=None,
        )
        assert found.get(current.id) == (nearest and nearest.id)


class CountingGroup(RuleGroup):
    """Rules that count how often it was asked for what."""

    asked: ClassVar[Counter[str]] = Counter()

    def age_allowed(self, days: float) -> bool:
        self.asked["age"] += 1
        return super().age_allowed(days)

    def views_comparable(self, one: str, other: str) -> bool:
        self.asked["views"] += 1
        return super().views_comparable(one, other)


def test_a_phantom_with_thousands_of_studies_is_not_compared_each_with_each() -> None:
    built_in = load_rules("default").groups[0]
    group = CountingGroup(**{one.name: getattr(built_in, one.name) for one in fields(RuleGroup)})
    rules = PairingRules(name="default", sha256="", groups=(group,))
    views = ("PA", "PA", "AP", "LATERAL")
    phantom = [an_entry(number, time=day(1) + timedelta(days=number), view=views[number % 4]) for number in range(2000)]
    CountingGroup.asked.clear()

    pairing = pair_radiographs(phantom, rules)

    assert len(pairing.pairs) == 2000 - 2
    # A handful for each image; each with each would be two million.
    assert 2000 <= CountingGroup.asked["age"] < 20 * 2000
    assert CountingGroup.asked["views"] < 20 * 2000
