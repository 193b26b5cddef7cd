"""What is measured of a model on held-out pairs of one domain?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

from reports.audit import AuditedPair, DomainAudit, audit
from reports.finding import Finding
from reports.parse import parse
from reports.vocabulary import Domain
from training.batch import PairSample
from training.control import texts_of
from training.embedded.controls import Mirrored, mirrored, unchanged_share
from training.embedded.errors import Errors, errors_of, total
from training.embedded.held_out import HeldOutPair
from training.predict import Predictor

#: Pairs whose reports are timed one by one.
_TIMED: Final = 20

_WEIGHTS: Final = ".safetensors"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A model on the pairs of one domain.

    Attributes:
        domain: Of the pairs.
        audit: Reports against reference.
        mirrored: What turns round when prior and current change places.
        unchanged: Share of reports without a change when the prior is the current.
        errors: Where the errors come from, by finding.
        seconds: Median time of one report, pairs one by one.
    """

    domain: Domain
    audit: DomainAudit
    mirrored: Mirrored
    unchanged: float | None
    errors: dict[str, Errors]
    seconds: float


def measure(pairs: Sequence[HeldOutPair], predictor: Predictor) -> Measured:
    """Reports on pairs of one domain as they are, with prior and current swapped, and with the current twice."""
    domain = pairs[0].sample.domain
    samples = [pair.sample for pair in pairs]
    reported, result = audited(pairs, predictor)
    swapped = [replace(one, prior=one.current, current=one.prior) for one in samples]
    twice = [replace(one, prior=one.current) for one in samples]
    return Measured(
        domain=domain,
        audit=result,
        mirrored=mirrored([pair.predicted for pair in reported], _findings(domain, swapped, predictor)),
        unchanged=unchanged_share(_findings(domain, twice, predictor)),
        errors=total([errors_of(pair.predicted, pair.reference) for pair in reported]),
        seconds=median(_seconds(sample, predictor) for sample in samples[:_TIMED]),
    )


def audited(pairs: Sequence[HeldOutPair], predictor: Predictor) -> tuple[list[AuditedPair], DomainAudit]:
    """Reports on pairs of one domain beside the reference, and their audit."""
    domain = pairs[0].sample.domain
    reports = [parse(domain, text) for text in texts_of([pair.sample for pair in pairs], predictor)]
    reported = [
        AuditedPair(
            id=pair.id,
            subject=pair.subject,
            domain=domain,
            predicted=report.findings,
            reference=pair.reference,
            unparsed=len(report.unparsed),
        )
        for pair, report in zip(pairs, reports, strict=True)
    ]
    return reported, audit(reported).domains[0]


def megabytes(folder: Path) -> float:
    """Size of the weights in a model folder, in 10^6 bytes."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.suffix == _WEIGHTS) / 1e6


def _findings(domain: Domain, samples: Sequence[PairSample], predictor: Predictor) -> list[tuple[Finding, ...]]:
    return [parse(domain, text).findings for text in texts_of(samples, predictor)]


def _seconds(sample: PairSample, predictor: Predictor) -> float:
    started = time.perf_counter()
    predictor.generate([sample])
    return time.perf_counter() - started
