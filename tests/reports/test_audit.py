import json
from dataclasses import replace

import pytest

from reports.audit import AuditedPair, audit
from reports.change import Change
from reports.errors import UnusableAudit
from reports.finding import Finding
from reports.vocabulary import Domain


def lung(finding: str, place: str, change: Change) -> Finding:
    return Finding(domain=Domain.RADIOLOGY, finding=finding, place=place, change=change)


def scene(finding: str, place: str, change: Change) -> Finding:
    return Finding(domain=Domain.SATELLITE, finding=finding, place=place, change=change)


HERNIA = lung("hernia", "left", Change.NEW)
EDEMA = lung("edema", "right", Change.STABLE)
ROAD = scene("road", "north-west", Change.NEW)


def pairs() -> list[AuditedPair]:
    def lungs(number: int, predicted: tuple[Finding, ...], reference: tuple[Finding, ...], unparsed: int = 0):
        return AuditedPair(
            id=f"r{number}",
            subject=f"patient:{number // 2}",
            domain=Domain.RADIOLOGY,
            predicted=predicted,
            reference=reference,
            unparsed=unparsed,
        )

    return [
        lungs(0, (HERNIA, EDEMA), (HERNIA, EDEMA)),
        lungs(1, (EDEMA,), (EDEMA, HERNIA), 2),
        lungs(2, (HERNIA,), ()),
        lungs(3, (), ()),
        AuditedPair(id="s0", subject="place:1", domain=Domain.SATELLITE, predicted=(ROAD,), reference=(ROAD,)),
    ]


def test_domains_are_audited_apart() -> None:
    lungs, scenes = audit(pairs()).domains

    assert (lungs.domain, lungs.n_pairs, lungs.n_subjects) == (Domain.RADIOLOGY, 4, 2)
    assert (lungs.headline.all_pairs.micro.tp, lungs.headline.all_pairs.micro.fp) == (3, 1)
    assert lungs.headline.all_pairs.micro.f1 == pytest.approx(6 / 8)
    assert scenes.headline.all_pairs.micro.f1 == 1.0
    assert scenes.headline.all_interval is None  # one place


def test_invented_changes_on_stable_pairs_count_on_all_pairs_only() -> None:
    scores = audit(pairs()).domains[0].views["exact_changed"]

    assert (scores.all_pairs.micro.fp, scores.changed_pairs.micro.fp) == (1, 0)
    assert (scores.all_pairs.n_pairs, scores.changed_pairs.n_pairs) == (4, 2)


def test_disagreements_name_what_is_missing_and_what_is_invented() -> None:
    disagreements = {item.id: item for item in audit(pairs()).domains[0].disagreements}

    assert sorted(disagreements) == ["r1", "r2"]
    assert (disagreements["r1"].missing, disagreements["r1"].invented) == ((HERNIA,), ())
    assert (disagreements["r2"].missing, disagreements["r2"].invented) == ((), (HERNIA,))


def test_a_wrong_code_is_missing_and_invented_at_once() -> None:
    stable = lung("hernia", "left", Change.STABLE)
    pair = replace(pairs()[0], predicted=(stable,), reference=(HERNIA,))

    part = audit([pair]).domains[0]

    assert (part.disagreements[0].missing, part.disagreements[0].invented) == ((HERNIA,), (stable,))
    assert part.codes.accuracy == 0.0
    assert part.views["detection"].all_pairs.micro.f1 == 1.0


def test_unparsed_reports_are_counted_and_not_hidden() -> None:
    part = audit(pairs()).domains[0]

    assert (part.unparsed_pairs, part.unparsed_sentences, part.unparsed_share) == (1, 2, 0.25)


def test_the_audit_is_json_with_its_format_and_null_for_undefined() -> None:
    result = audit(pairs(), seed=5, resamples=50)

    stored = json.loads(json.dumps(result.to_dict(), allow_nan=False))

    assert stored == result.to_dict()
    assert stored["format"] == 1
    assert stored["bootstrap"] == {"seed": 5, "resamples": 50, "cluster": "subject"}
    lungs = stored["domains"]["radiology"]
    assert lungs["views"]["exact"]["all_pairs"]["micro"]["f1"] == pytest.approx(0.75)
    assert lungs["change_detection"]["always_changed"] == 0.5
    assert lungs["per_finding"]["hernia"]["support"] == 2
    assert lungs["disagreements"][0]["missing"] == [
        {"finding": "hernia", "place": "left", "change": "new", "certainty": "certain"}
    ]
    assert stored["domains"]["satellite"]["change_detection"]["specificity"] is None
    assert stored["domains"]["satellite"]["views"]["exact"]["all_pairs"]["micro"]["f1_interval"] is None


def test_equal_input_gives_an_equal_audit() -> None:
    assert audit(pairs(), seed=5).to_dict() == audit(pairs(), seed=5).to_dict()


def test_the_order_of_pairs_changes_no_count() -> None:
    first, second = audit(pairs()).domains[0], audit(pairs()[::-1]).domains[0]

    assert first.headline.all_pairs == second.headline.all_pairs
    assert first.change == second.change


def test_the_table_holds_the_figures_of_the_audit() -> None:
    text = audit(pairs()).table()

    lines = text.splitlines()
    exact = next(line for line in lines if line.strip().startswith("Finding, place, change "))
    assert "0.750" in exact
    assert "RADIOLOGY: 4 pairs of 2 subjects, 2 with a change; reports with unparsed sentences: 1 (25.0 %)" in lines
    assert any(line.split()[:5] == ["hernia", "2", "1", "1", "1"] for line in lines)
    assert 'accuracy 50.0 % (always "changed": 50.0 %)' in text
    assert "specificity on stable pairs n/a" in text.split("SATELLITE")[1]
    assert max(map(len, lines)) < 150


def test_no_labelled_pair_is_said_in_words() -> None:
    assert audit([]).table() == "No pair has labels; nothing to audit."
    assert audit([]).to_dict()["domains"] == {}


def test_one_pair_twice_is_refused() -> None:
    with pytest.raises(UnusableAudit, match="r0 is given twice"):
        audit([pairs()[0], pairs()[0]])


def test_a_finding_of_another_domain_is_refused() -> None:
    with pytest.raises(UnusableAudit, match="r0 is of radiology and has a finding of satellite"):
        audit([replace(pairs()[0], predicted=(ROAD,))])
