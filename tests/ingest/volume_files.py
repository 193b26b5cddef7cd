"""CT and MR series in the real format, with known geometry, for the tests of this folder."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

from ingest.dicom.identity import subject_key
from ingest.dicom.instance import Instance
from ingest.dicom.volume import Volume, VolumeGrid, grid_from_matrix
from ingest.dicom.volume_group import volume_header

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
FRAME = "1.2.826.0.1.3680043.8.498.1"
OTHER_FRAME = "1.2.826.0.1.3680043.8.498.2"
SERIES = "1.2.826.0.1.3680043.8.498.7"


def a_slice(
    number: int,
    position: Sequence[float],
    pixels: NDArray[Any] | None = None,
    *,
    modality: str = "CT",
    orientation: Sequence[float] = AXIAL,
    spacing: Sequence[float] = (1.0, 1.0),
    **tags: Any,
) -> Dataset:
    """One slice; `pixels` are stored values, for CT with the usual intercept of -1024; keywords replace or remove."""
    if pixels is None:
        pixels = np.full((8, 10), 1000 + number, dtype=np.uint16)
    made = Dataset()
    made.SOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
    made.Modality = modality
    made.PatientID = "00417"
    made.PatientName = "Canary^Yellow"
    made.StudyDate = made.SeriesDate = made.AcquisitionDate = "20200101"
    made.StudyTime = made.SeriesTime = made.AcquisitionTime = "101500"
    made.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.6"
    made.SeriesInstanceUID = SERIES
    made.SeriesNumber = 3
    made.Manufacturer = "SIEMENS"
    made.BodyPartExamined = "CHEST"
    made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"] if modality == "CT" else ["ORIGINAL", "PRIMARY", "M"]
    made.InstanceNumber = number
    made.FrameOfReferenceUID = FRAME
    made.ImagePositionPatient = [f"{one:.6f}"[:16] for one in position]
    made.ImageOrientationPatient = [f"{one:.10f}"[:16] for one in orientation]
    made.PixelSpacing = list(spacing)
    made.SliceThickness = 1.0
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.Rows, made.Columns = pixels.shape
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit = 15
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    if modality == "CT":
        made.RescaleSlope, made.RescaleIntercept, made.RescaleType = "1", "-1024", "HU"
    else:
        made.EchoTime, made.RepetitionTime = "90", "4000"
        made.ScanningSequence = "SE"
    made.PixelData = pixels.astype("<u2" if pixels.dtype.kind == "u" else "<i2").tobytes()
    made["PixelData"].VR = "OW"
    for keyword, recorded in tags.items():
        if recorded is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, recorded)
    if "SOPInstanceUID" not in made:
        made.SOPInstanceUID = generate_uid(
            entropy_srcs=[repr((number, *position, modality, tags)), pixels.tobytes().hex()]
        )
    return made


def a_series(n_slices: int = 6, *, step: Sequence[float] = (0.0, 0.0, 2.5), **tags: Any) -> list[Dataset]:
    """Slices from (-10, -20, -30) mm on, each a step further."""
    start = np.array([-10.0, -20.0, -30.0])
    return [a_slice(index + 1, start + index * np.asarray(step), **tags) for index in range(n_slices)]


def volume_slices(volume: NDArray[Any], grid: VolumeGrid, **tags: Any) -> list[Dataset]:
    """Slices that hold a volume of Hounsfield units (CT) or numbers (MR), (D, H, W), on its grid."""
    matrix = grid.matrix
    _, row_mm, column_mm = grid.spacing_mm
    orientation = (*(matrix[:3, 2] / column_mm), *(matrix[:3, 1] / row_mm))
    offset = 1024 if tags.get("modality", "CT") == "CT" else 0
    stored = np.rint(volume + offset).astype(np.uint16)
    return [
        a_slice(
            index + 1,
            grid.places(np.array([index, 0.0, 0.0])),
            one,
            orientation=orientation,
            spacing=(row_mm, column_mm),
            FrameOfReferenceUID=grid.frame or None,
            **tags,
        )
        for index, one in enumerate(stored)
    ]


def write_slices(folder: Path, datasets: Sequence[Dataset], names: Sequence[str] | None = None) -> list[Path]:
    """The datasets as files, in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, made in enumerate(datasets):
        path = folder / (names[index] if names else f"{index:04d}.dcm")
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def an_enhanced_file(frames: Sequence[Dataset]) -> Dataset:
    """The slices as one multi-frame CT file: what differs goes into per-frame groups, spacing into the shared one."""
    made = Dataset()
    made.update(frames[0])
    made.SOPClassUID = EnhancedCTImageStorage
    made.SOPInstanceUID = generate_uid(entropy_srcs=[one.SOPInstanceUID for one in frames])
    made.NumberOfFrames = len(frames)
    made.PixelData = b"".join(one.PixelData for one in frames)
    made["PixelData"].VR = "OW"
    shared = Dataset()
    shared.PixelMeasuresSequence = Items([_only(frames[0], "PixelSpacing", "SliceThickness")])
    made.SharedFunctionalGroupsSequence = Items([shared])
    groups = []
    for one in frames:
        group = Dataset()
        group.PlanePositionSequence = Items([_only(one, "ImagePositionPatient")])
        group.PlaneOrientationSequence = Items([_only(one, "ImageOrientationPatient")])
        group.PixelValueTransformationSequence = Items([_only(one, "RescaleSlope", "RescaleIntercept", "RescaleType")])
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = Items(groups)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(made, keyword)
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
        delattr(made, keyword)
    return made


