import numpy as np
import pytest

from reports.vocabulary import Domain
from training.batch import IGNORED, PairSample, prompt_batch, training_batch
from training.compact_host import build_processor
from training.errors import TrainingError


@pytest.fixture(scope="module")
def processor():
    return build_processor()


def sample(report: str | None, *, domain: Domain = Domain.RADIOLOGY, prior: int = 0, current: int = 255) -> PairSample:
    shape = (128, 128, 3)
    return PairSample(
        domain=domain,
        prior=np.full(shape, prior, dtype=np.uint8),
        current=np.full(shape, current, dtype=np.uint8),
        report=report,
    )


REPORTS = ["Bilateral edema is new.", "No finding in either image.", "Left fracture is stable. Right fracture is new."]


def test_only_the_answer_and_its_end_are_supervised(processor):
    batch = training_batch(processor, [sample(report) for report in REPORTS])

    for labels, report in zip(batch["labels"], REPORTS, strict=True):
        supervised = labels[labels != IGNORED]
        assert processor.tokenizer.decode(supervised) == f"{report}<|im_end|>\n"


def test_a_training_text_begins_with_the_prompt_that_serving_gives(processor):
    training = training_batch(processor, [sample(REPORTS[0])])["input_ids"][0]
    prompt = prompt_batch(processor, [sample(None)])["input_ids"][0]

    assert training[: len(prompt)].tolist() == prompt.tolist()


def test_rows_are_padded_on_the_left(processor):
    batch = training_batch(processor, [sample(report) for report in REPORTS])

    assert batch["attention_mask"][:, -1].tolist() == [1, 1, 1]
    assert batch["attention_mask"][:, 0].tolist() == [0, 0, 1]


def test_the_prior_comes_first(processor):
    batch = prompt_batch(processor, [sample(None, prior=0, current=255)])

    prior, current = batch["pixel_values"].view(2, 64, -1)
    assert prior.max() < 0 < current.min()


def test_a_sample_without_report_cannot_be_trained_on(processor):
    with pytest.raises(TrainingError, match="no report"):
        training_batch(processor, [sample(None)])
