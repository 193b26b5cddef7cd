from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest

from ingest.grid import Grid
from ingest.pixels import AlignedPair, Pixels
from reports.vocabulary import Domain
from training.batch import PairSample
from training.encoding import without_pixels
from training.generated import generated_pair
from training.predict import Predictor

STUDIES = 4


@pytest.fixture(scope="module")
def without_cache() -> Predictor:
    return Predictor.load(cache_bytes=0)


@pytest.fixture
def predictor() -> Predictor:
    return Predictor.load()


def chain(domain: Domain, length: int = STUDIES) -> list[PairSample]:
    """The pairs of consecutive studies of one subject, on one grid."""
    images = [
        generated_pair(domain, np.random.default_rng([79, index]), image_size=128, tokens=8).sample.current
        for index in range(length)
    ]
    return [PairSample(domain=domain, prior=prior, current=current) for prior, current in pairwise(images)]


def aligned(sample: PairSample) -> AlignedPair:
    grid = Grid(affine=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), height=128, width=128, frame="test")
    prior, current = (
        Pixels(
            values=np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32) / 255,
            valid=np.ones((128, 128), bool),
            grid=grid,
        )
        for image in (sample.prior, sample.current)
    )
    return AlignedPair(prior=prior, current=current, quality={})


@contextmanager
def counted_images(predictor: Predictor) -> Iterator[list[int]]:
    """Images in each call of the vision tower."""
    calls: list[int] = []
    tower = predictor.model.model.visual
    hook = tower.register_forward_pre_hook(
        lambda _module, args, kwargs: calls.append(len(kwargs.get("grid_thw", args[-1]))), with_kwargs=True
    )
    try:
        yield calls
    finally:
        hook.remove()


@pytest.mark.parametrize("domain", list(Domain))
def test_a_chain_reports_the_same_with_and_without_the_cache(predictor, without_cache, domain):
    for sample in chain(domain):
        pair = aligned(sample)

        with_it, without = predictor.report(pair, domain), without_cache.report(pair, domain)

        assert with_it.raw_output == without.raw_output
        assert with_it.findings == without.findings
        np.testing.assert_allclose(with_it.evidence, without.evidence, rtol=1e-3, atol=1e-6)


def test_the_tokens_are_the_same_one_for_one(predictor, without_cache):
    import torch

    samples = chain(Domain.RADIOLOGY)
    inputs = predictor.inputs(samples)
    settings = {"max_new_tokens": 64, "do_sample": False}

    with torch.inference_mode():
        ids = predictor.model.generate(**without_pixels(inputs, predictor.encoder.encode(inputs)), **settings)
        expected = without_cache.model.generate(**inputs, **settings)

    assert torch.equal(ids, expected)
    assert ids.shape[1] > inputs["input_ids"].shape[1] + 5


def test_each_study_of_a_chain_goes_through_the_tower_alone_and_against_its_prior_once(predictor, without_cache):
    pairs = [aligned(sample) for sample in chain(Domain.RADIOLOGY)]

    with counted_images(predictor) as cached:
        for pair in pairs:
            predictor.report(pair, Domain.RADIOLOGY)
    with counted_images(without_cache) as plain:
        for pair in pairs:
            without_cache.report(pair, Domain.RADIOLOGY)

    # Every study alone, every study but the first against its prior.
    assert sum(cached) == predictor.encoder.cache.misses == STUDIES + STUDIES - 1
    # Prior and current for the report; both again, and the current alone, for the evidence.
    assert sum(plain) == 5 * (STUDIES - 1)


def test_a_prior_is_read_as_it_is_alone_whatever_came_before_it(predictor):
    """The model was trained on pairs, whose priors had none of their own."""
    first, second = chain(Domain.RADIOLOGY, 3)
    alone = Predictor.load().generate([second])

    predictor.generate([first])
    after_another = predictor.generate([second])

    assert after_another == alone


def test_a_batch_goes_through_the_tower_in_two_calls(predictor, without_cache):
    samples = chain(Domain.SATELLITE)

    with counted_images(predictor) as calls:
        reports = [report.text for report in predictor.generate(samples)]

    assert calls == [len(samples), len(samples)]
    assert reports == [report.text for report in without_cache.generate(samples)]


def test_no_more_is_kept_than_there_is_room_for():
    samples = chain(Domain.RADIOLOGY)
    roomy = Predictor.load()
    reports = [roomy.generate([sample]) for sample in samples]
    one = roomy.encoder.cache.nbytes // roomy.encoder.cache.misses
    narrow = Predictor.load(cache_bytes=3 * one)

    again = [narrow.generate([sample]) for sample in samples]

    assert [r[0].text for r in again] == [r[0].text for r in reports]
    assert narrow.encoder.cache.nbytes <= 3 * one < roomy.encoder.cache.nbytes
