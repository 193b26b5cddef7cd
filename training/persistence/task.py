"""What is asked of the host: a report of an image of 7 x 7 cells, one sentence a cell, 49 sentences.

The prompt says at which cell the report begins; from there it goes on row by row and around. So where a finding stands
in the report says nothing about where it is in the image, and early, middle and late findings are equally hard to see.
Everything is drawn from generators that the caller gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

#: Cells a side; a cell is one patch and one token of the vision tower. Side of a cell in pixels.
SIDE: Final = 7
CELL: Final = 8
CELLS: Final = SIDE * SIDE

KINDS: Final = ("nodule", "ring", "cross", "line", "band", "opacity")
#: Share of the cells without a finding.
CLEAR_SHARE: Final = 0.4

#: Every token that prompts and reports are made of; its id is its place.
VOCABULARY: Final = (
    "<pad>",
    "<end>",
    "<image>",
    "<video>",
    "<vision_start>",
    "<vision_end>",
    "<user>",
    "<assistant>",
    "begin at",
    "clear",
    ".",
    *KINDS,
    *(f"cell {cell}" for cell in range(CELLS)),
)
ID: Final = {token: index for index, token in enumerate(VOCABULARY)}
#: Cells by the id of their token.
CELL_OF: Final = {ID[f"cell {cell}"]: cell for cell in range(CELLS)}

#: What a cell shows, and the words for it: class 0 is no finding.
CLASSES: Final = ("clear", *KINDS)


@dataclass(frozen=True, kw_only=True)
class Case:
    """An image and the cell at which its report begins.

    Attributes:
        pixels: (S, S) in [0, 1].
        classes: (cells) places in `CLASSES`, row by row.
        first: The cell of the first sentence.
    """

    pixels: NDArray[np.float32]
    classes: NDArray[np.int64]
    first: int

    def order(self) -> list[int]:
        """The cells in the order of the report."""
        return [(self.first + step) % CELLS for step in range(CELLS)]

    def findings(self) -> dict[int, str]:
        """The kinds of the findings by their rank in the report."""
        shown = self.classes[self.order()].tolist()
        return {rank: CLASSES[index] for rank, index in enumerate(shown) if index}


def draw_case(rng: np.random.Generator, *, is_uneven: bool = False) -> Case:
    """Draws which cells hold what, the image, and where the report begins.

    Args:
        rng: Source of everything random here.
        is_uneven: Whether each image has a distribution of findings of its own, as where most findings are of one kind;
            else all kinds are equally frequent, so that nothing in a report tells what comes later.
    """
    shares = np.array([CLEAR_SHARE, *[(1 - CLEAR_SHARE) / len(KINDS)] * len(KINDS)])
    if is_uneven:
        shares = rng.dirichlet(np.full(len(CLASSES), 0.3))
    classes = rng.choice(len(CLASSES), size=CELLS, p=shares)
    pixels = rng.normal(0.35, 0.06, size=(SIDE * CELL, SIDE * CELL)) + 0.1 * rng.random()
    for cell, index in enumerate(classes.tolist()):
        if index:
            top, left = CELL * (cell // SIDE), CELL * (cell % SIDE)
            pixels[top : top + CELL, left : left + CELL] += rng.uniform(0.3, 0.5) * _shape(CLASSES[index], rng)
    return Case(pixels=np.clip(pixels, 0, 1).astype(np.float32), classes=classes, first=int(rng.integers(CELLS)))


def _shape(kind: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """How much of a finding each pixel of its cell shows, (cell, cell) in [0, 1]."""
    middle = (CELL - 1) / 2 + rng.uniform(-0.7, 0.7, size=2)
    y, x = np.arange(CELL)[:, None] - middle[0], np.arange(CELL)[None] - middle[1]
    from_middle = np.hypot(x, y)
    reach = rng.uniform(2.0, 3.0)
    if kind == "nodule":
        return np.asarray(np.clip(reach + 0.5 - from_middle, 0, 1))
    if kind == "ring":
        return np.asarray(np.clip(1 - np.abs(from_middle - reach), 0, 1))
    if kind == "opacity":
        return np.asarray(0.8 * np.exp(-((from_middle / reach) ** 2)))
    along, across = (np.abs(y) <= 0.7) & (np.abs(x) <= reach), (np.abs(x) <= 0.7) & (np.abs(y) <= reach)
    return np.asarray({"line": along, "band": across, "cross": along | across}[kind], dtype=np.float64)


def report_ids(case: Case, sentences: int) -> list[int]:
    """The first sentences of a case's report as tokens, and the end token."""
    words: list[str] = []
    for cell in case.order()[:sentences]:
        words += [f"cell {cell}", CLASSES[case.classes[cell]], "."]
    return [ID[word] for word in (*words, "<end>")]


