"""Which labelled progressions does MS-CXR-T 1.0.0 hold?

One sample for each annotated finding of a pair. The set is a benchmark: all of it is test. Columns are found by name;
which others there are (label quality, `previous_study_id`) differs between copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reports.change import MIRRORED, Change
from reports.progression import FINDINGS, LABEL_WORDS, sentence
from reports.vocabulary import Domain
from training.prompt import Wording
from training.readers.mimic_cxr_jpg import MimicImages
from training.readers.sample import DataSet, DataSetUnusable, ImageFiles, Images, Sample, Sieve, Split, Unlocated
from training.readers.table import find_table, read_table, whole_number

NAME: Final = "MS-CXR-T"
TABLE: Final = "MS_CXR_T_temporal_image_classification_v1.0.0.csv"

_SUFFIX = "_progression"
_REASONS: Final = {
    "UNKNOWN_IMAGE": "an image of the pair is not in MIMIC-CXR-JPG's table",
    "IDENTITY_CONFLICT": "prior and current are of two patients",
    "ORDER_UNKNOWN": "both images have one time",
    "CONTRADICTION": "two rows of one pair and finding have different labels",
}


def read_ms_cxr_t(folder: Path, *, images: MimicImages | None = None) -> DataSet:
    """The labelled progressions of a folder.

    Args:
        folder: Holds the table of temporal image classification.
        images: MIMIC-CXR-JPG; with it the order of each pair is checked, and a reversed one is put right with its
            label.

    Raises:
        DataSetUnusable: The table is missing or not in the published format.
    """
    sieve = Sieve(_REASONS)
    groups: dict[tuple[str, str, str], list[tuple[int, Change, str, bool]]] = {}
    for line, prior, current, subject, labels in _rows(find_table(folder, TABLE)):
        reversed_ = False
        if images is not None:
            code = _conflict(prior, current, subject, images)
            if code is not None:
                sieve.drop(code, line)
                continue
            reversed_ = images.by_dicom[prior].time > images.by_dicom[current].time
        pair = (current, prior) if reversed_ else (prior, current)
        for name, change in labels.items():
            own = (line, MIRRORED[change] if reversed_ else change, subject, reversed_)
            groups.setdefault((*pair, name), []).append(own)
    samples = []
    n_reversed = n_repeated = 0
    for (prior, current, name), rows in groups.items():
        line, change, subject, reversed_ = rows[0]
        if any(one[1] is not change for one in rows):
            for one in rows:
                sieve.drop("CONTRADICTION", one[0])
            continue
        n_reversed += reversed_
        n_repeated += len(rows) - 1
        located: Images = Unlocated("MIMIC-CXR-JPG")
        if images is not None:
            located = ImageFiles(images.path(prior), images.path(current))
        samples.append(
            Sample(
                id=f"{prior}_{current}_{name.replace(' ', '-')}",
                subject=f"p{subject}",
                split=Split.TEST,
                domain=Domain.RADIOLOGY,
                images=located,
                wording=Wording.MS_CXR_T,
                question=f"How has {name} changed: improved, stable or worse?",
                answers=(sentence(name, change),),
                labels=frozenset({(name, change.value)}),
                is_changed=change is not Change.STABLE,
                notes=("REVERSED",) if reversed_ else (),
            )
        )
    repaired = {"REVERSED": n_reversed, "REPEATED": n_repeated}
    return DataSet(
        name=NAME,
        samples=tuple(samples),
        left_out=sieve.left_out(),
        repaired={code: number for code, number in repaired.items() if number},
    )


def _rows(path: Path) -> Iterator[tuple[int, str, str, str, dict[str, Change]]]:
    """Line, prior, current, subject and the labels that are given, of each row."""
    columns = {name: name.replace(" ", "_") + _SUFFIX for name in FINDINGS}
    wanted = ("dicom_id", "previous_dicom_id", "study_id", "subject_id", *columns.values())
    for line, cells in read_table(path, wanted):
        labels = {}
        for name, column in columns.items():
            word = cells[column].strip().casefold()
            if word and word not in LABEL_WORDS:
                known = ", ".join(LABEL_WORDS)
                raise DataSetUnusable(f"{path.name}, line {line}: {column} is {word!r}; known: {known}, or empty.")
            if word:
                labels[name] = LABEL_WORDS[word]
        try:
            subject = whole_number(cells["subject_id"])
        except ValueError as error:
            raise DataSetUnusable(f"{path.name}, line {line}: subject_id is no number.") from error
        yield line, cells["previous_dicom_id"].strip(), cells["dicom_id"].strip(), subject, labels


def _conflict(prior: str, current: str, subject: str, images: MimicImages) -> str | None:
    """Why a pair cannot be used, as a code."""
    if prior not in images.by_dicom or current not in images.by_dicom:
        return "UNKNOWN_IMAGE"
    first, second = images.by_dicom[prior], images.by_dicom[current]
    if {first.subject, second.subject} != {subject}:
        return "IDENTITY_CONFLICT"
    return "ORDER_UNKNOWN" if first.time == second.time else None
