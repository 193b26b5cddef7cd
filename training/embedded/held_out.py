"""Which pairs is the embedded model measured on? Those of two archives of one seed, through the whole line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reports.compose import compose
from reports.finding import Finding
from reports.parse import parse
from reports.vocabulary import Domain
from training.batch import PairSample
from training.control import labelled_samples
from training.errors import TrainingError
from training.phantoms.dicom_archive import write_dicom_archive
from training.phantoms.geotiff_archive import write_geotiff_archive
from training.predict import Predictor
from training.whole_file import write_whole

_WRITERS: Final[dict[Domain, Callable[[Path, int, int], Path]]] = {
    Domain.RADIOLOGY: lambda root, subjects, seed: write_dicom_archive(root, subjects=subjects, seed=seed),
    Domain.SATELLITE: lambda root, subjects, seed: write_geotiff_archive(root, places=subjects, seed=seed),
}

#: Pairs that a subject gives at least, on average: two to four studies or scenes each, some of them lateral only.
_PAIRS_A_SUBJECT: Final = 1.6


@dataclass(frozen=True, kw_only=True)
class HeldOutPair:
    """A pair as the model sees it, aligned by the line, with what there is to find.

    Attributes:
        id: Of the pair.
        subject: The patient or place, by its key in the archive.
        sample: The two model images.
        reference: Findings of the archive's labels.
    """

    id: str
    subject: str
    sample: PairSample
    reference: tuple[Finding, ...]


def held_out_pairs(folder: Path, domain: Domain, *, pairs: int, seed: int, predictor: Predictor) -> list[HeldOutPair]:
    """The first so many labelled pairs of an archive of the seed; kept in the folder, so that they are made once.

    Raises:
        TrainingError: The archive has too few pairs.
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = predictor.image_size
    path = folder / f"{domain}-{pairs}-seed{seed}-{size}px.npz"
    if not path.is_file():
        root = folder / f"{domain}-archive"
        shutil.rmtree(root, ignore_errors=True)
        _WRITERS[domain](root, int(pairs / _PAIRS_A_SUBJECT) + 1, seed)
        made = list(islice(labelled_samples(root, predictor), pairs))
        shutil.rmtree(root)
        if len(made) < pairs:
            raise TrainingError(f"The {domain} archive gave {len(made)} labelled pairs, not {pairs}: ask for fewer.")
        columns = {
            "ids": np.array([pair_id for pair_id, _, _, _ in made]),
            "subjects": np.array([subject for _, subject, _, _ in made]),
            "reports": np.array([compose(domain, reference) for _, _, _, reference in made]),
            "priors": np.stack([sample.prior for _, _, sample, _ in made]),
            "currents": np.stack([sample.current for _, _, sample, _ in made]),
        }
        write_whole(path, lambda part: _write(part, columns))
    with np.load(path, allow_pickle=False) as stored:
        columns = {name: stored[name] for name in stored.files}
    return [
        HeldOutPair(
            id=str(pair_id),
            subject=str(subject),
            sample=PairSample(domain=domain, prior=prior, current=current),
            reference=parse(domain, str(report)).findings,
        )
        for pair_id, subject, report, prior, current in zip(
            *(columns[name] for name in ("ids", "subjects", "reports", "priors", "currents")), strict=True
        )
    ]


def _write(path: Path, columns: dict[str, NDArray[np.generic]]) -> None:
    with path.open("wb") as file:  # by name, NumPy would put another suffix behind the part's
        np.savez(file, allow_pickle=False, **columns)