def read_report(ids: Sequence[int], case: Case) -> dict[int, str]:
    """The kinds of the findings that a report states, by the rank of their cell; the first sentence on a cell counts.

    A sentence that is not a cell and what it shows states nothing.
    """
    rank = {cell: place for place, cell in enumerate(case.order())}
    said: dict[int, str] = {}
    sentence: list[int] = []
    for index in ids:
        if index == ID["<end>"]:
            break
        if index != ID["."]:
            sentence.append(index)
            continue
        if len(sentence) == 2 and sentence[0] in CELL_OF:
            said.setdefault(rank[CELL_OF[sentence[0]]], VOCABULARY[sentence[1]])
        sentence = []
    return {place: kind for place, kind in said.items() if kind in KINDS}


def counts(said: Mapping[int, str], reference: Mapping[int, str], ranks: range) -> tuple[int, int, int]:
    """Findings among these ranks that are right, that were said, and that are there."""
    mine = {rank: kind for rank, kind in said.items() if rank in ranks}
    theirs = {rank: kind for rank, kind in reference.items() if rank in ranks}
    return sum(theirs.get(rank) == kind for rank, kind in mine.items()), len(mine), len(theirs)


def batch(cases: Sequence[Case], sentences: int | None = None) -> dict[str, Tensor]:
    """Inputs of `generate`, or of `forward` with the labels of that many sentences; rows are padded on the right.

    Prompts are all of one length, so nothing is padded before a report. Only reports are supervised.

    Args:
        cases: The images and where their reports begin.
        sentences: Sentences of each report; None for prompts alone.
    """
    import torch

    rows = [_prompt(case) + ([] if sentences is None else report_ids(case, sentences)) for case in cases]
    longest = max(map(len, rows))
    input_ids = torch.tensor([row + [ID["<pad>"]] * (longest - len(row)) for row in rows])
    attention_mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    inputs = {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "mm_token_type_ids": (input_ids == ID["<image>"]).long(),
        "pixel_values": torch.from_numpy(_patches(np.stack([case.pixels for case in cases]))),
        "image_grid_thw": torch.tensor([[1, SIDE, SIDE]] * len(cases)),
    }
    if sentences is not None:
        inputs["labels"] = input_ids.masked_fill(attention_mask == 0, -100)
        inputs["labels"][:, : len(_prompt(cases[0]))] = -100
    return inputs


def _prompt(case: Case) -> list[int]:
    image = ["<vision_start>", *["<image>"] * CELLS, "<vision_end>"]
    begin = ["begin at", f"cell {case.first}"]
    return [ID[word] for word in ("<user>", *image, *begin, "<end>", "<assistant>")]


def _patches(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B, S, S) to (B * cells, 3 * cell * cell) in [-2, 2], three equal channels, in Qwen3-VL's order."""
    values = ((images - 0.5) / 0.25).reshape(len(images), SIDE, CELL, SIDE, CELL).transpose(0, 1, 3, 2, 4)
    cells = values.reshape(-1, 1, CELL * CELL)
    return np.ascontiguousarray(np.broadcast_to(cells, (len(cells), 3, CELL * CELL)).reshape(len(cells), -1))
