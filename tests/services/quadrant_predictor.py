"""A predictor without weights: it compares the mean brightness of each quadrant of prior and current.

It is what the tests of the services run, so that they need no trained model. It is honest: its findings follow from the
pixels of the aligned pair, and it says under its own name that it is no neural network.
"""

import hashlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ingest.pixels import AlignedPair
from reports.change import Change
from reports.compose import compose
from reports.finding import Finding
from reports.vocabulary import Domain

#: Difference of mean brightness from which a quadrant counts as changed.
THRESHOLD = 0.01

PLACES = {
    Domain.RADIOLOGY: ("right upper", "left upper", "right lower", "left lower"),
    Domain.SATELLITE: ("north-west", "north-east", "south-west", "south-east"),
}
FINDING = {Domain.RADIOLOGY: "lung opacity", Domain.SATELLITE: "bare soil"}


@dataclass(frozen=True, kw_only=True)
class QuadrantPrediction:
    text: str
    findings: tuple[Finding, ...]
    evidence: NDArray[np.float32]
    raw_output: str
    unparsed: tuple[str, ...] = ()
    quality: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class QuadrantPredictor:
    """Attributes as `services.predictor.Predictor`; `delay` makes a job last so many seconds."""

    name: str = "quadrant means"
    model_hash: str = "quadrants-1"
    adapter_hash: str = ""
    prompt_version: str = "none"
    trained_on_real_images: bool = False
    supported_views: tuple[str, ...] = ("AP", "PA")
    delay: float = 0.0

    def report(self, aligned: AlignedPair, domain: Domain) -> QuadrantPrediction:
        time.sleep(self.delay)
        difference = aligned.current.values.mean(axis=0) - aligned.prior.values.mean(axis=0)
        difference = np.where(aligned.prior.valid & aligned.current.valid, difference, 0.0)
        middle = difference.shape[0] // 2, difference.shape[1] // 2
        findings = []
        for number, place in enumerate(PLACES[domain]):
            rows = slice(None, middle[0]) if number < 2 else slice(middle[0], None)
            columns = slice(None, middle[1]) if number % 2 == 0 else slice(middle[1], None)
            mean = float(difference[rows, columns].mean())
            change = Change.WORSE if mean > THRESHOLD else Change.IMPROVED if mean < -THRESHOLD else Change.STABLE
            findings.append(Finding(domain=domain, finding=FINDING[domain], place=place, change=change))
        text = compose(domain, findings)
        return QuadrantPrediction(
            text=text, findings=tuple(findings), evidence=block_means(np.abs(difference)), raw_output=text
        )


def block_means(values: NDArray[np.floating], blocks: int = 8) -> NDArray[np.float32]:
    rows = np.array_split(values, blocks, axis=0)
    return np.array([[part.mean() for part in np.array_split(row, blocks, axis=1)] for row in rows], dtype=np.float32)


class FaultyPredictor(QuadrantPredictor):
    """Fails on every pair, with a message that holds what must not be repeated."""

    SECRET: ClassVar[str] = "Bartholomew^Snollygoster"

    def report(self, aligned: AlignedPair, domain: Domain) -> QuadrantPrediction:
        raise RuntimeError(f"cannot work in {Path.cwd()} on {self.SECRET}")


@dataclass(frozen=True, kw_only=True)
class DeadlyPredictor(QuadrantPredictor):
    """Ends its process on the pair with this fingerprint, as a driver that crashes does."""

    EXIT_CODE: ClassVar[int] = 70
    poison: str

    def report(self, aligned: AlignedPair, domain: Domain) -> QuadrantPrediction:
        if fingerprint(aligned) == self.poison:
            os._exit(self.EXIT_CODE)
        return super().report(aligned, domain)


def fingerprint(aligned: AlignedPair) -> str:
    return hashlib.sha256(aligned.current.values.tobytes() + aligned.prior.values.tobytes()).hexdigest()
