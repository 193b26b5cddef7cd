"""How are the questions of a data set answered in batches, so that a killed run goes on?"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from training.answers import Answer, AnswersUnusable, read_answers
from training.batch import PairSample
from training.predict import Generated
from training.readers.sample import Sample

#: Samples that are answered at once, unless told otherwise.
BATCH: Final = 16


class Model(Protocol):
    """What answers: `training.predict.Predictor`."""

    @property
    def model_hash(self) -> str: ...  # noqa: D102 - described in training.predict
    @property
    def adapter_hash(self) -> str: ...  # noqa: D102
    @property
    def image_size(self) -> int: ...  # noqa: D102

    def generate(self, samples: Sequence[PairSample]) -> list[Generated]:
        """Greedy answers of a batch."""
        ...


def model_key(model: Model) -> str:
    """Which weights answered: twelve digits of each hash."""
    return "-".join(filter(None, (model.model_hash[:12], model.adapter_hash[:12])))


def batches(samples: Sequence[Sample], size: int) -> list[tuple[Sample, ...]]:
    """The samples in batches of nearly equal length, the longest first: it shows at once whether memory suffices.

    All images have one size, so questions alone make prompts differ in length. Of equal ones ids decide, so that equal
    sets give equal batches, whatever their order.
    """

    def key(sample: Sample) -> tuple[int, str]:
        return -len(sample.question or ""), sample.id

    ordered = sorted(samples, key=key)
    return [tuple(ordered[first : first + size]) for first in range(0, len(ordered), size)]


def answer_all(
    samples: Sequence[Sample],
    path: Path,
    model: Model,
    *,
    batch_size: int = BATCH,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Writes an answer to each sample into a file of answers; what is there already stays.

    May be killed at any time and repeated: the file then ends up byte for byte as an undisturbed run leaves it. A batch
    of which some answers are missing is generated again as a whole, because padding moves the last digits.

    Args:
        samples: What to answer.
        path: The file; it is made where there is none.
        model: What answers.
        batch_size: Samples a batch; it decides the order of the file.
        progress: Told how many are done of how many.

    Returns:
        How many answers were written now.

    Raises:
        AnswersUnusable: The file holds answers of another model, or to other samples, or another process writes it.
        DataSetUnusable: A picture is missing or cannot be decoded; all answers so far stay.
    """
    own = model_key(model)
    with _only_writer(path):
        done = _kept(path, own, frozenset(one.id for one in samples))
        written, total = 0, len(samples)
        progress(len(done), total)
        with path.open("ab") as file:
            for batch in batches(samples, batch_size):
                if all(one.id in done for one in batch):
                    continue
                generated = model.generate([one.pair_sample(model.image_size) for one in batch])
                fresh = [
                    Answer(id=one.id, text=said.text, model=own)
                    for one, said in zip(batch, generated, strict=True)
                    if one.id not in done
                ]
                file.write("".join(f"{one.to_json()}\n" for one in fresh).encode())
                file.flush()
                os.fsync(file.fileno())
                written += len(fresh)
                progress(len(done) + written, total)
    return written


def _kept(path: Path, own: str, ids: frozenset[str]) -> frozenset[str]:
    """Ids that have their answer; a last line that was cut off is taken out of the file."""
    answers = read_answers(path, whole=False)
    if any(one.model != own for one in answers.values()):
        raise AnswersUnusable(f"{path.name} holds answers of another model; give another file.")
    strange = len(answers.keys() - ids)
    if strange:
        raise AnswersUnusable(f"{path.name} holds {strange} answers to other samples; give another file.")
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        os.truncate(path, end)
    return frozenset(answers)


@contextmanager
def _only_writer(path: Path) -> Iterator[None]:
    """Keeps other processes of ours from writing the same file; ends with the process, however that ends."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise AnswersUnusable(f"{path.name} cannot be written: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AnswersUnusable(f"{path.name} is being written by another process; wait for it.") from error
        yield
    finally:
        os.close(descriptor)
