"""Radiographs in the real format, and index entries, for the tests of this folder."""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from ingest.acquisition import Acquisition
from ingest.grid import Grid


def a_radiograph(pixels: NDArray[Any] | None = None, **tags: Any) -> Dataset:
    """A CR dataset of a chest, PA, of one patient; keywords replace or (as None) remove elements."""
    if pixels is None:
        pixels = np.arange(48, dtype=np.uint16).reshape(6, 8)
    made = Dataset()
    made.SOPClassUID = ComputedRadiographyImageStorage
    made.Modality = "CR"
    made.PatientID = "00417"
    made.PatientName = "Canary^Yellow"
    made.PatientBirthDate = "19610203"
    made.PatientSex = "F"
    made.StudyDate = "20200101"
    made.StudyTime = "101500"
    made.BodyPartExamined = "CHEST"
    made.ViewPosition = "PA"
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.Rows, made.Columns = pixels.shape
    made.BitsAllocated = made.BitsStored = 8 * pixels.dtype.itemsize
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made["PixelData"] = _words(pixels)
    for keyword, recorded in tags.items():
        if recorded is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, recorded)
    words = [f"{element.tag}{element.value!r}" for element in made]
    if "StudyInstanceUID" not in made:
        made.StudyInstanceUID = generate_uid(entropy_srcs=["study", *words])
    made.SeriesInstanceUID = generate_uid(entropy_srcs=["series", *words])
    if "SOPInstanceUID" not in made:
        made.SOPInstanceUID = generate_uid(entropy_srcs=["image", *words])
    return made


def write_radiograph(path: Path, dataset: Dataset | None = None, *, syntax: UID = ExplicitVRLittleEndian) -> Path:
    """The dataset as a file, uncompressed or compressed by pydicom."""
    made = dataset if dataset is not None else a_radiograph()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    if syntax != ExplicitVRLittleEndian:
        made.compress(syntax, generate_instance_uid=False)
    made.save_as(path, enforce_file_format=True)
    return path


def an_entry(
    number: int,
    *,
    time: datetime | None = None,
    view: str = "PA",
    study: str | None = None,
    subject: str = "patient:1",
    body_part: str = "CHEST",
    pixel_sha256: str | None = None,
    **attributes: str,
) -> Acquisition:
    """An indexed radiograph that no file stands behind; `number` makes its id and hashes."""
    return Acquisition(
        id=f"1.2.{number}",
        domain="radiology",
        subject=subject,
        time=time,
        time_source="StudyDate" if time else "",
        path=Path(f"/nowhere/{number}.dcm"),
        name=f"{number}.dcm",
        sha256=f"{number:064x}",
        pixel_sha256=pixel_sha256 or f"{number:064x}",
        grid=Grid(affine=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), height=8, width=8, frame=f"detector:1.2.{number}"),
        group=f"radiograph:{body_part or 'unknown'}",
        view=view,
        study=f"1.3.{number}" if study is None else study,
        attributes={"modality": "CR", "body_part": body_part, "time_precision": "second", **attributes},
    )


def _words(pixels: NDArray[Any]) -> Any:
    from pydicom.dataelem import DataElement

    raw = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    return DataElement("PixelData", "OW" if pixels.dtype.itemsize == 2 else "OB", raw + b"\0" * (len(raw) % 2))
