import numpy as np
import pytest

from reports.change import PROGRESSION, Change
from reports.parse import parse
from reports.vocabulary import Domain
from training.generated import CLASSES, generated_pair

PAIRS = [(domain, seed) for domain in Domain for seed in range(6)]


def draw(domain: Domain, seed: int):
    return generated_pair(domain, np.random.default_rng([4, seed]), image_size=128, tokens=8)


@pytest.mark.parametrize("domain", list(Domain))
def test_equal_seeds_give_equal_pairs(domain):
    one, two, other = draw(domain, 1), draw(domain, 1), draw(domain, 2)

    assert np.array_equal(one.sample.prior, two.sample.prior)
    assert np.array_equal(one.sample.current, two.sample.current)
    assert one.findings == two.findings
    assert not np.array_equal(one.sample.current, other.sample.current)


@pytest.mark.parametrize(("domain", "seed"), PAIRS)
def test_the_report_says_the_findings(domain, seed):
    pair = draw(domain, seed)

    assert set(parse(domain, pair.sample.report).findings) == set(pair.findings)


@pytest.mark.parametrize(("domain", "seed"), PAIRS)
def test_dense_targets_agree_with_the_findings(domain, seed):
    pair = draw(domain, seed)
    change = pair.change.reshape(len(CLASSES), len(PROGRESSION), 8, 8)

    for index, (owner, name) in enumerate(CLASSES):
        said = {item.change for item in pair.findings if owner == domain and item.finding == name}
        drawn = {code for code, plane in zip(PROGRESSION, change[index], strict=True) if plane.any()}
        assert drawn == said
        assert pair.presence[0, index].any() == bool(said - {Change.NEW})
        assert pair.presence[1, index].any() == bool(said - {Change.RESOLVED})
