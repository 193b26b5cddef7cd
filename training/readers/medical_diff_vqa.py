"""Which labelled pairs does Medical-Diff-VQA hold, each with prior and current in the order of their dates?

PhysioNet 1.0.0 and 1.0.1; only questions of the type `difference`. The reference study is any earlier frontal one, not
the most recent. Its traps, and what is done about each:

- Reference later than the main study (1.0.0, and rows that the repair of 1.0.1 left): the pair is put in the order of
  its dates and the answer mirrored; where the answer cannot be read whole, the row is left out.
- Two studies on one date share a `study_order`: StudyTime of MIMIC-CXR-JPG decides; without it the row is left out.
- One pair in two rows, also once in each order: one is kept if they say the same, none if they contradict each other.
- "The level of" is a fourth kind of answer. Where it is asked about an area, the answer leaves out all other changes:
  the row keeps its own question and says so in its notes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from reports.difference import Difference, read_difference
from reports.vocabulary import Domain
from training.prompt import Wording
from training.readers.mimic_cxr_jpg import FRONTAL, MimicImages, image_path
from training.readers.sample import (
    SPLIT_NAMES,
    DataSet,
    DataSetUnusable,
    ImageFiles,
    Images,
    Sample,
    Sieve,
    Split,
    Unlocated,
)
from training.readers.table import find_table, read_table, whole_number

NAME: Final = "Medical-Diff-VQA"
QUESTIONS: Final = "mimic_pair_questions.csv"
STUDIES: Final = "mimic_all.csv"

#: Notes of a sample.
LEVEL: Final = "LEVEL"
AREA_QUESTION: Final = "AREA_QUESTION"
REVERSED: Final = "REVERSED"

_REASONS: Final = {
    "UNKNOWN_STUDY": f"a study of the pair is not in {STUDIES}",
    "IDENTITY_CONFLICT": "prior and current are of two patients",
    "NOT_FRONTAL": "prior or current is no frontal image",
    "ORDER_UNKNOWN": "both studies have one date and no different time: give the images' folder, which has the times",
    "REVERSED_UNREADABLE": "the reference is later than the main study and the answer cannot be mirrored",
    "CONTRADICTION": "two rows of one pair give different answers",
}
_GENERAL = "what has changed compared to the reference image?"


@dataclass(frozen=True, slots=True)
class _Study:
    """What the table of studies says about one."""

    subject: str
    dicom: str
    is_frontal: bool
    time: datetime


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One question about a pair in the order of its dates."""

    line: int
    prior: str
    current: str
    question: str | None
    difference: Difference
    answer: str
    split: Split
    is_reversed: bool


def read_medical_diff_vqa(folder: Path, *, images: MimicImages | None = None) -> DataSet:
    """The pairs of a folder with the two published tables.

    Args:
        folder: Holds `mimic_pair_questions.csv` and `mimic_all.csv`.
        images: MIMIC-CXR-JPG; without it there are no images to load and no times of the day.

    Raises:
        DataSetUnusable: A table is missing or not in the published format.
    """
    studies = _read_studies(find_table(folder, STUDIES), images)
    sieve = Sieve(_REASONS)
    groups: dict[tuple[str, str, str | None], list[_Row]] = {}
    for row in _read_rows(find_table(folder, QUESTIONS), studies, sieve):
        groups.setdefault((row.prior, row.current, row.question), []).append(row)
    samples, repaired = [], {"REVERSED": 0, "REPEATED": 0}
    for rows in groups.values():
        first = rows[0]
        if any(_meaning(one.difference) != _meaning(first.difference) or one.split != first.split for one in rows):
            for one in rows:
                sieve.drop("CONTRADICTION", one.line)
            continue
        repaired["REVERSED"] += first.is_reversed
        repaired["REPEATED"] += len(rows) - 1
        samples.append(_sample(first, studies, images))
    return DataSet(
        name=NAME,
        samples=tuple(samples),
        left_out=sieve.left_out(),
        repaired={code: number for code, number in repaired.items() if number},
    )


def _meaning(difference: Difference) -> tuple[frozenset[object], ...]:
    # the generator shuffles the findings of an answer
    return frozenset(difference.added), frozenset(difference.missing), frozenset(difference.levels)


