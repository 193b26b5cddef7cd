"""How fast is a series of files made a volume, beside dcm2niix, and how much of it is in memory? Prints the ratios."""

import hashlib
import subprocess
import time
import tracemalloc

import numpy as np
import pytest

from ingest.dicom.rigid import register_rigid
from ingest.dicom.volume_place import place_volume
from ingest.dicom.volume_read import SliceFile, read_volume
from tests.ingest.volume_files import OTHER_FRAME, a_grid, drawn, torso, volume_slices, write_slices

pytestmark = pytest.mark.benchmark

SLICES, SIDE = 120, 512


def test_reading_a_series_beside_dcm2niix(tmp_path, capsys, require_program):
    program = require_program("dcm2niix")
    grid = a_grid((2.5, 0.7, 0.7), (SLICES, SIDE, SIDE))
    paths = write_slices(tmp_path / "dicom", volume_slices(np.zeros(grid.shape), grid))
    files = [SliceFile(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]

    started = time.perf_counter()
    subprocess.run(
        [program, "-z", "n", "-b", "n", "-f", "out", "-o", tmp_path, tmp_path / "dicom"],
        check=True,
        capture_output=True,
    )
    theirs = time.perf_counter() - started
    started = time.perf_counter()
    volume = read_volume(files)
    ours = time.perf_counter() - started
    tracemalloc.start()
    read_volume(files)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    with capsys.disabled():
        print(
            f"\n{SLICES} slices of {SIDE} x {SIDE}: dcm2niix {theirs:.2f} s, read_volume {ours:.2f} s with hash check"
        )
        print(f"ratio {ours / theirs:.2f}; most memory {most / volume.values.nbytes:.2f} times the volume itself")
    assert volume.grid.shape == grid.shape


def test_aligning_two_volumes(capsys):
    """A 60-slice chest and its prior: resampling by places beside registering first."""
    current = drawn(a_grid((5.0, 1.8, 1.8), (60, 160, 200)), torso)
    prior = drawn(a_grid((5.0, 2.0, 2.0), (60, 140, 180), centre=(6, -9, 12), frame=OTHER_FRAME), torso)
    place_volume(prior, a_grid())  # imports

    started = time.process_time()
    placed = place_volume(prior, current.grid)
    placing = time.process_time() - started
    started = time.process_time()
    found = register_rigid(prior, current)
    registering = time.process_time() - started

    with capsys.disabled():
        print(f"\nresampled {placed.values.size / 1e6:.1f} million voxels in {placing:.1f} s of processor time")
        print(
            f"registered in {registering:.1f} s, correlation {found.correlation:.3f}: {registering / placing:.1f} times"
        )
    assert placed.valid.any()
