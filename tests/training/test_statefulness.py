import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import TrainingError
from training.experiment import claim
from training.statefulness.experiment import (
    START_FILE,
    VARIANTS,
    Result,
    Settings,
    make_start,
    result_file,
    started_model,
)
from training.statefulness.run import run_all
from training.statefulness.table import write_table
from training.statefulness.task import (
    IMAGE_SIZE,
    IMAGE_TOKENS,
    VOCABULARY,
    DotImage,
    answer,
    batch,
    decode,
    dot_distance,
    dot_image,
    read_distance,
)

TINY = Settings(tower_steps=1, tower_batch=2, start_steps=1, start_batch=2, tune_steps=1, tune_batch=2, test_pairs=3)
places = st.tuples(st.floats(0, 1), st.floats(0, 1))


def at(column: float, row: float) -> DotImage:
    return DotImage(pixels=np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8), dots=((column, row),))


@pytest.mark.parametrize("seed", range(20))
def test_the_dot_lies_where_the_image_says(seed):
    image = dot_image(np.random.default_rng(seed))

    # Backgrounds are greys with a cast of at most 40 levels each way, and noise of 6: only the dot is that red.
    red = image.pixels[..., 0].astype(float) - image.pixels[..., 1:].max(-1)
    rows, columns = np.nonzero(red > 150)

    ((column, row),) = image.dots
    assert abs((columns.mean() + 0.5) / IMAGE_SIZE - column) < 0.5 / IMAGE_SIZE
    assert abs((rows.mean() + 0.5) / IMAGE_SIZE - row) < 0.5 / IMAGE_SIZE


def test_the_distance_is_one_between_opposite_corners():
    assert dot_distance([at(0, 0), at(1, 1)]) == pytest.approx(1)
    assert dot_distance([at(1, 0), at(0, 1)]) == pytest.approx(1)
    assert dot_distance([at(0.1, 0.2), at(0.4, 0.6)]) == pytest.approx(0.5 / 2**0.5)  # sides of 3, 4 and 5


@given(first=places, second=places)
def test_a_distance_is_the_same_from_both_sides_and_in_one_image_and_its_answer_reads_back(first, second):
    apart = [at(*first), at(*second)]
    together = replace(apart[0], dots=(first, second))

    assert dot_distance(apart[::-1]) == dot_distance(apart) == dot_distance([together])
    assert read_distance(answer(apart)) == pytest.approx(dot_distance(apart), abs=0.005 + 1e-9)
    assert set(answer(apart)) <= set(VOCABULARY)


@pytest.mark.parametrize("text", ["", "0.1.2", "A red dot is placed here.", "nan"])
def test_an_answer_without_a_number_is_none(text):
    assert read_distance(text) is None


def test_no_two_images_have_one_background():
    rng = np.random.default_rng(3)

    first, second = dot_image(rng), dot_image(rng)

    assert np.mean(np.any(first.pixels != second.pixels, axis=-1)) > 0.9


@pytest.mark.parametrize("dots", [(1,), (2,), (1, 1)])
def test_only_the_answers_are_supervised(dots):
    rng = np.random.default_rng(5)
    n_images = len(dots)
    samples = [tuple(dot_image(rng, count) for count in dots) for _ in range(3)]

    inputs = batch(samples, is_answered=True)

    for ids, labels, images in zip(inputs["input_ids"], inputs["labels"], samples, strict=True):
        assert decode(labels[labels >= 0].tolist()) == answer(images)
        assert (ids == VOCABULARY.index("<image>")).sum() == n_images * IMAGE_TOKENS
    prompts = batch(samples)["input_ids"]
    assert (inputs["input_ids"][:, : prompts.shape[1]] == prompts).all()
    assert inputs["pixel_values"].shape == (3 * n_images, 3, IMAGE_SIZE, IMAGE_SIZE)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    claim(folder, TINY)
    make_start(folder, TINY)
    return folder


