"""What does keeping encoded studies save over a chain of them? Prints the ratio; asserts that the reports are equal."""

import time
from itertools import pairwise

import numpy as np
import pytest

from ingest.grid import Grid
from ingest.pixels import AlignedPair, Pixels
from reports.vocabulary import Domain
from training.generated import generated_pair
from training.predict import Predictor

pytestmark = pytest.mark.benchmark

STUDIES = 9
REPEATS = 5


def chain() -> list[AlignedPair]:
    """The pairs of consecutive studies of one subject, on one grid."""
    grid = Grid(affine=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), height=128, width=128, frame="test")
    images = [
        generated_pair(Domain.RADIOLOGY, np.random.default_rng([4, index]), image_size=128, tokens=8).sample.current
        for index in range(STUDIES)
    ]
    studies = [
        Pixels(
            values=np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32) / 255,
            valid=np.ones((128, 128), bool),
            grid=grid,
        )
        for image in images
    ]
    return [AlignedPair(prior=prior, current=current, quality={}) for prior, current in pairwise(studies)]


def time_tower(predictor: Predictor, seconds: list[float]) -> None:
    """Adds the processor time of each call of the vision tower to `seconds[0]`."""
    tower = predictor.model.model.visual
    tower.register_forward_pre_hook(lambda *_: seconds.append(time.process_time()))
    tower.register_forward_hook(lambda *_: seconds.__setitem__(0, seconds[0] + time.process_time() - seconds.pop()))


def test_a_chain_with_kept_encodings_over_one_without(capsys):
    import torch

    pairs = chain()
    plain, keeping = Predictor.load(cache_bytes=0), Predictor.load()
    seconds: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    texts: dict[bool, list[str]] = {}
    tower = [0.0]
    for predictor in (plain, keeping):
        time_tower(predictor, tower)
    for _ in range(REPEATS):
        for predictor in (plain, keeping):
            kept = predictor.encoder is not None
            if predictor.encoder is not None:
                predictor.encoder.cache.clear()
            tower[0], started = 0.0, time.process_time()
            texts[kept] = [predictor.report(pair, Domain.RADIOLOGY).text for pair in pairs]
            seconds[kept].append((time.process_time() - started, tower[0]))

    (whole, alone), (whole_kept, alone_kept) = (
        tuple(min(column) for column in zip(*seconds[kept], strict=True)) for kept in (False, True)
    )
    with capsys.disabled():
        print(f"\nchain of {STUDIES} studies, {len(pairs)} reports with evidence, {torch.get_num_threads()} threads")
        print(f"vision tower {alone:.3f} s, kept {alone_kept:.3f} s: ratio {alone_kept / alone:.2f}")
        print(f"all of it {whole:.3f} s, kept {whole_kept:.3f} s: ratio {whole_kept / whole:.2f}")
    assert texts[True] == texts[False]
