import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.grid import Grid
from ingest.pixels import AlignedPair, Pixels
from reports.change import MIRRORED, Change
from reports.compose import compose
from reports.finding import Certainty, Finding
from reports.vocabulary import Domain
from training.generated import generated_pair
from training.predict import (
    CARD_FILE,
    Generated,
    ModelCard,
    ModelFolderUnusable,
    Predictor,
    certain_findings,
    certainty_of,
    embedded_folder,
)
from training.prediction import surest_findings


@pytest.fixture(scope="module")
def predictor():
    return Predictor.load()


def pairs(domain: Domain, count: int):
    return [
        generated_pair(domain, np.random.default_rng([77, index]), image_size=128, tokens=8) for index in range(count)
    ]


def aligned(domain: Domain, seed: int) -> AlignedPair:
    sample = generated_pair(domain, np.random.default_rng([78, seed]), image_size=128, tokens=8).sample
    grid = Grid(affine=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), height=128, width=128, frame="test")
    views = [
        Pixels(
            values=np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32) / 255,
            valid=np.ones((128, 128), bool),
            grid=grid,
        )
        for image in (sample.prior, sample.current)
    ]
    return AlignedPair(prior=views[0], current=views[1], quality={})


@pytest.mark.parametrize("domain", list(Domain))
def test_a_report_is_composed_of_its_findings_and_has_evidence_on_the_token_grid(predictor, domain):
    prediction = predictor.report(aligned(domain, 1), domain)

    assert prediction.text == compose(domain, prediction.findings)
    assert prediction.evidence.shape == (8, 8)
    assert (prediction.evidence >= 0).all()
    assert prediction.evidence.max() > 0
    assert prediction.unparsed == ()


def test_the_same_pair_gives_the_same_report(predictor):
    pair = aligned(Domain.RADIOLOGY, 2)

    one, two = predictor.report(pair, Domain.RADIOLOGY), predictor.report(pair, Domain.RADIOLOGY)

    assert one.text == two.text
    assert np.array_equal(one.evidence, two.evidence)


def test_a_batch_of_both_domains_reports_as_one_by_one(predictor):
    samples = [pair.sample for domain in Domain for pair in pairs(domain, 3)]

    together = [generated.text for generated in predictor.generate(samples)]

    assert together == [predictor.generate([sample])[0].text for sample in samples]


@pytest.mark.parametrize("domain", list(Domain))
def test_swapping_prior_and_current_mostly_mirrors_the_changes(predictor, domain):
    samples = [pair.sample for pair in pairs(domain, 24)]
    swapped = [replace(sample, prior=sample.current, current=sample.prior) for sample in samples]

    mirrored = kept = 0
    for one, other in zip(predictor.generate(samples), predictor.generate(swapped), strict=True):
        there = {(f.finding, f.place): f.change for f in certain_findings(domain, one)}
        back = {(f.finding, f.place): f.change for f in certain_findings(domain, other)}
        for key in there.keys() & back.keys():
            kept += 1
            mirrored += back[key] == MIRRORED[there[key]]

    assert mirrored / kept > 0.5


def test_a_sentence_without_much_probability_is_only_possible():
    generated = Generated(
        text="Left fracture is new. Bilateral edema is stable.",
        sentences=(("Left fracture is new.", 0.3), ("Bilateral edema is stable.", 0.9)),
    )

    certainties = {f.finding: f.certainty for f in certain_findings(Domain.RADIOLOGY, generated)}

    assert certainties == {"fracture": Certainty.POSSIBLE, "edema": Certainty.CERTAIN}


def a_finding(place: str, change: Change, certainty: Certainty) -> Finding:
    return Finding(domain=Domain.RADIOLOGY, finding="fracture", place=place, change=change, certainty=certainty)


def test_of_several_slices_the_surest_tells_how_a_finding_changed():
    left, right = (
        a_finding("left", Change.NEW, Certainty.POSSIBLE),
        a_finding("right", Change.STABLE, Certainty.CERTAIN),
    )
    surer = a_finding("left", Change.WORSE, Certainty.PROBABLE)

    assert surest_findings([[left, right], [], [surer], [left]]) == (surer, right)
    assert surest_findings([[]]) == ()


def test_two_volumes_are_reported_on_slice_by_slice(predictor):
    """The slices fit the batch that one pair of images makes, and each adds its findings to the report."""
    slices = tuple(aligned(Domain.RADIOLOGY, seed) for seed in range(3))
    middle = slices[1]
    volumes = replace(middle, slices=slices)

    report = predictor.report(volumes, Domain.RADIOLOGY)

    alone = [predictor.report(one, Domain.RADIOLOGY) for one in slices]
    assert report.raw_output == "\n".join(one.raw_output for one in alone)
    assert {(f.finding, f.place) for f in report.findings} == {(f.finding, f.place) for a in alone for f in a.findings}
    np.testing.assert_allclose(report.evidence, alone[1].evidence, rtol=1e-4)


@given(one=st.floats(0, 1), other=st.floats(0, 1))
def test_a_higher_probability_is_never_less_certain(one, other):
    order = list(Certainty)

    assert order.index(certainty_of(max(one, other))) <= order.index(certainty_of(min(one, other)))


def test_the_hashes_follow_the_weights_and_nothing_else(predictor, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(embedded_folder(), folder)
    (folder / "README.md").write_text("another text")
    same = Predictor.load(folder)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-2] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    other = Predictor.load(folder)

    assert (same.model_hash, same.adapter_hash) == (predictor.model_hash, predictor.adapter_hash)
    assert other.model_hash != predictor.model_hash
    assert other.adapter_hash == predictor.adapter_hash


def test_a_folder_without_card_is_refused(tmp_path):
    with pytest.raises(ModelFolderUnusable, match=CARD_FILE):
        Predictor.load(tmp_path)


def test_a_card_with_unknown_keys_is_refused(tmp_path):
    card = json.loads((embedded_folder() / CARD_FILE).read_text())
    (tmp_path / CARD_FILE).write_text(json.dumps({**card, "threshold": 0.5}))

    with pytest.raises(ModelFolderUnusable, match="threshold"):
        ModelCard.read(tmp_path)


def test_the_embedded_model_is_small():
    total = sum(path.stat().st_size for path in embedded_folder().iterdir())

    assert total <= 20_000_000
