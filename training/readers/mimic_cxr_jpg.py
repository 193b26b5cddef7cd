"""When was each study of MIMIC-CXR-JPG taken, and where are its images?

Version 2.1.0. Ids say nothing about time: a study_id is random, so order comes from StudyDate and StudyTime alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from training.readers.sample import DataSetUnusable
from training.readers.table import find_table, read_table, whole_number

METADATA: Final = "mimic-cxr-2.0.0-metadata.csv.gz"

#: ViewCodeSequence_CodeMeaning of frontal images.
FRONTAL: Final = frozenset({"postero-anterior", "antero-posterior"})

_COLUMNS = ("dicom_id", "subject_id", "study_id", "StudyDate", "StudyTime", "ViewCodeSequence_CodeMeaning")


@dataclass(frozen=True, slots=True)
class Radiograph:
    """One image: its ids, whether it is frontal, and when its study was taken, in the patient's shifted time."""

    dicom: str
    subject: str
    study: str
    is_frontal: bool
    time: datetime


@dataclass(frozen=True)
class MimicImages:
    """The images of a folder.

    Attributes:
        root: The folder that holds `files/` and the tables.
        by_dicom: Each image by its id.
        studies: When each study was taken.
    """

    root: Path
    by_dicom: dict[str, Radiograph]
    studies: dict[str, datetime]

    def path(self, dicom: str) -> Path:
        """Where an image is: `files/p10/p10000032/s50414267/<dicom_id>.jpg`.

        Raises:
            DataSetUnusable: The tables do not have this image.
        """
        known = self.by_dicom.get(dicom)
        if known is None:
            raise DataSetUnusable(
                f"{METADATA} does not have an image that another table names; are the versions equal?"
            )
        return image_path(self.root, known.subject, known.study, dicom)


def image_path(root: Path, subject: str, study: str, dicom: str) -> Path:
    """Where MIMIC-CXR-JPG keeps an image."""
    return root / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{study}" / f"{dicom}.jpg"


def read_mimic_images(root: Path) -> MimicImages:
    """The table of all images of a folder.

    Raises:
        DataSetUnusable: The table is missing, or a row has no usable id or date.
    """
    path = find_table(root, METADATA)
    by_dicom: dict[str, Radiograph] = {}
    studies: dict[str, datetime] = {}
    for line, row in read_table(path, _COLUMNS):
        try:
            subject, study = whole_number(row["subject_id"]), whole_number(row["study_id"])
            time = study_time(row["StudyDate"], row["StudyTime"])
        except ValueError as error:
            raise DataSetUnusable(f"{path.name}, line {line}: an id, StudyDate or StudyTime is none.") from error
        dicom = row["dicom_id"]
        is_frontal = row["ViewCodeSequence_CodeMeaning"].strip().casefold() in FRONTAL
        by_dicom[dicom] = Radiograph(dicom, subject, study, is_frontal, time)
        studies[study] = min(time, studies.get(study, time))
    return MimicImages(root=root, by_dicom=by_dicom, studies=studies)


def study_time(date: str, time: str) -> datetime:
    """A time from `yyyymmdd` and `hhmmss.fff`, whose leading zeros may be lost.

    Raises:
        ValueError: It is none.
    """
    clock, _, fraction = time.strip().partition(".")
    moment = datetime.strptime(f"{whole_number(date)}{clock.zfill(6)}", "%Y%m%d%H%M%S")
    return moment.replace(microsecond=int(f"{fraction:0<6}"[:6])) if fraction else moment
