"""Findings of parts become findings of the whole: one for each thing, at its place on the map."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.change import Change
from reports.errors import UnknownTerm
from reports.finding import Certainty, Finding
from reports.mosaic import Box, PartFindings, merge_parts
from reports.vocabulary import FINDINGS, PLACES, Domain

SCENE = Domain.SATELLITE


def building(place: str, change: Change = Change.NEW, certainty: Certainty = Certainty.CERTAIN) -> Finding:
    return Finding(domain=SCENE, finding="building", place=place, change=change, certainty=certainty)


def part(top: float, left: float, size: float, *findings: Finding) -> PartFindings:
    return PartFindings(box=Box(top=top, left=left, bottom=top + size, right=left + size), findings=findings)


FINDING = st.builds(
    Finding,
    domain=st.just(SCENE),
    finding=st.sampled_from(FINDINGS[SCENE]),
    place=st.sampled_from(PLACES[SCENE]),
    change=st.sampled_from([Change.NEW, Change.WORSE, Change.STABLE, Change.IMPROVED, Change.RESOLVED]),
    certainty=st.sampled_from(Certainty),
)


@given(findings=st.lists(FINDING, max_size=6, unique_by=lambda one: (one.finding, one.place)))
def test_the_only_part_says_of_the_whole_what_it_says_of_itself(findings: list[Finding]) -> None:
    whole = merge_parts((100, 100), [part(0, 0, 100, *findings)])

    assert sorted(whole) == sorted(findings)


def test_what_two_overlapping_parts_see_is_one_thing_with_the_higher_certainty() -> None:
    west = part(0, 0, 100, building("north-east", certainty=Certainty.POSSIBLE))
    east = part(0, 88, 100, building("north-west"))

    # the box around both runs from column 50 to 138 of 190
    assert merge_parts((100, 190), [west, east]) == (building("north-west"),)


def test_the_middle_of_the_box_around_all_tells_the_place() -> None:
    parts = [part(0, 0, 100, building("south-east")), part(88, 88, 100, building("north-west"))]

    assert merge_parts((188, 188), parts) == (building("south-east"),)


def test_things_that_do_not_share_ground_stay_apart() -> None:
    parts = [part(0, 0, 100, building("north-west")), part(0, 200, 100, building("north-east"))]

    assert merge_parts((100, 300), parts) == (building("north-west"), building("north-east"))


def test_things_that_changed_differently_stay_apart() -> None:
    parts = [part(0, 0, 100, building("north-east")), part(0, 50, 100, building("north-west", Change.RESOLVED))]

    assert [finding.change for finding in merge_parts((100, 150), parts)] == [Change.NEW, Change.RESOLVED]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_chain_of_parts_is_merged_whatever_their_order(order: tuple[int, ...]) -> None:
    parts = [part(0, left, 100, building("north-east"), building("north-west")) for left in (0, 40, 80)]

    # halves of the parts: 0-50 and 50-100, 40-90 and 90-140, 80-130 and 130-180: each shares ground with the next
    assert merge_parts((100, 180), [parts[number] for number in order]) == (building("north-east"),)


def test_a_part_of_a_radiograph_has_no_place_on_a_map() -> None:
    fracture = Finding(domain=Domain.RADIOLOGY, finding="fracture", place="left", change=Change.NEW)

    with pytest.raises(UnknownTerm, match="no place in a scene"):
        merge_parts((100, 100), [part(0, 0, 100, fracture)])
