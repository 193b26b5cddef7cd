import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.align import align_pair
from ingest.index import index_archive
from ingest.pair import pair_acquisitions
from reports.audit import AuditedPair, audit
from reports.change import MIRRORED, PROGRESSION, Change
from reports.f1 import Level, PairFindings, score
from reports.finding import Finding
from reports.labels import read_labels
from reports.vocabulary import PLACES, SCENE_FINDINGS, Domain
from training.embedded.controls import Mirrored, mirrored, unchanged_share
from training.embedded.designs import FIGURES, DesignResult, compare, design_section, read_results, write_results
from training.embedded.errors import Errors, errors_of, total
from training.embedded.held_out import held_out_pairs
from training.embedded.measure import Measured, measure
from training.embedded.page import missed_targets, write_page
from training.errors import TrainingError
from training.phantoms.geotiff_archive import write_geotiff_archive
from training.predict import Predictor
from training.recipe import DESIGNS, HELD_OUT_SEED, RecipeConfig, make_compact


def finding(name: str, place: str, change: Change = Change.NEW) -> Finding:
    return Finding(domain=Domain.SATELLITE, finding=name, place=place, change=change)


KEYS = [(name, place) for name in SCENE_FINDINGS for place in PLACES[Domain.SATELLITE]]
REPORTS = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(PROGRESSION), max_size=6).map(
    lambda changes: tuple(finding(*key, change) for key, change in changes.items())
)


@given(REPORTS, REPORTS)
def test_every_finding_of_either_side_is_counted_once(predicted, reference):
    table = errors_of(predicted, reference)
    errors = sum(table.values(), Errors())

    assert errors.report == len(predicted)
    assert errors.reference == len(reference)
    for name, part in table.items():
        assert part.reference == sum(one.finding == name for one in reference)


@given(REPORTS, REPORTS)
def test_the_errors_agree_with_the_audits_counts(predicted, reference):
    errors = sum(errors_of(predicted, reference).values(), Errors())
    pair = [PairFindings(predicted, reference)]
    exact = score(Domain.SATELLITE, pair, Level.EXACT).micro

    assert errors.right == exact.tp
    assert errors.reference - errors.right == exact.fn
    assert errors.report - errors.right == exact.fp
    assert errors.right + errors.wrong_change == score(Domain.SATELLITE, pair, Level.DETECTION).micro.tp


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        (finding("road", "north-east"), {"road": Errors(right=1)}),
        (finding("road", "north-east", Change.WORSE), {"road": Errors(wrong_change=1)}),
        (finding("road", "south-east"), {"road": Errors(wrong_place=1)}),
        (finding("water", "north-east"), {"road": Errors(wrong_finding=1)}),
        (finding("water", "south-east"), {"road": Errors(missed=1), "water": Errors(invented=1)}),
        (finding("road", "north-east", Change.ABSENT), {"road": Errors(missed=1)}),
    ],
)
def test_each_kind_of_error(predicted, expected):
    assert errors_of([predicted], [finding("road", "north-east")]) == expected


def test_the_errors_of_pairs_add_up():
    one = errors_of([finding("road", "north-east")], [finding("road", "north-east")])
    two = errors_of([], [finding("road", "north-east"), finding("water", "south-east")])

    assert total([one, two]) == {"road": Errors(right=1, missed=1), "water": Errors(missed=1)}


@given(st.lists(REPORTS, max_size=4))
def test_mirrored_reports_turn_round_whole(reports):
    turned = [tuple(dataclasses.replace(one, change=MIRRORED[one.change]) for one in findings) for findings in reports]
    result = mirrored(reports, turned)

    assert (result.come_turned, result.grow_turned) == (result.come, result.grow)
    assert result.come + result.grow == sum(one.change is not Change.STABLE for report in reports for one in report)


def test_reports_that_ignore_the_order_do_not_turn_round():
    report = (finding("road", "north-east", Change.WORSE), finding("water", "south-east", Change.NEW))

    assert mirrored([report], [report]) == Mirrored(come=1, grow=1)
    assert mirrored([], []).come_share is None


def test_a_stable_finding_is_no_change():
    assert unchanged_share([(), (finding("road", "north-east", Change.STABLE),)]) == 1.0
    assert unchanged_share([(), (finding("road", "north-east"),)]) == 0.5


def test_the_held_out_seed_is_never_trained_on():
    with pytest.raises(TrainingError, match="held-out"):
        RecipeConfig(seed=HELD_OUT_SEED)


