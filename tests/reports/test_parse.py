import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.change import Change
from reports.compose import compose, in_report_order
from reports.errors import DuplicateFinding, UnknownTerm
from reports.finding import Certainty, Finding
from reports.parse import parse
from reports.vocabulary import FINDINGS, NOTHING_FOUND, PLACES, Domain


def findings_of(domain: Domain) -> st.SearchStrategy[list[Finding]]:
    one = st.builds(
        Finding,
        domain=st.just(domain),
        finding=st.sampled_from(FINDINGS[domain]),
        place=st.sampled_from(PLACES[domain]),
        change=st.sampled_from(Change),
        certainty=st.sampled_from(Certainty),
    )
    return st.lists(one, unique_by=lambda item: (item.finding, item.place), max_size=12)


reports = st.sampled_from(Domain).flatmap(lambda domain: st.tuples(st.just(domain), findings_of(domain)))


def lung(finding: str, place: str, change: Change, certainty: Certainty = Certainty.CERTAIN) -> Finding:
    return Finding(domain=Domain.RADIOLOGY, finding=finding, place=place, change=change, certainty=certainty)


@given(reports)
@settings(deadline=None)
def test_every_set_of_findings_survives_its_text(report: tuple[Domain, list[Finding]]) -> None:
    domain, findings = report

    parsed = parse(domain, compose(domain, findings))

    assert parsed.findings == in_report_order(findings)
    assert parsed.unparsed == ()


@given(reports, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_findings_does_not_change_the_text(report, random) -> None:
    domain, findings = report
    shuffled = list(findings)
    random.shuffle(shuffled)

    assert compose(domain, shuffled) == compose(domain, findings)


def test_every_finding_place_and_change_has_its_own_sentence() -> None:
    for domain in Domain:
        texts = {
            compose(domain, [Finding(domain=domain, finding=name, place=place, change=change)])
            for name in FINDINGS[domain]
            for place in PLACES[domain]
            for change in Change
        }

        assert len(texts) == len(FINDINGS[domain]) * len(PLACES[domain]) * len(Change)


def test_the_texts_read_as_agreed() -> None:
    assert (
        compose(
            Domain.RADIOLOGY,
            [lung("cardiomegaly", "central", Change.STABLE), lung("pleural effusion", "left", Change.NEW)],
        )
        == "Left pleural effusion is new. Central cardiomegaly is stable."
    )
    assert (
        compose(Domain.RADIOLOGY, [lung("pneumothorax", "left", Change.NEW, Certainty.POSSIBLE)])
        == "Possible left pneumothorax is new."
    )
    appeared = Finding(domain=Domain.SATELLITE, finding="building", place="north-west", change=Change.NEW)
    assert compose(Domain.SATELLITE, [appeared]) == "North-west building has appeared."


@pytest.mark.parametrize("domain", Domain)
def test_no_finding_is_said_and_read_in_words(domain: Domain) -> None:
    assert compose(domain, []) == NOTHING_FOUND[domain]
    parsed = parse(domain, NOTHING_FOUND[domain])

    assert (parsed.findings, parsed.unparsed) == ((), ())


def test_case_blanks_and_a_missing_stop_do_not_matter() -> None:
    parsed = parse(Domain.RADIOLOGY, "  PROBABLE  left   Upper\tlung opacity IS new .\n\nright hernia is stable")

    assert parsed.findings == (
        lung("lung opacity", "left upper", Change.NEW, Certainty.PROBABLE),
        lung("hernia", "right", Change.STABLE),
    )
    assert parsed.unparsed == ()


def test_blanks_around_a_hyphen_do_not_matter() -> None:
    assert parse(Domain.SATELLITE, "North - west road was removed.").findings == (
        Finding(domain=Domain.SATELLITE, finding="road", place="north-west", change=Change.RESOLVED),
    )


def test_the_longest_name_wins() -> None:
    parsed = parse(Domain.RADIOLOGY, "Central tortuosity of the thoracic aorta is worse.")

    assert parsed.findings == (lung("tortuosity of the thoracic aorta", "central", Change.WORSE),)


@pytest.mark.parametrize(
    "text",
    [
        "Left pleural effusion is not new",
        "No left pleural effusion is new",
        "Left pleural effusion",
        "Left pleural effusion is new and large",
        "The heart is fine",
        "North-west building has appeared",
    ],
)
def test_a_sentence_outside_the_grammar_is_returned_whole(text: str) -> None:
    parsed = parse(Domain.RADIOLOGY, f"Left hernia is new. {text}. Right hernia is new.")

    assert [finding.place for finding in parsed.findings] == ["left", "right"]
    assert parsed.unparsed == (text,)


def test_the_first_of_two_sentences_about_one_place_wins() -> None:
    parsed = parse(Domain.RADIOLOGY, "Left hernia is new. Left hernia is resolved. Left hernia is new.")

    assert parsed.findings == (lung("hernia", "left", Change.NEW),)
    assert parsed.unparsed == ("Left hernia is resolved", "Left hernia is new")


def test_nothing_found_beside_a_finding_is_unparsed() -> None:
    parsed = parse(Domain.RADIOLOGY, "No finding in either image. Left hernia is new.")

    assert parsed.findings == (lung("hernia", "left", Change.NEW),)
    assert parsed.unparsed == ("No finding in either image",)


@pytest.mark.parametrize("text", ["", "  \n", "..."])
def test_an_empty_answer_is_unparsed_and_not_nothing_found(text: str) -> None:
    assert parse(Domain.RADIOLOGY, text).unparsed == (text.strip(),)


@given(st.text(max_size=200), st.sampled_from(Domain))
@settings(deadline=None)
def test_no_text_makes_the_parser_fail_or_lose_words(text: str, domain: Domain) -> None:
    parsed = parse(domain, text)

    assert parsed.findings or parsed.unparsed
    assert all(sentence in text for sentence in parsed.unparsed)


def test_one_place_twice_is_no_report() -> None:
    with pytest.raises(DuplicateFinding, match="left hernia"):
        compose(
            Domain.RADIOLOGY,
            [lung("hernia", "left", Change.NEW), lung("hernia", "left", Change.NEW, Certainty.POSSIBLE)],
        )


def test_findings_of_another_domain_are_refused() -> None:
    with pytest.raises(UnknownTerm, match="satellite report"):
        compose(Domain.SATELLITE, [lung("hernia", "left", Change.NEW)])
