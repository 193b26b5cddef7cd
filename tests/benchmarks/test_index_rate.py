"""How fast is the index beside a plain loop of pydicom over the same files? Prints the ratio."""

import time

import pydicom
import pytest
from pydicom.errors import InvalidDicomError

from ingest.index import index_archive
from training.phantoms.dicom_archive import write_dicom_archive

pytestmark = pytest.mark.benchmark


def test_index_of_an_archive_beside_pydicom_alone(tmp_path, capsys):
    write_dicom_archive(tmp_path / "archive", subjects=20, seed=3)
    files = sorted(path for path in (tmp_path / "archive").rglob("*") if path.is_file())

    started = time.perf_counter()
    decoded = 0
    for path in files:
        try:
            decoded += pydicom.dcmread(path).pixel_array.size > 0
        except (InvalidDicomError, AttributeError, ValueError, EOFError):
            continue
    alone = time.perf_counter() - started
    started = time.perf_counter()
    index = index_archive(tmp_path / "archive", workers=0)
    ours = time.perf_counter() - started

    count = len(files)
    with capsys.disabled():
        print(
            f"\n{count} files, one process: pydicom alone {count / alone:.0f} files/s, index {count / ours:.0f} files/s"
        )
        print(f"ratio {ours / alone:.2f}; the index also hashes, checks and keeps what is refused")
    assert len(index.acquisitions) <= decoded
