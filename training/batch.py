"""How do samples become the tensors of one batch?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from reports.vocabulary import Domain
from training.errors import TrainingError
from training.prompt import Wording, pair_messages

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import ProcessorMixin

#: Label that the loss ignores, by the convention of torch's cross-entropy.
IGNORED: Final = -100


@dataclass(frozen=True, kw_only=True)
class PairSample:
    """Two model images of one pair, (S, S, 3) uint8, how it is asked about, and the answer when it is known."""

    domain: Domain
    prior: NDArray[np.uint8]
    current: NDArray[np.uint8]
    report: str | None = None
    wording: Wording = Wording.REPORT
    question: str | None = None

    def messages(self, answer: str | None = None) -> list[dict[str, Any]]:
        """The dialogue about the pair."""
        return pair_messages(self.domain, answer, wording=self.wording, question=self.question)


def prompt_batch(processor: ProcessorMixin, samples: Sequence[PairSample]) -> dict[str, Tensor]:
    """Inputs of `generate`: prompts up to the assistant's turn, padded on the left, images in conversation order."""
    texts = [
        processor.apply_chat_template(sample.messages(), tokenize=False, add_generation_prompt=True)
        for sample in samples
    ]
    return _process(processor, texts, samples)


def training_batch(processor: ProcessorMixin, samples: Sequence[PairSample]) -> dict[str, Tensor]:
    """Inputs and `labels` (B, S) of the loss: only the answer and its end token are supervised.

    Raises:
        TrainingError: A sample has no report.
    """
    import torch

    texts, prompts = [], []
    for sample in samples:
        if sample.report is None:
            raise TrainingError("A training sample has no report: give each sample its reference text.")
        texts.append(processor.apply_chat_template(sample.messages(sample.report), tokenize=False))
        prompts.append(processor.apply_chat_template(sample.messages(), tokenize=False, add_generation_prompt=True))
    batch = _process(processor, texts, samples)
    tokenizer = processor.tokenizer
    labels = torch.full_like(batch["input_ids"], IGNORED)
    for row, (text, prompt) in enumerate(zip(texts, prompts, strict=True)):
        # Left padding puts every answer at the row's end, so its length alone says where it begins.
        answer = len(tokenizer(text[len(prompt) :], add_special_tokens=False)["input_ids"])
        labels[row, -answer:] = batch["input_ids"][row, -answer:]
    batch["labels"] = labels
    return batch


def _process(processor: ProcessorMixin, texts: list[str], samples: Sequence[PairSample]) -> dict[str, Tensor]:
    images = [[sample.prior, sample.current] for sample in samples]
    encoded = processor(text=texts, images=images, return_tensors="pt", padding=True, padding_side="left")
    return dict(encoded)
