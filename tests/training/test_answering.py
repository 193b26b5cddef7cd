"""Answers to a data set: in batches, by one process at a time, and the same after a kill."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.training.published_sets import UNCHANGED, write_levir
from training.answering import answer_all, batches
from training.answers import AnswersUnusable, read_answers
from training.predict import Predictor
from training.readers.levir import read_levir
from training.readers.sample import DataSetUnusable, Split

NAMES = [f"test_{number:06d}" for number in (3, 7, 16, 17, 40, 41, 90)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_levir(tmp_path_factory.mktemp("levir"), [(name, UNCHANGED) for name in NAMES])


@pytest.fixture(scope="module")
def samples(folder):
    return read_levir(folder).of(Split.TEST)


@pytest.fixture(scope="module")
def model():
    return Predictor.load(cache_bytes=0)


@pytest.fixture(scope="module")
def undisturbed(folder, samples, model, tmp_path_factory):
    """Bytes of a run that nothing interrupted, in batches of two."""
    path = tmp_path_factory.mktemp("whole") / "answers.jsonl"
    assert answer_all(samples, path, model, batch_size=2) == 7
    return path.read_bytes()


def test_every_sample_has_one_line_with_its_answer_and_model(undisturbed, tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_bytes(undisturbed)
    answers = read_answers(path)

    assert list(answers) == sorted(NAMES)
    assert len({one.model for one in answers.values()}) == 1
    assert all(len(one.model) == 25 for one in answers.values())


@pytest.mark.parametrize("cut", [0, 1, 5])
def test_a_file_cut_anywhere_is_completed_to_the_same_bytes(samples, model, undisturbed, tmp_path, cut):
    lines = undisturbed.splitlines(keepends=True)
    path = tmp_path / "answers.jsonl"
    # some whole lines and part of the next; an odd number leaves half of a batch
    path.write_bytes(b"".join(lines[:cut]) + lines[cut][: len(lines[cut]) // 2])

    assert answer_all(samples, path, model, batch_size=2) == 7 - cut
    assert path.read_bytes() == undisturbed


@pytest.mark.slow
def test_a_killed_process_goes_on_and_leaves_the_same_file(folder, undisturbed, tmp_path):
    path = tmp_path / "answers.jsonl"
    code = "from services.cli import main; main()"
    command = [sys.executable, "-c", code, "predict", str(folder), str(path), "--batch-size", "2"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and not (path.exists() and path.stat().st_size):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    partial = path.read_bytes()

    subprocess.run(command, check=True, capture_output=True)

    assert process.returncode == -signal.SIGKILL
    assert 0 < len(partial) < len(undisturbed)
    assert path.read_bytes() == undisturbed


def test_a_finished_file_is_left_as_it_is(samples, model, undisturbed, tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_bytes(undisturbed)
    told = []

    assert answer_all(samples, path, model, progress=lambda *counts: told.append(counts)) == 0
    assert (path.read_bytes(), told) == (undisturbed, [(7, 7)])


def test_answers_of_another_model_or_to_other_samples_are_not_mixed(samples, model, undisturbed, tmp_path):
    path = tmp_path / "answers.jsonl"
    line = json.loads(undisturbed.splitlines()[0])
    path.write_text(json.dumps(line | {"model": "0" * 12}) + "\n")
    with pytest.raises(AnswersUnusable, match="another model"):
        answer_all(samples, path, model)

    path.write_text(json.dumps(line | {"id": "test_999999"}) + "\n")
    with pytest.raises(AnswersUnusable, match="1 answers to other samples"):
        answer_all(samples, path, model)
    assert path.read_text().count("\n") == 1


def test_one_process_at_a_time_writes_a_file(samples, model, tmp_path):
    import fcntl

    path = tmp_path / "answers.jsonl"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(AnswersUnusable, match="being written by another process"):
        answer_all(samples, path, model)
    os.close(descriptor)


def test_a_missing_picture_ends_the_run_and_keeps_what_is_done(folder, model, undisturbed, tmp_path):
    broken = write_levir(tmp_path, [(name, UNCHANGED) for name in NAMES])
    (broken / "images" / "test" / "B" / f"{NAMES[5]}.png").unlink()
    path = tmp_path / "answers.jsonl"

    with pytest.raises(DataSetUnusable, match="is not there"):
        answer_all(read_levir(broken).of(Split.TEST), path, model, batch_size=2)
    assert path.read_bytes() == b"".join(undisturbed.splitlines(keepends=True)[:4])


def test_batches_hold_the_longest_questions_first_and_do_not_depend_on_the_order(samples):
    from dataclasses import replace

    asked = [replace(one, question="x" * (number % 3) or None) for number, one in enumerate(samples)]
    formed = batches(asked, 2)

    lengths = [len(one.question or "") for batch in formed for one in batch]
    assert lengths == sorted(lengths, reverse=True)
    assert [len(batch) for batch in formed] == [2, 2, 2, 1]
    assert batches(asked[::-1], 2) == formed


@pytest.mark.parametrize(
    ("line", "message"),
    [("{", "line 2: no JSON object"), ("[]", "line 2"), ('{"id": 3, "text": "a"}', "must be strings"),
     ('{"id": "a", "text": "b"}', "the id of an earlier line")],
)  # fmt: skip
def test_a_line_that_is_no_answer_is_told(tmp_path, line, message):
    path = tmp_path / "answers.jsonl"
    path.write_text('{"id": "a", "text": "b"}\n' + line + "\n")

    with pytest.raises(AnswersUnusable, match=message):
        read_answers(path)
