"""Volumes read from files: values, order, geometry; each voxel where an outside program says it is."""

import hashlib
import struct
import subprocess
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from ingest.dicom.errors import FileChanged, SlicesMissing
from ingest.dicom.volume_read import SliceFile, read_volume
from tests.ingest.volume_files import a_grid, a_series, a_slice, an_enhanced_file, volume_slices, write_slices


def files_of(paths: Sequence[Path], frames: int = 1) -> list[SliceFile]:
    return [
        SliceFile(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), frame=frame)
        for path in paths
        for frame in range(frames)
    ]


def a_picture(shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Hounsfield units of which no two voxels near each other are alike."""
    return np.random.default_rng(3).integers(-1000, 2000, shape).astype(np.float64)


def test_values_are_hounsfield_units_in_the_order_of_places(tmp_path: Path) -> None:
    picture = a_picture((5, 8, 10))
    series = volume_slices(picture, a_grid(shape=(5, 8, 10)))
    names = ["e.dcm", "b.dcm", "d.dcm", "a.dcm", "c.dcm"]
    write_slices(tmp_path, series, names)

    volume = read_volume(files_of(sorted(tmp_path.iterdir())))

    np.testing.assert_array_equal(volume.values, picture)
    assert volume.values.dtype == np.float32
    assert volume.valid.all()
    assert volume.modality == "CT"
    assert "rescale slope 1 intercept -1024" in volume.steps


def test_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    series = [
        a_slice(
            n, (0, 0, 2 * n), np.full((4, 4), 100, dtype=np.uint16), modality="MR", RescaleSlope=n, RescaleIntercept=0
        )
        for n in (1, 2, 3)
    ]
    volume = read_volume(files_of(write_slices(tmp_path, series)))
    assert volume.values[:, 0, 0].tolist() == [100, 200, 300]


def test_frames_of_one_file_are_the_same_volume(tmp_path: Path) -> None:
    picture = a_picture((6, 8, 10))
    series = volume_slices(picture, a_grid(shape=(6, 8, 10)))
    (path,) = write_slices(tmp_path, [an_enhanced_file([series[index] for index in (5, 3, 1, 0, 2, 4)])])

    volume = read_volume(files_of([path], frames=6))

    np.testing.assert_array_equal(volume.values, picture)


def test_padding_is_not_valid_and_zero(tmp_path: Path) -> None:
    pixels = np.full((6, 6), 1030, dtype=np.uint16)
    pixels[0] = 0
    series = [a_slice(n, (0, 0, n), pixels + (pixels > 0) * n, PixelPaddingValue=0) for n in range(1, 5)]

    volume = read_volume(files_of(write_slices(tmp_path, series)))

    assert not volume.valid[:, 0].any()
    assert volume.valid[:, 1:].all()
    assert not volume.values[:, 0].any()
    assert volume.values[0, 1, 1] == 7


def test_a_changed_file_and_a_gap_are_refused(tmp_path: Path) -> None:
    files = files_of(write_slices(tmp_path, a_series(6)))
    with pytest.raises(SlicesMissing):
        read_volume([*files[:2], *files[3:]])
    write_slices(tmp_path, a_series(1, RescaleIntercept="-1000"))
    with pytest.raises(FileChanged):
        read_volume(files)


def test_slices_are_read_one_by_one(tmp_path: Path) -> None:
    """Beside the volume and its mask there is never more than a few slices in memory."""
    shape = (64, 128, 128)
    series = volume_slices(np.zeros(shape), a_grid(shape=shape))
    files = files_of(write_slices(tmp_path, series))
    read_volume(files[:3])
    tracemalloc.start()
    volume = read_volume(files)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    one_slice = 128 * 128 * 8
    assert most < volume.values.nbytes + volume.values.size + 8 * one_slice


def test_real_slices_are_the_stored_values_rescaled(shared_data: Path) -> None:
    import csv

    folder = shared_data / "dicom" / "dicomdirtests" / "98892001" / "CT5N"
    volume = read_volume(files_of(sorted(folder.iterdir())))

    with (shared_data / "dicom" / "expected.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if "98892001/CT5N" in row["file"]]
    means = sorted(float(row["mean"]) - 1024 for row in rows)
    assert sorted(float(one.mean()) for one in volume.values) == pytest.approx(means, abs=0.001)
    assert volume.window == (40, 400)


def read_nifti(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Values (I, J, K) and affine (4, 4, RAS) of an uncompressed NIfTI-1 file."""
    content = path.read_bytes()
    n_dims, *sizes = struct.unpack_from("<8h", content, 40)
    (kind,) = struct.unpack_from("<h", content, 70)
    (start,) = struct.unpack_from("<f", content, 108)
    slope, intercept = struct.unpack_from("<2f", content, 112)
    assert n_dims == 3
    assert kind in (4, 512)
    rows = np.array(struct.unpack_from("<12f", content, 280), dtype=np.float64).reshape(3, 4)
    values = np.frombuffer(content, "<i2" if kind == 4 else "<u2", int(np.prod(sizes[:3])), int(start))
    scaled = values * (slope or 1.0) + intercept
    return scaled.reshape(sizes[:3], order="F"), np.vstack([rows, [0, 0, 0, 1]])


ORIENTATIONS = {
    "axial": np.eye(3),
    "head_first": np.diag([1.0, 1, -1]) @ np.diag([1.0, -1, 1]),
    "sagittal": np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    "oblique": Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix(),
}


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_voxel_is_where_dcm2niix_says(name: str, tmp_path: Path, require_program: Callable[[str], Path]) -> None:
    program = require_program("dcm2niix")
    shape = (7, 12, 16)
    grid = a_grid((3.0, 0.8, 1.1), shape, centre=(12, -30, 55), turn=ORIENTATIONS[name])
    picture = a_picture(shape)
    paths = write_slices(tmp_path / "dicom", volume_slices(picture, grid))
    subprocess.run(
        [program, "-z", "n", "-b", "n", "-f", "out", "-o", tmp_path, tmp_path / "dicom"],
        check=True,
        capture_output=True,
    )
    theirs, affine = read_nifti(tmp_path / "out.nii")

    volume = read_volume(files_of(paths))

    indices = np.stack(np.meshgrid(*(np.arange(n) for n in theirs.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    ras = indices @ affine[:3, :3].T + affine[:3, 3]
    ours = volume.grid.indices(ras * (-1, -1, 1))
    np.testing.assert_allclose(ours, np.rint(ours), atol=1e-3)
    d, h, w = np.rint(ours).astype(int).T
    np.testing.assert_array_equal(volume.values[d, h, w], theirs.reshape(-1))


def test_a_tilted_series_lies_where_dcm2niix_puts_it_after_straightening(
    tmp_path: Path, require_program: Callable[[str], Path]
) -> None:
    """The program resamples a tilted series to a straight one; the middle of a bright block must stay in its place."""
    program = require_program("dcm2niix")
    tilt = np.radians(15)
    series: list[Dataset] = []
    for index in range(12):
        pixels = np.full((48, 48), 24, dtype=np.int16)  # the program straightens signed values only
        if 4 <= index <= 7:
            pixels[20:28, 12:20] = 2024
        series.append(
            a_slice(
                index + 1,
                (-20, -20, 4.0 * index),
                pixels,
                orientation=(1, 0, 0, 0, np.cos(tilt), -np.sin(tilt)),
                GantryDetectorTilt=-15,
                SpacingBetweenSlices=4.0 * np.cos(tilt),
            )
        )
    paths = write_slices(tmp_path / "dicom", series)
    subprocess.run(
        [program, "-z", "n", "-b", "n", "-f", "out", "-o", tmp_path, tmp_path / "dicom"],
        check=True,
        capture_output=True,
    )
    theirs, affine = read_nifti(tmp_path / "out_Tilt_1.nii")

    volume = read_volume(files_of(paths))

    middle = volume.grid.places(np.argwhere(volume.values > 500).mean(axis=0))
    straight = affine @ [*np.argwhere(theirs > 500).mean(axis=0), 1]
    assert volume.grid.tilt_deg == pytest.approx(15, abs=0.01)
    np.testing.assert_allclose(middle * (-1, -1, 1), straight[:3], atol=1.0)