def test_every_variant_starts_from_the_same_answers(started):
    """Only self_ext differs at the start: it reads the prior at once."""
    import torch

    rng = np.random.default_rng(7)
    inputs = batch([(dot_image(rng), dot_image(rng))])
    with torch.no_grad():
        logits = {variant: started_model(started, TINY, variant).eval()(**inputs).logits for variant in VARIANTS}

    same = [variant for variant in VARIANTS if torch.equal(logits[variant], logits["stateless"])]
    assert same == [variant for variant in VARIANTS if variant != "self_ext"]


def test_what_is_there_is_not_made_again(started):
    results = run_all(started, TINY, [1], workers=0)
    before = {path.name: path.stat().st_mtime_ns for path in started.iterdir()}
    result_file(started, "cross", 1).unlink()

    again = run_all(started, TINY, [1], workers=0)

    after = {path.name: path.stat().st_mtime_ns for path in started.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"cross-1.json"}
    assert [replace(one, seconds=0) for one in again] == [replace(one, seconds=0) for one in results]
    assert [one.variant for one in results] == list(VARIANTS)


def test_a_folder_of_other_settings_is_refused(started):
    with pytest.raises(TrainingError, match="other settings"):
        claim(started, replace(TINY, tune_steps=2))


def test_a_killed_run_goes_on_and_comes_to_the_same(started, tmp_path):
    doc = tmp_path / "table.md"
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in asdict(TINY).items()]
    command = [sys.executable, "-P", "-m", "training.statefulness", "--out", str(tmp_path / "run")]
    command += ["--doc", str(doc), "--seeds", "1", "--workers", "0", *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = tmp_path / "run" / "stateless-1.json"
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        while not first.exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    kept = first.stat().st_mtime_ns
    assert not doc.exists()

    # Now in processes of their own, which do not import `__main__`.
    command[command.index("0")] = "1"
    subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=True)

    assert first.stat().st_mtime_ns == kept
    assert (tmp_path / "run" / START_FILE).read_bytes() == (started / START_FILE).read_bytes()
    for expected in run_all(started, TINY, [1], workers=0):
        made = Result.read(result_file(tmp_path / "run", expected.variant, 1))
        assert replace(made, seconds=0) == replace(expected, seconds=0)
    assert "| cross_ffn |" in doc.read_text()


def results(errors):
    """One result a seed of each variant, with these mean absolute errors."""
    return [
        Result(
            variant=variant,
            seed=seed,
            mae=mae,
            rmse=mae * 1.5,
            unread=0,
            loss=0.5,
            parameters=1_500_000,
            seconds=60.0,
            revision="abc1234",
            hardware="2 x test",
        )
        for variant in VARIANTS
        for seed, mae in enumerate(errors.get(variant, [0.10, 0.12, 0.14]), start=1)
    ]


def test_the_table_has_mean_and_spread_of_each_variant():
    page = write_table(results({"cross_ffn": [0.04, 0.06, 0.08]}), TINY, "make statefulness")

    # By hand: means 12 and 6, standard deviation of three values that are 2 apart: 2; the RMSE is 1.5 times that.
    assert "| stateless | 12.00 ± 2.00 | 18.00 ± 3.00 | 1.00 | 1.50 M | 60 s |" in page
    assert "| cross_ffn | 6.00 ± 2.00 | 9.00 ± 3.00 | 0.50 | 1.50 M | 60 s |" in page
    assert "0.50 of the stateless host's (as expected), and 0.50 of self_ffn's (as expected)" in page
    assert "`make statefulness`" in page
    assert "abc1234" in page
    assert "2 x test" in page
    assert "tune_steps 1" in page


def test_the_table_says_when_it_came_out_otherwise():
    page = write_table(results({"cross_ffn": [0.10, 0.11, 0.12], "self_ffn": [0.1] * 3}), TINY, "make statefulness")

    assert "0.92 of the stateless host's (not as expected), and 1.10 of self_ffn's (not as expected)" in page