@pytest.fixture(scope="module")
def predictor():
    return Predictor.load(cache_bytes=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("held-out")


@pytest.fixture(scope="module")
def pairs(folder, predictor):
    return held_out_pairs(folder, Domain.SATELLITE, pairs=6, seed=31, predictor=predictor)


def test_held_out_pairs_are_those_of_the_line(pairs, predictor, tmp_path):
    root = tmp_path / "archive"
    labels = read_labels(write_geotiff_archive(root, places=4, seed=31))
    by_id = {pair.id: pair for pair in pair_acquisitions(index_archive(root).acquisitions).pairs}

    for one in pairs[:3]:
        pair = by_id[one.id]
        shown = predictor.sample(align_pair(pair), Domain.SATELLITE)
        known = labels.of(
            prior_id=pair.prior.id,
            current_id=pair.current.id,
            prior_name=pair.prior.name,
            current_name=pair.current.name,
        )
        assert np.array_equal(one.sample.prior, shown.prior)
        assert np.array_equal(one.sample.current, shown.current)
        assert one.reference == known.findings


def test_held_out_pairs_are_made_once(folder, pairs, predictor):
    (kept,) = folder.iterdir()
    before = kept.stat().st_mtime_ns
    again = held_out_pairs(folder, Domain.SATELLITE, pairs=6, seed=31, predictor=predictor)

    assert kept.stat().st_mtime_ns == before
    assert [one.id for one in again] == [one.id for one in pairs]


@pytest.fixture(scope="module")
def measured(pairs, predictor):
    return measure(pairs, predictor)


def test_a_measurement_counts_every_pair(pairs, measured):
    assert measured.audit.n_pairs == len(pairs)
    assert sum(one.reference for one in measured.errors.values()) == sum(len(pair.reference) for pair in pairs)
    assert sum(one.right for one in measured.errors.values()) == measured.audit.headline.all_pairs.micro.tp
    assert measured.seconds > 0


def perfect(pairs) -> Measured:
    same = [
        AuditedPair(
            id=one.id, subject=one.subject, domain=Domain.SATELLITE, predicted=one.reference, reference=one.reference
        )
        for one in pairs
    ]
    references = [one.reference for one in pairs]
    turned = [
        tuple(dataclasses.replace(one, change=MIRRORED[one.change]) for one in findings) for findings in references
    ]
    return Measured(
        domain=Domain.SATELLITE,
        audit=audit(same).domains[0],
        mirrored=mirrored(references, turned),
        unchanged=1.0,
        errors=total([errors_of(one, one) for one in references]),
        seconds=0.5,
    )


def test_reports_that_are_the_reference_miss_no_target(pairs):
    assert missed_targets([perfect(pairs)]) == []


def test_a_missed_target_is_said_with_its_figure(pairs):
    slow = dataclasses.replace(perfect(pairs), seconds=1.25, unchanged=0.9)

    assert missed_targets([slow]) == [
        "satellite, prior replaced by the current: no change: 0.900, at least 0.95 was asked for",
        "satellite, seconds a report, pairs one by one (median): 1.25, at most 1.00 was asked for",
    ]


def test_the_page_has_the_figures(pairs, measured):
    page = write_page(
        [measured], command="make it", pairs=6, seed=31, model="0123456789abcdef", size=14.6, hardware="this machine"
    )

    f1 = measured.audit.headline.all_pairs.micro.f1
    assert f"| micro F1 (finding, place, change) | {f1:.3f} | at least 0.80 |" in page
    assert "Model 0123456789ab, 14.6 MB" in page
    rows = [
        line for line in page.splitlines() if re.match(r"\| (all|road|building|water|vegetation|bare soil) \|", line)
    ]
    total_row = [cell.strip() for cell in rows[-1].split("|")[1:-1]]
    assert int(total_row[1]) == sum(len(pair.reference) for pair in pairs)


SHORT = RecipeConfig(
    seed=41, design="plain", dense_steps=1, dense_batch=2, pair_steps=1, pair_batch=2, workers=0, threads=1
)


@pytest.fixture(scope="module")
def compared(pairs, tmp_path_factory):
    start, out = tmp_path_factory.mktemp("start"), tmp_path_factory.mktemp("designs")
    make_compact(SHORT, start)
    results = compare([51, 52], SHORT, start=start, out=out, pairs={Domain.SATELLITE: pairs})
    return start, out, results


def test_every_design_is_fine_tuned_with_every_seed(compared, pairs):
    _, out, results = compared

    assert [(one.seed, one.design) for one in results] == [(seed, design) for seed in (51, 52) for design in DESIGNS]
    assert {one.start for one in results} == {results[0].start}
    for one in results:
        folder = out / f"{one.design}-seed{one.seed}"
        assert (folder / "adapter.safetensors").is_file() == (one.design != "plain")
        found = measure(pairs, Predictor.load(folder, cache_bytes=0)).audit.headline.all_pairs.micro
        assert one.figures["satellite"]["f1"] == found.f1


def test_a_design_that_was_fine_tuned_is_not_made_again(compared, pairs):
    start, out, results = compared
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}

    assert compare([51, 52], SHORT, start=start, out=out, pairs={Domain.SATELLITE: pairs}) == results
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def test_a_design_that_was_made_with_other_settings_is_refused(compared, pairs):
    start, out, _ = compared
    other = dataclasses.replace(SHORT, pair_rate=0.1)
    with pytest.raises(TrainingError, match="other settings"):
        compare([51], other, start=start, out=out, pairs={Domain.SATELLITE: pairs})


def result(design: str, seed: int, f1: float) -> DesignResult:
    figures = {domain.value: {**dict.fromkeys(FIGURES, 0.5), "f1": f1} for domain in Domain}
    return DesignResult(design=design, seed=seed, steps=9, batch=2, start="0123456789abcdef", pairs=6, figures=figures)


def test_the_section_has_means_spreads_and_gains(tmp_path):
    f1 = {"plain": (0.5, 0.6), "self_ffn": (0.7, 0.5), "cross_ffn_pvm": (0.6, 0.8)}
    results = [result(design, seed, value) for design, values in f1.items() for seed, value in enumerate(values)]
    write_results(results, tmp_path / "designs.json")

    text = "\n".join(design_section(read_results(tmp_path / "designs.json"), command="make it"))

    assert "| plain | 0.550 ± 0.071 | 0.500 ± 0.000 |" in text
    assert "+0.150 beside plain, above it with 2 of 2 seeds" in text
    assert "+0.100 beside self_ffn, above it with 1 of 2 seeds" in text
