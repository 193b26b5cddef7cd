"""Does the model use the prior? `python -P -m training.control ARCHIVE...` scores it with the prior and without.

Each archive has a `labels.csv`. Every labelled pair is reported on twice: as it is, and with the prior replaced by the
current image, so that a model that only guesses changes from the current scores the same both times.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from ingest.align import align_pair
from ingest.index import index_archive
from ingest.pair import pair_acquisitions
from reports.audit import Audit, AuditedPair, audit
from reports.finding import Finding
from reports.labels import read_labels
from reports.parse import parse
from reports.vocabulary import Domain
from training.batch import PairSample
from training.predict import Predictor

#: Pairs that are reported on at once.
BATCH = 16

#: Pair id, subject, model images and reference findings of a labelled pair.
Labelled = tuple[str, str, PairSample, tuple[Finding, ...]]


def labelled_samples(root: Path, predictor: Predictor) -> Iterator[Labelled]:
    """Every labelled pair of an archive.

    Raises:
        IngestError: A labelled pair cannot be aligned.
    """
    labels = read_labels(root / "labels.csv")
    for pair in pair_acquisitions(index_archive(root).acquisitions).pairs:
        labelled = labels.of(
            prior_id=pair.prior.id,
            current_id=pair.current.id,
            prior_name=pair.prior.name,
            current_name=pair.current.name,
        )
        if labelled is not None:
            sample = predictor.sample(align_pair(pair), Domain(pair.domain))
            yield pair.id, pair.subject, sample, labelled.findings


def control(root: Path, predictor: Predictor) -> tuple[Audit, Audit]:
    """The audit of an archive as it is, and with each prior replaced by its current."""
    rows = list(labelled_samples(root, predictor))
    with_prior = [sample for _, _, sample, _ in rows]
    without = [replace(sample, prior=sample.current) for sample in with_prior]
    return audit_samples(rows, with_prior, predictor), audit_samples(rows, without, predictor)


def audit_samples(rows: Sequence[Labelled], samples: Sequence[PairSample], predictor: Predictor) -> Audit:
    """The audit of what the model says about the samples, which stand in the place of the rows' own."""
    pairs = []
    for (pair_id, subject, sample, reference), text in zip(rows, texts_of(samples, predictor), strict=True):
        parsed = parse(sample.domain, text)
        pairs.append(
            AuditedPair(
                id=pair_id,
                subject=subject,
                domain=sample.domain,
                predicted=parsed.findings,
                reference=reference,
                unparsed=len(parsed.unparsed),
            )
        )
    return audit(pairs)


def texts_of(samples: Sequence[PairSample], predictor: Predictor) -> list[str]:
    """What the model writes about each sample; every batch has two samples at least, where there are as many."""
    return [
        generated.text
        for first, last in _batches(len(samples))
        for generated in predictor.generate(samples[first:last])
    ]


def _batches(count: int) -> list[tuple[int, int]]:
    """Where each batch begins and ends; a last one of one sample joins the one before."""
    edges = [*range(0, count, BATCH), count]
    if len(edges) > 2 and edges[-1] - edges[-2] == 1:
        del edges[-2]
    return list(pairwise(edges))


def main() -> None:
    """Command line of the control."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("archives", nargs="+", type=Path, metavar="ARCHIVE")
    parser.add_argument("--model", type=Path, help="folder of the model; the embedded one by default")
    arguments = parser.parse_args()
    predictor = Predictor.load(arguments.model)
    for root in arguments.archives:
        for title, result in zip(
            ("prior as it is", "prior replaced by the current"), control(root, predictor), strict=True
        ):
            sys.stdout.write(f"{title}\n{result.table()}\n\n")


if __name__ == "__main__":
    main()