def _read_studies(path: Path, images: MimicImages | None) -> dict[str, _Study]:
    columns = ("subject_id", "study_id", "dicom_id", "view", "study_date", "study_order")
    studies: dict[str, _Study] = {}
    for line, row in read_table(path, columns):
        try:
            study = whole_number(row["study_id"])
            known = images.studies.get(study) if images is not None else None
            studies[study] = _Study(
                whole_number(row["subject_id"]),
                row["dicom_id"],
                row["view"].strip().casefold() in FRONTAL,
                known or _date(row["study_date"]),
            )
        except ValueError as error:
            raise DataSetUnusable(f"{path.name}, line {line}: an id or study_date is none.") from error
    return studies


def _date(text: str) -> datetime:
    """A study's date, however the table was written.

    `yyyymmdd`, an ISO date, or what pandas makes of the number yyyymmdd when it takes it for nanoseconds:
    `1970-01-01 00:00:00.021800506`.

    Raises:
        ValueError: It is none of these.
    """
    text = text.strip()
    day, _, clock = text.partition(" ")
    if day == "1970-01-01" and clock.startswith("00:00:00."):
        return datetime.strptime(clock.removeprefix("00:00:00.")[1:9], "%Y%m%d")
    if len(day) == 8 or day.endswith(".0"):
        return datetime.strptime(whole_number(day), "%Y%m%d")
    return datetime.fromisoformat(text)


def _read_rows(path: Path, studies: dict[str, _Study], sieve: Sieve) -> list[_Row]:
    columns = ("study_id", "subject_id", "ref_id", "question_type", "question", "answer", "split")
    rows = []
    for line, cells in read_table(path, columns):
        if cells["question_type"].strip() != "difference":
            continue
        try:
            main, reference, subject = (whole_number(cells[name]) for name in ("study_id", "ref_id", "subject_id"))
            split = SPLIT_NAMES[cells["split"].strip()]
        except (ValueError, KeyError) as error:
            raise DataSetUnusable(
                f"{path.name}, line {line}: study_id, ref_id, subject_id or split is none."
            ) from error
        row = _ordered(line, cells, (reference, main), subject, split, studies)
        if isinstance(row, str):
            sieve.drop(row, line)
        else:
            rows.append(row)
    return rows


def _ordered(
    line: int,
    cells: dict[str, str],
    pair: tuple[str, str],
    subject: str,
    split: Split,
    studies: dict[str, _Study],
) -> _Row | str:
    """The row with prior and current in the order of their dates, or the code of why there is none."""
    reference, main = pair
    if reference not in studies or main not in studies:
        return "UNKNOWN_STUDY"
    if {studies[reference].subject, studies[main].subject} != {subject}:
        return "IDENTITY_CONFLICT"
    if not (studies[reference].is_frontal and studies[main].is_frontal):
        return "NOT_FRONTAL"
    if studies[reference].time == studies[main].time:
        return "ORDER_UNKNOWN"
    question = " ".join(cells["question"].split())
    answer = cells["answer"].strip()
    difference = read_difference(answer)
    is_reversed = studies[reference].time > studies[main].time
    if is_reversed:
        if not difference.can_be_mirrored:
            return "REVERSED_UNREADABLE"
        difference = difference.mirrored()
        reference, main, answer = main, reference, difference.text()
    return _Row(
        line=line,
        prior=reference,
        current=main,
        question=None if question.casefold() == _GENERAL else question,
        difference=difference,
        answer=answer,
        split=split,
        is_reversed=is_reversed,
    )


def _sample(row: _Row, studies: dict[str, _Study], images: MimicImages | None) -> Sample:
    prior, current = studies[row.prior], studies[row.current]
    located: Images = Unlocated("MIMIC-CXR-JPG")
    if images is not None:
        located = ImageFiles(
            image_path(images.root, prior.subject, row.prior, prior.dicom),
            image_path(images.root, current.subject, row.current, current.dicom),
        )
    marks = (
        (LEVEL, bool(row.difference.levels)),
        (AREA_QUESTION, row.question is not None),
        (REVERSED, row.is_reversed),
    )
    asked = "" if row.question is None else f"?{row.question.casefold().strip('? ').replace(' ', '-')}"
    return Sample(
        id=f"s{row.prior}-s{row.current}{asked}",
        subject=f"p{current.subject}",
        split=row.split,
        domain=Domain.RADIOLOGY,
        images=located,
        wording=Wording.MEDICAL_DIFF_VQA,
        question=None if row.question is None else row.question[:1].upper() + row.question[1:],
        answers=(row.answer,),
        labels=row.difference.labels,
        is_changed=row.difference.has_change,
        notes=tuple(code for code, holds in marks if holds),
    )
