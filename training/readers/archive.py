"""Which labelled pairs does an archive of our own hold: the pairs of `interval run` with a labels CSV?"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ingest.index import index_archive
from ingest.pair import pair_acquisitions
from reports.compose import compose
from reports.f1 import Level, has_change, labels_of
from reports.labels import read_labels
from reports.vocabulary import Domain
from training.prompt import Wording
from training.readers.sample import ArchiveImages, DataSet, LeftOut, Sample, Split
from training.readers.splits import split_of

NAME: Final = "archive"
LABELS: Final = "labels.csv"


def read_archive(folder: Path, labels: Path | None = None, *, split: Split | None = None) -> DataSet:
    """The labelled pairs of an archive, with our report as the answer.

    Pairs are those that `interval run` forms by the default rules. Subjects are dealt to the splits by a hash of their
    key, so that a patient or place is in one split only and stays in it as the archive grows.

    Args:
        folder: An archive.
        labels: The labels; `labels.csv` in the archive by default.
        split: Puts all pairs into this split instead.

    Raises:
        ArchiveMissing: There is no such folder.
        UnusableLabels: The labels cannot be used.
    """
    labelled = read_labels(folder / LABELS if labels is None else labels)
    samples = []
    for pair in pair_acquisitions(index_archive(folder).acquisitions).pairs:
        reference = labelled.of(
            prior_id=pair.prior.id,
            current_id=pair.current.id,
            prior_name=pair.prior.name,
            current_name=pair.current.name,
        )
        if reference is None:
            continue
        domain = Domain(pair.domain)
        samples.append(
            Sample(
                id=pair.id,
                subject=pair.subject,
                split=split_of(pair.subject) if split is None else split,
                domain=domain,
                images=ArchiveImages(pair),
                wording=Wording.REPORT,
                answers=(compose(domain, reference.findings),),
                labels=labels_of(reference.findings, Level.EXACT),
                is_changed=has_change(reference.findings),
            )
        )
    unused = len(labelled.pairs) - len(samples)
    left_out = (
        LeftOut(code="NO_PAIR", reason="labels of pairs that the archive does not form", lines=(), count=unused),
    )
    return DataSet(name=NAME, samples=tuple(samples), left_out=left_out if unused else ())
