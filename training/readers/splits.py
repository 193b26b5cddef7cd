"""Is every patient or area in one split only, and how are subjects dealt to splits?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from training.errors import TrainingError
from training.readers.sample import DataSet, Sample, Split

#: Of a hundred subjects: up to here train, up to here validation, the rest test.
_TRAIN, _VALIDATION = 80, 90

#: Bytes that are compared first of two files of one size.
_HEAD: Final = 65_536


class LeakingSplits(TrainingError, ValueError):
    """Training data and test data share patients, areas or images; split the data set by subject."""


def split_of(subject: str) -> Split:
    """The split of a subject: 80, 10 and 10 of a hundred, by a hash of its key alone."""
    number = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8], "big") % 100
    return Split.TRAIN if number < _TRAIN else Split.VALIDATION if number < _VALIDATION else Split.TEST


def split_by_subject(data_set: DataSet) -> DataSet:
    """The data set with every subject in one split, whatever splits were published."""
    return replace(data_set, samples=tuple(replace(one, split=split_of(one.subject)) for one in data_set.samples))


def check_leaks(samples: Sequence[Sample], *, compare_files: bool = False) -> None:
    """Nothing, if no subject and no image is in two splits.

    Args:
        samples: Of all splits.
        compare_files: Also look for equal files under different subjects or names, which takes reading those whose size
            is found in two splits.

    Raises:
        LeakingSplits: A subject or an image is in two splits. The message has numbers and no identifiers.
    """
    _refuse("patients or areas", _shared((one.subject, one.split) for one in samples))
    _refuse("images", _shared((path, one.split) for one in samples for path in one.images.files()))
    if compare_files:
        _refuse("images with equal bytes", _equal_files(samples))


def training_samples(data_set: DataSet, *, compare_files: bool = False) -> tuple[Sample, ...]:
    """What may be trained on: the training split, after the leak check.

    Raises:
        LeakingSplits: A subject or an image is in two splits.
        DataSetUnusable: There is no training split.
    """
    check_leaks(data_set.samples, compare_files=compare_files)
    return data_set.of(Split.TRAIN)


def _shared(items: Iterable[tuple[object, Split]]) -> dict[tuple[Split, ...], int]:
    """How many keys are in more than one split, by which splits."""
    splits: dict[object, set[Split]] = {}
    for key, split in items:
        splits.setdefault(key, set()).add(split)
    found: dict[tuple[Split, ...], int] = {}
    for several in splits.values():
        if len(several) > 1:
            own = tuple(one for one in Split if one in several)
            found[own] = found.get(own, 0) + 1
    return found


def _refuse(what: str, shared: dict[tuple[Split, ...], int]) -> None:
    if shared:
        told = "; ".join(f"{count} in {' and '.join(splits)}" for splits, count in sorted(shared.items()))
        raise LeakingSplits(
            f"{what[:1].upper()}{what[1:]} are in more than one split ({told}), so scores would be of what was trained "
            "on; split by subject instead of by pair (`split_by_subject`), or leave one of each out."
        )


def _equal_files(samples: Sequence[Sample]) -> dict[tuple[Split, ...], int]:
    where: dict[Path, Split] = {path: one.split for one in samples for path in one.images.files()}
    keys: dict[Path, object] = {path: path.stat().st_size for path in where}
    for read in (_HEAD, None):
        several = _in_two_splits(keys, where)
        keys = {path: (keys[path], _digest(path, read)) for path in several}
    return _shared((key, where[path]) for path, key in keys.items())


def _in_two_splits(keys: dict[Path, object], where: dict[Path, Split]) -> list[Path]:
    """Files whose key is found in two splits."""
    splits: dict[object, set[Split]] = {}
    for path, key in keys.items():
        splits.setdefault(key, set()).add(where[path])
    return [path for path, key in keys.items() if len(splits[key]) > 1]


def _digest(path: Path, most: int | None) -> bytes:
    with path.open("rb") as file:
        if most is not None:
            return hashlib.sha256(file.read(most)).digest()
        return hashlib.file_digest(file, "sha256").digest()
