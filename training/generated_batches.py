"""In which order are generated pairs shown, and as which tensors?"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from reports.vocabulary import Domain
from training.batch import training_batch
from training.compact_host import IMAGE_SIZE
from training.dense import TOKENS
from training.generated import GeneratedPair, generated_pair, swapped

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Qwen3VLProcessor


def generated_batches(
    processor: Qwen3VLProcessor, *, seed: int, stage: int, steps: int, batch: int, workers: int
) -> Any:
    """A loader of generated pairs, half radiographs and half scenes, in an order that depends on the seed alone.

    In stage 2 every pair is shown as it is and with prior and current swapped, one after the other: a step then holds
    both answers to the same two images, and half as many need be drawn.

    Args:
        processor: Of the host.
        seed: Pair i of stage s is drawn from (seed, s, i).
        stage: 1 for single images, 2 for pairs.
        steps: Batches.
        batch: Pairs a batch.
        workers: Processes that draw pairs; 0 draws them in this one.
    """
    from torch.utils.data import DataLoader, Dataset

    @lru_cache(maxsize=1)
    def drawn(number: int) -> GeneratedPair:
        rng = np.random.default_rng([seed, stage, number])
        domain = Domain.RADIOLOGY if number % 2 == 0 else Domain.SATELLITE
        return generated_pair(domain, rng, image_size=IMAGE_SIZE, tokens=TOKENS)

    class Pairs(Dataset[GeneratedPair]):
        def __len__(self) -> int:
            return steps * batch

        def __getitem__(self, index: int) -> GeneratedPair:
            if stage == 1:  # single images: swapped, they are the same
                return drawn(index)
            pair = drawn(index // 2)
            return swapped(pair) if index % 2 else pair

    def collate(pairs: list[GeneratedPair]) -> dict[str, Tensor]:
        import torch

        tensors = training_batch(processor, [pair.sample for pair in pairs])
        tensors["presence"] = torch.from_numpy(np.stack([pair.presence for pair in pairs]))
        tensors["change"] = torch.from_numpy(np.stack([pair.change for pair in pairs]))
        return tensors

    return DataLoader(
        Pairs(),
        batch_size=batch,
        collate_fn=collate,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
        prefetch_factor=4 if workers else None,
    )
