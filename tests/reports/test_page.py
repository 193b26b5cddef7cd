import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.change import Change
from reports.errors import UnusableImage
from reports.f1 import Level, PairFindings, score
from reports.finding import Certainty, Finding
from reports.page import Mark, PagePair, mark_findings
from reports.vocabulary import Domain

PIXEL = "data:image/png;base64,AAAA"

one = st.builds(
    Finding,
    domain=st.just(Domain.SATELLITE),
    finding=st.sampled_from(["road", "water"]),
    place=st.sampled_from(["north-west", "south-east"]),
    change=st.sampled_from(Change),
    certainty=st.sampled_from(Certainty),
)
side = st.lists(one, max_size=4, unique_by=lambda item: (item.finding, item.place)).map(tuple)


def road(change: Change, place: str = "north-west", certainty: Certainty = Certainty.CERTAIN) -> Finding:
    return Finding(domain=Domain.SATELLITE, finding="road", place=place, change=change, certainty=certainty)


def card(**changes: object) -> PagePair:
    fields: dict[str, object] = {
        "id": "p", "domain": Domain.SATELLITE, "subject": "place:1", "prior_image": PIXEL, "current_image": PIXEL,
        "prior_time": "", "current_time": "", "interval_days": None, "findings": (), "text": "",
    }  # fmt: skip
    return PagePair(**{**fields, **changes})


@given(side, side)
@settings(deadline=None)
def test_marks_add_up_to_the_exact_score(predicted: tuple[Finding, ...], reference: tuple[Finding, ...]) -> None:
    marks = [row.mark for row in mark_findings(predicted, reference)]

    micro = score(Domain.SATELLITE, [PairFindings(predicted, reference)], Level.EXACT).micro

    assert marks.count(Mark.MATCHED) == micro.tp
    assert marks.count(Mark.INVENTED) + marks.count(Mark.DIFFERS) == micro.fp
    assert marks.count(Mark.MISSED) + marks.count(Mark.DIFFERS) == micro.fn


def test_each_kind_of_row_has_its_mark() -> None:
    predicted = (road(Change.NEW), road(Change.NEW, "north-east"), road(Change.NEW, "south-west"))
    reference = (road(Change.NEW), road(Change.STABLE, "north-east"), road(Change.WORSE, "south-east"))

    rows = mark_findings(predicted, reference)

    assert [(row.finding.place, row.mark) for row in rows] == [
        ("north-west", Mark.MATCHED),
        ("north-east", Mark.DIFFERS),
        ("south-west", Mark.INVENTED),
        ("south-east", Mark.MISSED),
    ]
    assert rows[1].reference == road(Change.STABLE, "north-east")


def test_certainty_does_not_spoil_a_match() -> None:
    rows = mark_findings([road(Change.NEW, certainty=Certainty.POSSIBLE)], [road(Change.NEW)])

    assert [row.mark for row in rows] == [Mark.MATCHED]


def test_a_pair_without_labels_has_no_marks_and_no_verdict() -> None:
    unlabelled, empty = card(findings=(road(Change.NEW),)), card(findings=(road(Change.NEW),), reference=())

    assert [row.mark for row in unlabelled.rows] == [None]
    assert unlabelled.agrees is None
    assert [row.mark for row in empty.rows] == [Mark.INVENTED]
    assert empty.agrees is False
    assert card(reference=()).agrees is True


def test_a_picture_from_elsewhere_is_refused() -> None:
    with pytest.raises(UnusableImage, match="pair p is no data:image address"):
        card(current_image="https://example.org/x.png")
