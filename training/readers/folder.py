"""Which data set does a folder hold? Its files tell."""

from __future__ import annotations

from pathlib import Path

from training.readers import levir, medical_diff_vqa, ms_cxr_t
from training.readers.sample import DataSet, DataSetUnusable, Split


def read_folder(folder: Path, *, images: Path | None = None, split: Split | None = None) -> DataSet:
    """The data set in a folder.

    Args:
        folder: A data set as it was published, or an archive of our own with its `labels.csv`.
        images: Folder of MIMIC-CXR-JPG, for the sets that only refer to it; not read where it is not needed.
        split: For an archive of our own: all its pairs are of this split.

    Raises:
        DataSetUnusable: The folder holds none of the known data sets, or a file of it cannot be used.
        UnusableLabels: The labels of an archive cannot be used.
    """
    if (folder / levir.CAPTIONS).is_file():
        return levir.read_levir(folder)
    for table, read in (
        (medical_diff_vqa.QUESTIONS, medical_diff_vqa.read_medical_diff_vqa),
        (ms_cxr_t.TABLE, ms_cxr_t.read_ms_cxr_t),
    ):
        if any((folder / f"{table}{end}").is_file() for end in ("", ".gz")):
            if images is None:
                return read(folder)
            from training.readers.mimic_cxr_jpg import read_mimic_images

            return read(folder, images=read_mimic_images(images))
    if (folder / "labels.csv").is_file():
        from training.readers.archive import read_archive

        return read_archive(folder, split=split)
    raise DataSetUnusable(
        f"{folder.name} holds no data set that is known: {levir.CAPTIONS} (LEVIR-CC, LEVIR-MCI), "
        f"{medical_diff_vqa.QUESTIONS} (Medical-Diff-VQA), {ms_cxr_t.TABLE} (MS-CXR-T), or an archive with labels.csv."
    )
