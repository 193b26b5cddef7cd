"""How many pairs of radiographs a second are fitted? Prints ratios; asserts only that the fits are as good.

The peer is the usual recipe with MONAI's parts: one pair at a time, 100 steps of Adam on the same loss, from one start.
"""

import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ingest.dicom.body import body_weight
from ingest.dicom.place import drawn
from ingest.dicom.similarity import SIZE, register
from ingest.grid import Grid
from ingest.pixels import Pixels

pytestmark = pytest.mark.benchmark

PAIRS = 16
PEER_STEPS = 100


def copies(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Values and weight of a real radiograph, as the fit looks at them."""
    with Image.open(path) as image:
        values = np.asarray(image.convert("L"), dtype=np.float32) / 255
    height, width = values.shape
    grid = Grid(affine=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), height=height, width=width, frame="detector:1")
    whole = Pixels(values=values[np.newaxis], valid=np.ones(values.shape, dtype=np.bool_), grid=grid)
    small, valid = drawn(whole, pixel=(1.0, 1.0), side=max(values.shape), size=SIZE)
    return small, body_weight(small, valid)


def plain_recipe(stacks: list[NDArray[np.float32]], index: int) -> float:
    """Local correlation that Adam reaches for one pair, over the body that both show."""
    import torch
    from monai.losses import LocalNormalizedCrossCorrelationLoss
    from torch.nn import functional

    prior, prior_weight, current, current_weight = (torch.from_numpy(one[index])[None, None] for one in stacks)
    loss = LocalNormalizedCrossCorrelationLoss(
        spatial_dims=2, kernel_size=9, reduction="none", smooth_dr=9**2 * 0.02**2
    )
    numbers = torch.zeros(4, requires_grad=True)
    optimiser = torch.optim.Adam([numbers], lr=0.01)
    value = torch.zeros(())
    for _ in range(PEER_STEPS):
        optimiser.zero_grad()
        scale = torch.exp(numbers[0])
        cos, sin = scale * torch.cos(numbers[1]), scale * torch.sin(numbers[1])
        affine = torch.stack([torch.stack([cos, -sin, numbers[2]]), torch.stack([sin, cos, numbers[3]])])[None]
        where = functional.affine_grid(affine, [1, 2, SIZE, SIZE], align_corners=False)
        moved = functional.grid_sample(torch.cat([prior, prior_weight], dim=1), where, align_corners=False)
        weight = moved[:, 1:] * current_weight
        value = (loss(moved[:, :1], current) * weight).sum() / weight.sum()
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return -value.item()


def test_pairs_a_second_in_batches_alone_and_by_the_plain_recipe(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import csv

    import torch

    with (shared_data / "cxr" / "pairs.csv").open(encoding="utf-8", newline="") as file:
        names = sorted({(row["prior"], row["current"]) for row in csv.DictReader(file)})[:PAIRS]
    folder = shared_data / "cxr" / "images"
    parts = [(*copies(folder / prior), *copies(folder / current)) for prior, current in names]
    stacks = [np.stack(one) for one in zip(*parts, strict=True)]
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    register(*(one[:1] for one in stacks), freedom="similarity")  # imports and first calls

    lines = []
    for device in devices:
        for freedom in ("rigid", "similarity"):
            for size in (1, PAIRS):
                started = time.perf_counter()
                fits = [
                    fit
                    for first in range(0, PAIRS, size)
                    for fit in register(*(one[first : first + size] for one in stacks), freedom=freedom, device=device)
                ]
                rate = PAIRS / (time.perf_counter() - started)
                mean = float(np.mean([fit.after for fit in fits]))
                lines.append((f"{device} {freedom}, {size} at a time, both directions", rate, mean))
    started = time.perf_counter()
    reached = float(np.mean([plain_recipe(stacks, index) for index in range(PAIRS)]))
    peer = PAIRS / (time.perf_counter() - started)

    with capsys.disabled():
        print(f"\n{PAIRS} pairs of real radiographs, {torch.get_num_threads()} threads")
        print(f"plain recipe, one direction: {peer:.2f} pairs/s, local correlation {reached:.3f}")
        for name, rate, mean in lines:
            print(f"{name}: {rate:.2f} pairs/s, {rate / peer:.1f} times the recipe, local correlation {mean:.3f}")
    assert lines[-1][2] >= reached - 0.02
