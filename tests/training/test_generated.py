import numpy as np
import pytest

from reports.change import MIRRORED, PROGRESSION, Change
from reports.parse import parse
from reports.vocabulary import Domain
from training.generated import CLASSES, LEVELS, generated_pair, swapped

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
    prior, current = pair.presence.reshape(2, len(CLASSES), LEVELS, 8, 8)

    for index, (owner, name, place) in enumerate(CLASSES):
        key = (owner, name, place)
        said = {item.change for item in pair.findings if (item.domain, item.finding, item.place) == key}
        drawn = {code for code, plane in zip(PROGRESSION, change[index], strict=True) if plane.any()}
        before, after = (sum(plane.any() for plane in view[index]) for view in (prior, current))
        assert drawn == said
        assert said == ({change_between(before, after)} if before or after else set())


def change_between(before: int, after: int) -> Change:
    if not before or not after:
        return Change.NEW if after else Change.RESOLVED
    return Change.STABLE if before == after else Change.WORSE if after > before else Change.IMPROVED


@pytest.mark.parametrize(("domain", "seed"), PAIRS)
def test_what_covers_an_eighth_of_a_token_counts_in_full(domain, seed):
    pair = draw(domain, seed)

    assert pair.presence.min() >= 0
    assert pair.presence.max() <= 1
    for item in pair.findings:
        view = pair.presence.reshape(2, len(CLASSES), LEVELS, 8, 8)[int(item.change != Change.RESOLVED)]
        shown = view[CLASSES.index((domain, item.finding, item.place)), 0]
        assert shown.max() >= 0.2, f"the smallest lesions would be lost: {item}"


@pytest.mark.parametrize(("domain", "seed"), PAIRS)
def test_a_swapped_pair_says_the_mirrored_changes(domain, seed):
    pair = draw(domain, seed)
    other = swapped(pair)
    codes, mirrored = (one.change.reshape(len(CLASSES), len(PROGRESSION), 8, 8) for one in (pair, other))

    assert np.array_equal(other.sample.prior, pair.sample.current)
    assert np.array_equal(other.presence[0], pair.presence[1])
    assert {(one.finding, one.place, one.change) for one in parse(domain, other.sample.report).findings} == {
        (one.finding, one.place, MIRRORED[one.change]) for one in pair.findings
    }
    for index, change in enumerate(PROGRESSION):
        assert np.array_equal(mirrored[:, index], codes[:, PROGRESSION.index(MIRRORED[change])])
    assert swapped(other).sample.report == pair.sample.report
