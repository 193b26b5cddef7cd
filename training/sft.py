"""Supervised fine-tuning: which loss do answers have, and which micro-batches does a step have?

The loss of a step is the mean over all answer tokens of all its samples, whatever micro-batches and processes they are
dealt to: each share is weighed by the tokens of the whole step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from training.batch import IGNORED, PairSample, prompt_batch, training_batch
from training.budget import micro_batches, samples_of_step
from training.config import TrainConfig
from training.engine import Engine
from training.errors import TrainingError
from training.likelihood import log_probabilities
from training.source import Loader, Source

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import ProcessorMixin


class NothingFits(TrainingError, ValueError):
    """No sample of a step is within max_tokens; raise it, or lower image_size."""


@dataclass(frozen=True)
class Supervised:
    """A micro-batch.

    Attributes:
        inputs: Of the model.
        weights: (B, K) of the last K tokens: their share of the step's loss, 0 outside of answers.
    """

    inputs: Mapping[str, Tensor]
    weights: Tensor


@dataclass(frozen=True)
class _Lengths:
    """Tokens of a sample."""

    whole: int
    answer: int


@dataclass(frozen=True)
class _Plan:
    """What a process does in a step.

    Attributes:
        dealt: Its micro-batches, as (pass, index) of each sample.
        answers: Tokens of all answers of the step, in all processes.
        left_out: Samples of the step that are too long.
    """

    dealt: list[list[tuple[int, int]]]
    answers: int
    left_out: int


class SFT:
    """Learning the answers of labelled pairs; a `training.loop.Task`.

    Args:
        engine: Of this process.
        processor: Of the model.
        source: The pairs.
        config: The run's settings.
        image_size: Side of the model's images, to count their tokens.
    """

    updates = 1

    def __init__(
        self, engine: Engine, processor: ProcessorMixin, source: Source, config: TrainConfig, *, image_size: int
    ) -> None:
        self._engine = engine
        self._processor = processor
        self._source = source
        self._config = config
        self._loader = Loader(source, seed=config.seed, workers=config.workers)
        self._image_tokens = _image_tokens(processor, image_size)
        self._known: dict[int, _Lengths] = {}
        self._measures: dict[str, tuple[float, float]] = {}

    def prepare(self, step: int) -> list[Supervised]:
        """This process's micro-batches; those of the next step begin to load.

        Raises:
            NothingFits: No sample is short enough.
            BatchTooSmall: There are fewer samples than processes.
        """
        plan = self._plan(step)
        following = [one for several in self._plan(step + 1).dealt for one in several]
        pairs = iter(self._loader.load([one for several in plan.dealt for one in several], following))
        found: list[Supervised] = []
        for several in plan.dealt:
            if several:
                found.append(self._batch([next(pairs) for _ in several], plan.answers))
            else:  # only to take part
                found.append(replace(found[0], weights=found[0].weights * 0))
        self._measures = {
            "tokens": (float(sum(one.inputs["attention_mask"].sum() for one in found)), 1.0),
            # every process counts the same ones
            "left_out": (float(plan.left_out), 1.0),
        }
        return found

    def loss(self, batch: Supervised) -> Tensor:
        """The micro-batch's share of the mean negative log-probability of the step's answer tokens."""
        inputs = self._engine.cast(batch.inputs)
        chances = log_probabilities(self._engine.model, inputs, batch.weights.shape[1])
        return -(chances * batch.weights.to(chances.device)).sum()

    def measures(self) -> dict[str, tuple[float, float]]:
        """Tokens computed, and samples left out."""
        return self._measures

    def close(self) -> None:
        """Ends the threads that load images."""
        self._loader.close()

    def _plan(self, step: int) -> _Plan:
        taken = samples_of_step(step, batch=self._config.batch, size=len(self._source), seed=self._config.seed)
        fitting = [one for one in taken if self._fits(one[1])]
        if not fitting:
            raise NothingFits
        lengths = [self._lengths(index) for _, index in fitting]
        dealt = micro_batches(
            [one.whole for one in lengths],
            samples=self._config.micro_batch,
            tokens=self._config.micro_tokens,
            ranks=self._engine.world,
        )[self._engine.rank]
        return _Plan(
            dealt=[[fitting[position] for position in positions] for positions in dealt],
            answers=sum(one.answer for one in lengths),
            left_out=len(taken) - len(fitting),
        )

    def _fits(self, index: int) -> bool:
        return self._config.max_tokens is None or self._lengths(index).whole <= self._config.max_tokens

    def _lengths(self, index: int) -> _Lengths:
        if index not in self._known:
            asked, answered = self._source.messages(index)
            tokenize = self._processor.tokenizer
            prompt = self._processor.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
            text = self._processor.apply_chat_template(answered, tokenize=False)
            answer = len(tokenize(text[len(prompt) :], add_special_tokens=False)["input_ids"])
            question = len(tokenize(prompt, add_special_tokens=False)["input_ids"])
            self._known[index] = _Lengths(question + answer + self._image_tokens, answer)
        return self._known[index]

    def _batch(self, pairs: list[PairSample], total: int) -> Supervised:
        batch = training_batch(self._processor, pairs)
        supervised = batch.pop("labels") != IGNORED
        last = int(supervised.sum(1).max())
        return Supervised(batch, supervised[:, -last:].float() / total)


def _image_tokens(processor: Any, size: int) -> int:
    """How many tokens the two images of a pair add to the text of a prompt."""
    from reports.vocabulary import Domain

    blank = np.zeros((size, size, 3), dtype=np.uint8)
    sample = PairSample(domain=Domain.SATELLITE, prior=blank, current=blank)
    text = processor.apply_chat_template(sample.messages(), tokenize=False, add_generation_prompt=True)
    alone = len(processor.tokenizer(text, add_special_tokens=False)["input_ids"])
    return int(prompt_batch(processor, [sample])["input_ids"].shape[1]) - alone
