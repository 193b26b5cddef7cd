"""What is one labelled pair, whichever data set it comes from?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ingest.align import align_pair
from ingest.pairing import Pair
from reports.vocabulary import Domain
from training.batch import PairSample
from training.errors import TrainingError
from training.prompt import Wording
from training.samples import model_image, square_image


class DataSetUnusable(TrainingError, ValueError):
    """A data set is not in its published format; the message names the file, the line and what is expected."""


class Split(StrEnum):
    """Which part of a data set a pair belongs to."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


#: How data sets name the three parts.
SPLIT_NAMES = {
    "train": Split.TRAIN,
    "val": Split.VALIDATION,
    "validate": Split.VALIDATION,
    "validation": Split.VALIDATION,
    "test": Split.TEST,
}


class Images(Protocol):
    """Where the two images of a pair are."""

    def load(self, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Prior and current as the model sees them, (size, size, 3) each."""
        ...

    def files(self) -> tuple[Path, ...]:
        """The files of prior and current, prior first."""
        ...


@dataclass(frozen=True)
class ImageFiles:
    """Two pictures (JPEG, PNG) that are not aligned further."""

    prior: Path
    current: Path

    def load(self, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Prior and current, (size, size, 3) each.

        Raises:
            DataSetUnusable: A picture is missing or cannot be decoded.
        """
        return _picture(self.prior, size), _picture(self.current, size)

    def files(self) -> tuple[Path, ...]:
        """Prior and current."""
        return (self.prior, self.current)


@dataclass(frozen=True)
class Unlocated:
    """Images that belong to another data set, whose folder was not given: answers can be scored, not predicted."""

    where: str

    def load(self, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Nothing.

        Raises:
            DataSetUnusable: Always.
        """
        raise DataSetUnusable(f"The images belong to {self.where}; give its folder as well (--images).")

    def files(self) -> tuple[Path, ...]:
        """None."""
        return ()


@dataclass(frozen=True)
class ArchiveImages:
    """A pair of an archive, aligned as `interval run` aligns it and shown as a whole, not in chips."""

    pair: Pair

    def load(self, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Prior and current on the current's grid, (size, size, 3) each.

        Raises:
            IngestError: The pair cannot be aligned.
        """
        aligned = align_pair(self.pair)
        return model_image(aligned.prior, size=size), model_image(aligned.current, size=size)

    def files(self) -> tuple[Path, ...]:
        """Prior and current."""
        return (self.pair.prior.path, self.pair.current.path)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One labelled pair with one question.

    Attributes:
        id: Unique in its data set, and the same in every run.
        subject: Patient or area: what may not stand in two splits, and what is resampled for intervals.
        split: The part that it belongs to.
        domain: Radiology or satellite.
        images: The two images.
        wording: How the question is put.
        question: Replaces the wording's own question, where each sample has another one.
        answers: Reference texts; training takes each as a sample of its own.
        labels: (finding, change) that the reference holds; None where the data set has no such labels.
        is_changed: Whether the reference says that something changed; None where it does not say.
        notes: What was seen about this pair that a reader should know, as codes.
    """

    id: str
    subject: str
    split: Split
    domain: Domain
    images: Images
    wording: Wording
    answers: tuple[str, ...]
    question: str | None = None
    labels: frozenset[tuple[str, ...]] | None = None
    is_changed: bool | None = None
    notes: tuple[str, ...] = ()

    def pair_sample(self, size: int, *, answer: str | None = None) -> PairSample:
        """The pair as a model is given it; loads the images.

        Raises:
            DataSetUnusable: A picture is missing or cannot be decoded.
            IngestError: A pair of an archive cannot be aligned.
        """
        prior, current = self.images.load(size)
        return PairSample(
            domain=self.domain,
            prior=prior,
            current=current,
            report=answer,
            wording=self.wording,
            question=self.question,
        )


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Why rows of a data set gave no sample.

    Attributes:
        code: The reason, such as `ORDER_UNKNOWN`.
        reason: One sentence.
        lines: Where, at most a few of them; no identifiers of patients.
        count: How many rows.
    """

    code: str
    reason: str
    lines: tuple[int, ...]
    count: int


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What a reader has read.

    Attributes:
        name: Which format, for people and for results.
        samples: In the order of the files.
        left_out: What gave no sample, by reason.
        repaired: What was put right, by code, with its number.
    """

    name: str
    samples: tuple[Sample, ...]
    left_out: tuple[LeftOut, ...] = ()
    repaired: dict[str, int] = field(default_factory=dict)

    def notes(self) -> dict[str, int]:
        """How many samples have each note."""
        return dict(sorted(Counter(note for one in self.samples for note in one.notes).items()))

    def of(self, split: Split) -> tuple[Sample, ...]:
        """The samples of one split.

        Raises:
            DataSetUnusable: There are none.
        """
        chosen = tuple(one for one in self.samples if one.split is split)
        if not chosen:
            found = Counter(one.split.value for one in self.samples)
            there = ", ".join(f"{count} in {name}" for name, count in sorted(found.items())) or "none at all"
            raise DataSetUnusable(f"{self.name} has no sample in the split {split.value}: there are {there}.")
        return chosen


class Sieve:
    """Collects what is left out, with a few line numbers a reason."""

    def __init__(self, reasons: dict[str, str]) -> None:
        self._reasons = reasons
        self._lines: dict[str, list[int]] = {}

    def drop(self, code: str, line: int) -> None:
        """Counts one row."""
        self._lines.setdefault(code, []).append(line)

    def left_out(self) -> tuple[LeftOut, ...]:
        """All reasons that occurred, in the order of the reasons."""
        return tuple(
            LeftOut(code=code, reason=reason, lines=tuple(self._lines[code][:5]), count=len(self._lines[code]))
            for code, reason in self._reasons.items()
            if code in self._lines
        )


def unique(samples: Iterable[Sample], name: str) -> tuple[Sample, ...]:
    """The samples, whose ids are unique.

    Raises:
        DataSetUnusable: Two samples have one id.
    """
    kept: Sequence[Sample] = tuple(samples)
    if len({one.id for one in kept}) < len(kept):
        twice = sum(count > 1 for count in Counter(one.id for one in kept).values())
        raise DataSetUnusable(f"{name}: {twice} ids occur twice; keep one row of each.")
    return tuple(kept)


def _picture(path: Path, size: int) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as opened:
            values = np.asarray(opened.convert("RGB"), dtype=np.float32) / np.float32(255)
    except FileNotFoundError as error:
        raise DataSetUnusable(f"{path.name} is not there; fetch the images of the data set first.") from error
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataSetUnusable(f"{path.name} cannot be decoded; fetch it again.") from error
    return square_image(np.moveaxis(values, -1, 0), size=size)