def a_grid(
    spacing: Sequence[float] = (2.0, 1.0, 1.0),
    shape: tuple[int, int, int] = (20, 40, 50),
    *,
    centre: Sequence[float] = (0.0, 0.0, 0.0),
    turn: NDArray[np.float64] | None = None,
    frame: str = FRAME,
) -> VolumeGrid:
    """Axial slices around a centre, feet first, or turned by a (3, 3) rotation; spacing of slices, rows, columns."""
    axes = np.array([[0, 0, 1.0], [0, 1, 0], [1, 0, 0]]).T * np.asarray(spacing)
    axes = axes if turn is None else turn @ axes
    origin = np.asarray(centre) - axes @ ((np.array(shape) - 1) / 2)
    return grid_from_matrix(np.c_[axes, origin], shape, frame)


def drawn(
    grid: VolumeGrid,
    picture: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    moved: NDArray[np.float64] | None = None,
    modality: str = "CT",
) -> Volume:
    """A volume that shows `picture`, a function of places (..., 3) in mm, seen through a (4, 4) movement."""
    axes = [np.arange(n, dtype=np.float64) for n in grid.shape]
    places = grid.places(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))
    if moved is not None:
        places = places @ moved[:3, :3].T + moved[:3, 3]
    values = picture(places).astype(np.float32)
    return Volume(values=values, valid=np.broadcast_to(np.True_, grid.shape), grid=grid, modality=modality)


def torso(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hounsfield units of a generated body: soft tissue in air, with lungs, spine, ribs and 30 further parts."""
    x, y, z = np.moveaxis(places, -1, 0)
    values = np.full(x.shape, -1000.0)
    body = (x / 130) ** 2 + (y / 90) ** 2 < 1
    values[body] = 20
    for side in (-1, 1):
        values[((x - 55 * side) / 42) ** 2 + (y / 62) ** 2 + (z / 110) ** 2 < 1] = -850
    values[(x / 18) ** 2 + ((y - 65) / 15) ** 2 < 1] = 400
    parts = np.random.default_rng(417)
    for _ in range(30):
        middle, radii = parts.uniform((-90, -60, -120), (90, 60, 120)), parts.uniform(8, 25, 3)
        inside = (((places - middle) / radii) ** 2).sum(axis=-1) < 1
        values[inside & body] = parts.choice([-800.0, 60.0, 200.0, 700.0])
    return values


def _only(dataset: Dataset, *keywords: str) -> Dataset:
    made = Dataset()
    for keyword in keywords:
        setattr(made, keyword, dataset[keyword].value)
    return made


def instances_of(datasets: Sequence[Dataset], paths: Sequence[Path] | None = None) -> list[Instance]:
    """What the index keeps of these files; their headers go through JSON, as in the database."""
    made = []
    for index, dataset in enumerate(datasets):
        path = paths[index] if paths else Path(f"/nowhere/{index}.dcm")
        content = path.read_bytes() if paths else dataset.SOPInstanceUID.encode()
        made.append(
            Instance(
                name=path.name,
                path=path,
                uid=dataset.SOPInstanceUID,
                subject=subject_key(dataset),
                study=dataset.StudyInstanceUID,
                series=dataset.get("SeriesInstanceUID", ""),
                modality=dataset.Modality,
                header=json.loads(json.dumps(volume_header(dataset))),
                sha256=hashlib.sha256(content).hexdigest(),
                pixel_sha256=hashlib.sha256(dataset.PixelData if "PixelData" in dataset else b"").hexdigest(),
                decoder="pydicom 3",
            )
        )
    return made
