"""Group relative policy optimisation: answers to one pair are sampled, judged and made more or less probable.

The loss of a step is a mean over all answers of all processes, however they are dealt to micro-batches.

Source: Shao et al. 2024, arXiv 2402.03300, section 4.1; arXiv 2605.00814, stage II.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from training.batch import PairSample, prompt_batch
from training.budget import BatchTooSmall, samples_of_step
from training.config import TrainConfig
from training.engine import Engine
from training.likelihood import log_probabilities
from training.loop import seed_of
from training.source import Loader, Source

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import ProcessorMixin

#: What an answer to the pair with this index is worth, in parts by name and as a whole ("reward").
Judge = Callable[[int, str], Mapping[str, float]]

#: Keeps a group whose answers are all worth the same from dividing by zero.
_EPSILON = 1e-4


@dataclass(frozen=True)
class Judged:
    """Some answers to one pair.

    Attributes:
        inputs: Of the model: prompts with their answers.
        mask: (B, K) float32, 1 for the K tokens of each answer up to its end; 0 for an answer without end.
        weights: (B, K): the share of each token in the step's loss.
        advantages: (B,).
        old: (B, K): log-probabilities when they were sampled; None where there is one update a step.
        reference: (B, K): those of the model at the start; None without KL.
    """

    inputs: dict[str, Tensor]
    mask: Tensor
    weights: Tensor
    advantages: Tensor
    old: Tensor | None = None
    reference: Tensor | None = None


class GRPO:
    """Learning from judged samples; a `training.loop.Task`.

    Args:
        engine: Of this process.
        processor: Of the model.
        source: The pairs.
        judge: What answers are worth.
        config: The run's settings; `batch` is the number of pairs a step.
        reference: The model at the start, ready to be called, for KL.

    Raises:
        BatchTooSmall: The pairs of a step cannot be dealt evenly to the processes.
    """

    def __init__(
        self,
        engine: Engine,
        processor: ProcessorMixin,
        source: Source,
        judge: Judge,
        config: TrainConfig,
        *,
        reference: Any = None,
    ) -> None:
        if config.batch % engine.world:
            raise BatchTooSmall(f"batch is {config.batch}; GRPO needs a multiple of the {engine.world} processes.")
        self._engine = engine
        self._processor = processor
        self._source = source
        self._judge = judge
        self._config = config
        self._settings = config.grpo
        self._reference = reference
        self._loader = Loader(source, seed=config.seed, workers=config.workers)
        self._measures: dict[str, tuple[float, float]] = {}
        self.updates = config.grpo.updates

    def prepare(self, step: int) -> list[Judged]:
        """This process's answers, sampled and judged now.

        What is sampled for a pair depends on the seed, the step and the pair, and not on the number of processes.
        """
        import torch

        taken, following = (self._taken(one) for one in (step, step + 1))
        sums: dict[str, tuple[float, float]] = {}
        found: list[Judged] = []
        self._engine.model.eval()
        for (_, index), pair in zip(taken, self._loader.load(taken, following), strict=True):
            torch.manual_seed(seed_of(self._config.seed, step, index))
            found += self._group(index, pair, sums)
        self._engine.model.train()
        self._measures = sums
        return self._weighed([self._remembered(one) for one in found])

    def loss(self, batch: Judged) -> Tensor:
        """The micro-batch's share of the clipped objective, with its sign turned, and of the divergence."""
        import torch

        chances = self._chances(self._engine.model, batch)
        mask, weights, advantages = (
            one.to(chances.device) for one in (batch.mask, batch.weights, batch.advantages[:, None])
        )
        old = chances.detach() if batch.old is None else batch.old
        # of tokens after the end nothing is wanted, not even a finite ratio
        ratio = ((chances - old) * mask).exp()
        clipped = ratio.clamp(1 - self._settings.clip, 1 + self._settings.clip)
        each = -torch.minimum(ratio * advantages, clipped * advantages)
        if batch.reference is not None:
            away = (batch.reference - chances) * mask
            each = each + self._settings.kl * (away.exp() - away - 1)
        return (each * weights).sum()

    def measures(self) -> dict[str, tuple[float, float]]:
        """Rewards with their parts, the lengths of answers, and the share that did not end."""
        return self._measures

    def close(self) -> None:
        """Ends the threads that load images."""
        self._loader.close()

    def _taken(self, step: int) -> list[tuple[int, int]]:
        taken = samples_of_step(step, batch=self._config.batch, size=len(self._source), seed=self._config.seed)
        return taken[self._engine.rank :: self._engine.world]

    def _group(self, index: int, pair: PairSample, sums: dict[str, tuple[float, float]]) -> list[Judged]:
        """The answers to one pair, in micro-batches."""
        import torch

        settings = self._settings
        prompts = prompt_batch(self._processor, [pair] * settings.group)
        inputs = self._engine.cast(prompts)
        with torch.no_grad(), self._engine.computing():
            model = getattr(self._engine.model, "module", self._engine.model)
            whole = model.generate(
                **inputs,
                do_sample=True,
                temperature=settings.temperature,
                top_p=settings.top_p,
                top_k=0,
                max_new_tokens=settings.max_new_tokens,
                suppress_tokens=_placeholders(model),
                synced_gpus=self._engine.is_split,
            )
        answers = whole[:, inputs["input_ids"].shape[1] :]
        mask, has_end = self._ended(answers)
        texts = [
            self._processor.tokenizer.decode(row[kept.bool()].tolist(), skip_special_tokens=True).strip()
            for row, kept in zip(answers, mask, strict=True)
        ]
        judged = [self._judge(index, text) for text in texts]
        worth = torch.tensor([one["reward"] for one in judged])
        advantages = (worth - worth.mean()) / (worth.std(correction=0) + _EPSILON)
        measured = [{**one, "answer_tokens": float(kept.sum()), "unended": float(not ended)}
                    for one, kept, ended in zip(judged, mask, has_end.tolist(), strict=True)]  # fmt: skip
        for name in measured[0]:
            total, number = sums.get(name, (0.0, 0.0))
            sums[name] = (total + sum(one[name] for one in measured), number + len(measured))
        sums["tokens"] = (sums.get("tokens", (0.0, 0.0))[0] + float(whole.numel()), 1.0)
        kept = mask * has_end[:, None]
        size = self._config.micro_batch
        return [
            Judged(
                inputs=_extended(prompts, answers[rows].cpu(), mask[rows].cpu(), rows),
                mask=kept[rows].cpu(),
                weights=kept[rows].cpu(),
                advantages=advantages[rows],
            )
            for rows in (slice(first, first + size) for first in range(0, settings.group, size))
        ]

    def _ended(self, answers: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K) float32: 1 up to the end token, which counts; (B,) float32: 1 where there is one."""
        import torch

        model = getattr(self._engine.model, "module", self._engine.model)
        ends = model.generation_config.eos_token_id
        is_end = torch.isin(answers, torch.tensor(ends, device=answers.device).flatten())
        before = is_end.cumsum(1) - is_end.long()
        return (before == 0).float(), is_end.any(1).float()

    def _remembered(self, batch: Judged) -> Judged:
        """With the log-probabilities that the loss compares with."""
        import torch

        with torch.no_grad(), self._engine.computing():
            return replace(
                batch,
                old=self._chances(self._engine.model, batch) if self.updates > 1 else None,
                reference=None if self._reference is None else self._chances(self._reference, batch),
            )

    def _chances(self, model: Any, batch: Judged) -> Tensor:
        inputs = self._engine.cast(batch.inputs)
        return log_probabilities(model, inputs, batch.mask.shape[1], temperature=self._settings.temperature)

    def _weighed(self, batches: list[Judged]) -> list[Judged]:
        """Each token's share in the mean over all answers of all processes."""
        if self._settings.average == "token":
            (total,) = self._engine.total([float(sum(one.mask.sum() for one in batches))])
            return [replace(one, weights=one.mask / max(total, 1.0)) for one in batches]
        lengths = [one.mask.sum(1, keepdim=True) for one in batches]
        (total,) = self._engine.total([float(sum((one > 0).sum() for one in lengths))])
        return [
            replace(one, weights=one.mask / length.clamp(min=1.0) / max(total, 1.0))
            for one, length in zip(batches, lengths, strict=True)
        ]


def _placeholders(model: Any) -> list[int]:
    """Tokens that stand for images and videos; in an answer there is nothing that they could stand for."""
    from models.parts import parts_of

    parts = parts_of(model)
    found = (parts.image_token, getattr(parts.config, "video_token_id", None))
    return [int(token) for token in found if token is not None]


def _extended(prompts: Mapping[str, Tensor], answers: Tensor, mask: Tensor, rows: slice) -> dict[str, Tensor]:
    """Some rows of a batch of equal prompts, each with its answer; images are one entry or several a row."""
    import torch

    n_rows = prompts["input_ids"].shape[0]
    found = {}
    for name, value in prompts.items():
        # patches of all images stand one after the other, equally many for each row
        each = value.view(n_rows, -1, *value.shape[1:])[rows].flatten(0, 1)
        if value.shape == prompts["input_ids"].shape:
            tail = answers if name == "input_ids" else mask.to(value.dtype) if name == "attention_mask" else None
            each = torch.cat([each, torch.zeros_like(answers, dtype=value.dtype) if tail is None else tail], dim=1)
        found[name] = each
    return found
