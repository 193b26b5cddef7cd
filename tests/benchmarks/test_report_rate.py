"""What do SVE and PVM cost on top of the plain host? Prints the ratio; asserts only that both do the same work."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from models.attach import detach
from reports.vocabulary import Domain
from training.generated import generated_pair
from training.predict import MAX_NEW_TOKENS, Predictor

pytestmark = pytest.mark.benchmark

PAIRS = 16
REPEATS = 5


def best_of(work: Callable[[], object]) -> float:
    """Shortest of several runs, in seconds, after one that warms up."""
    work()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def test_cost_of_a_forward_pass_with_sve_and_pvm_over_the_plain_host(capsys):
    import torch

    from training.batch import training_batch
    from training.compact_host import build_processor

    samples = [
        generated_pair(domain, np.random.default_rng([3, index]), image_size=128, tokens=8).sample
        for index in range(PAIRS // 2)
        for domain in Domain
    ]
    batch = training_batch(build_processor(), samples)
    model = Predictor.load()._model

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return model(**batch).logits

    attached_shape, attached = forward().shape, best_of(forward)
    detach(model)
    plain_shape, plain = forward().shape, best_of(forward)

    with capsys.disabled():
        print(f"\nforward of {PAIRS} pairs, {torch.get_num_threads()} threads")
        print(f"plain host {plain:.3f} s, with SVE and PVM {attached:.3f} s, ratio {attached / plain:.2f}")
    assert attached_shape == plain_shape


def test_seconds_a_pair_of_the_embedded_model(capsys):
    predictor = Predictor.load()
    sample = generated_pair(Domain.RADIOLOGY, np.random.default_rng(3), image_size=128, tokens=8).sample

    seconds = best_of(lambda: predictor.generate([sample]))

    with capsys.disabled():
        print(f"\none report at a time: {seconds:.2f} s a pair (at most {MAX_NEW_TOKENS} tokens)")
