"""Writes small folders in the published format of each data set, for the tests of their readers."""

import csv
import gzip
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

QUESTION = "what has changed compared to the reference image?"
CHEXPERT = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
METADATA = (
    "dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns",
    "StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)  # fmt: skip
UNCHANGED = (
    "the scene is the same as before", "there is no difference", "the two scenes seem identical",
    "no change has occurred", "almost nothing has changed",
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    """One study with one image; `time` as StudyTime stands in the table."""

    subject: int
    study: int
    date: str
    time: str = "093015.125"
    view: str = "antero-posterior"

    @property
    def dicom(self) -> str:
        digits = f"{random.Random(self.study).getrandbits(160):040x}"
        return "-".join(digits[start : start + 8] for start in range(0, 40, 8))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_picture(path: Path, seed: int, *, side: int = 32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, size=(4, 4, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(path)


def write_mimic_cxr_jpg(root: Path, studies: Iterable[Study]) -> Path:
    """MIMIC-CXR-JPG 2.1.0: images and the gzipped table of their metadata."""
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for one in studies:
        folder = root / "files" / f"p{str(one.subject)[:2]}" / f"p{one.subject}" / f"s{one.study}"
        write_picture(folder / f"{one.dicom}.jpg", one.study)
        position = {"antero-posterior": "AP", "postero-anterior": "PA"}.get(one.view, "LATERAL")
        rows.append(
            [one.dicom, one.subject, one.study, "CHEST (PORTABLE AP)", position, 3056, 2544, one.date, one.time,
             "CHEST (PORTABLE AP)", one.view, "Erect"]
        )  # fmt: skip
    write_csv(root / "mimic-cxr-2.0.0-metadata.csv.gz", METADATA, rows)
    return root


def write_medical_diff_vqa(
    root: Path, studies: Sequence[Study], questions: Iterable[dict[str, Any]], *, as_nanoseconds: bool = False
) -> Path:
    """Medical-Diff-VQA 1.0.1: both tables; study_order is the rank of the date, so equal dates share one.

    Args:
        root: Where to.
        studies: All studies.
        questions: `main`, `reference` and what differs from the defaults of a difference row.
        as_nanoseconds: Dates as the published generator writes them: the number yyyymmdd taken for nanoseconds.
    """
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, one in enumerate(studies):
        order = 1 + sum(other.subject == one.subject and other.date < one.date for other in studies)
        date = datetime.strptime(one.date, "%Y%m%d").date().isoformat()
        if as_nanoseconds:
            date = f"1970-01-01 00:00:00.{int(one.date):09d}"
        labels = [""] * len(CHEXPERT)
        rows.append([number, one.subject, one.study, *labels, one.dicom, one.view, "train", date, float(order)])
    header = ("", "subject_id", "study_id", *CHEXPERT, "dicom_id", "view", "split", "study_date", "study_order")
    write_csv(root / "mimic_all.csv", header, rows)
    subject = {one.study: one.subject for one in studies}
    columns = ("study_id", "subject_id", "ref_id", "question_type", "question", "answer", "split")
    table = []
    for asked in questions:
        row = {"question_type": "difference", "question": QUESTION, "split": "test"} | asked
        main, reference = row["main"], row["reference"]
        own = row.get("subject_id", subject[main])
        table.append([main, own, reference, row["question_type"], row["question"], row["answer"], row["split"]])
    write_csv(root / "mimic_pair_questions.csv", columns, table)
    return root


def write_ms_cxr_t(root: Path, rows: Iterable[tuple[Study, Study, dict[str, str]]]) -> Path:
    """MS-CXR-T 1.0.0: current, previous and labels by finding."""
    root.mkdir(parents=True, exist_ok=True)
    names = ("consolidation", "edema", "pleural_effusion", "pneumonia", "pneumothorax")
    header = ("dicom_id", "previous_dicom_id", "study_id", "subject_id", *(f"{name}_progression" for name in names))
    table = [
        [current.dicom, previous.dicom, current.study, current.subject, *(labels.get(name, "") for name in names)]
        for current, previous, labels in rows
    ]
    write_csv(root / "MS_CXR_T_temporal_image_classification_v1.0.0.csv", header, table)
    return root


def write_levir(
    root: Path, pairs: Iterable[tuple[str, Sequence[str]]], *, flags: dict[str, int] | None = None, masks: bool = False
) -> Path:
    """LEVIR-CC, or LEVIR-MCI with masks: names such as `train_000016`, each with its sentences."""
    images = []
    for number, (name, sentences) in enumerate(pairs):
        split = name.split("_")[0]
        changed = not set(sentences) <= set(UNCHANGED)
        for side, folder in enumerate("AB"):
            write_picture(root / "images" / split / folder / f"{name}.png", 2 * number + side)
        if masks:
            mask = np.zeros((32, 32), dtype=np.uint8)
            if changed:
                mask[4:9, 4:9], mask[20:24, :] = 255, 128
            path = root / "images" / split / "label" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.stack([mask] * 3, axis=-1)).save(path)
        first = 5 * number
        images.append(
            {
                "filepath": split,
                "filename": f"{name}.png",
                "imgid": number,
                "split": split,
                "changeflag": (flags or {}).get(name, int(changed)),
                "sentences": [
                    {"tokens": text.split(), "raw": f" {text} .", "imgid": number, "sentid": first + position}
                    for position, text in enumerate(sentences)
                ],
                "sentids": list(range(first, first + len(sentences))),
            }
        )
    (root / "LevirCCcaptions.json").write_text(json.dumps({"images": images, "dataset": "LEVIR-CC"}))
    return root
