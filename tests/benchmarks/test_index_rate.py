"""How fast is the index beside a plain loop of pydicom, how much memory does it take, how fast are its rows paired?

Ratios are measured in one run; figures of a shared machine vary, ratios less.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from ingest.catalogue import batches
from ingest.gather import gather
from ingest.index import refresh
from ingest.record import IMAGE, RADIOLOGY, Record, Stamp
from ingest.unreadable import pair_readable
from services.catalogue import DatabaseCatalogue
from services.database import Database
from services.inventory import store_inventory
from services.schema import upgrade_database

pytestmark = pytest.mark.benchmark

FILES = 20_000
MANY_FILES = 100_000
STUDIES = 100_000
#: Files of one study, of one patient, and patients of one folder; each patient has a folder.
A_STUDY, A_PATIENT, A_FOLDER = 2, 12, 100

#: Prints the peak memory of an index, its own and that of its largest process, in MiB. The workers are children of a
#: child, of which the system keeps no account, so they are looked at while they live.
MEASURE = """
import os, resource, sys, threading, time
from pathlib import Path
from ingest.index import refresh
from services.catalogue import DatabaseCatalogue
from services.database import Database
from services.inventory import store_inventory
from services.schema import upgrade_database

worker = 0

def peak_of(pid):
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return status["PPid"].strip(), int(status.get("VmHWM", "0 kB").split()[0])

def watch():
    global worker
    while True:
        for path in Path("/proc").glob("[0-9]*"):
            try:
                parent, peak = peak_of(path.name)
                if parent != "0" and peak_of(parent)[0] == str(os.getpid()):
                    worker = max(worker, peak)
            except OSError:
                continue  # it has ended
        time.sleep(0.2)

if __name__ == "__main__":
    threading.Thread(target=watch, daemon=True).start()
    root, database = Path(sys.argv[1]), Database(f"sqlite:///{sys.argv[2]}")
    upgrade_database(database)
    catalogue = DatabaseCatalogue(database, "a")
    refresh(root, catalogue, domain=None, workers=2, pixels=False)
    indexed = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = store_inventory(database, catalogue, root, domain=None)
    paired = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(found.files_seen, indexed / 1024, paired / 1024, worker / 1024)
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Callable[[int], Path]:
    """Function that gives a folder with so many files: a real header with other identities."""
    template = pydicom.dcmread(shared_data / "dicom" / "dicomdirtests" / "77654033" / "CR2" / "6247")
    names = {"PatientID": "P-PATIENT", "SOPInstanceUID": "1.2.3.100001", "StudyInstanceUID": "1.2.4.200002"}
    for keyword, value in names.items():
        setattr(template, keyword, value)
    template.file_meta.MediaStorageSOPInstanceUID = names["SOPInstanceUID"]
    folder = tmp_path_factory.mktemp("archives")
    template.save_as(folder / "template.dcm")
    content = (folder / "template.dcm").read_bytes()

    def write(count: int) -> Path:
        root = folder / str(count)
        for number in range(count):
            study = number // A_STUDY
            patient = number // A_PATIENT
            place = root / f"{patient // A_FOLDER:04d}" / f"{patient:06d}"
            place.mkdir(parents=True, exist_ok=True)
            made = content.replace(b"1.2.3.100001", b"1.2.3.%06d" % number)
            made = made.replace(b"1.2.4.200002", b"1.2.4.%06d" % study)
            (place / f"{number}.dcm").write_bytes(made.replace(b"P-PATIENT", b"P-%07d" % patient))
        # Files that changed a moment ago would be read again by the next index.
        time.sleep(2.1)
        return root

    return write


def open_catalogue(folder: Path, name: str) -> DatabaseCatalogue:
    """An empty catalogue in a database of its own."""
    database = Database(f"sqlite:///{folder / name}")
    upgrade_database(database)
    return DatabaseCatalogue(database, "a")


@dataclass(frozen=True)
class Cost:
    """What some work took: seconds by the clock, and seconds of processors, of other processes that it started too.

    On a machine that others use, only the second can be compared.
    """

    clock: float
    processors: float

    def over(self, other: "Cost") -> str:
        """How many times as fast as another one."""
        by_clock, by_processors = other.clock / self.clock, other.processors / self.processors
        return f"{by_clock:.2f} by the clock, {by_processors:.2f} by processor time"


def cost(work: Callable[[], object]) -> Cost:
    """Cost of one call."""

    def used() -> float:
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return sum(one.ru_utime + one.ru_stime for one in map(resource.getrusage, kinds))

    clock, processors = time.perf_counter(), used()
    work()
    return Cost(time.perf_counter() - clock, used() - processors)


def test_headers_beside_a_plain_loop_of_pydicom(archive, tmp_path, capsys):
    root = archive(FILES)
    files = [str(path) for path in sorted(root.rglob("*.dcm"))]

    def loop() -> None:
        for path in files:
            pydicom.dcmread(path, stop_before_pixels=True)

    def index(catalogue: DatabaseCatalogue, workers: int) -> Cost:
        return cost(lambda: refresh(root, catalogue, domain=None, workers=workers, pixels=False))

    loop()
    one, two = open_catalogue(tmp_path, "one"), open_catalogue(tmp_path, "two")
    alone, first = cost(loop), index(one, 0)
    # The next index finds the database as the end of a command leaves it, its write-ahead log merged into it.
    one.database.dispose()
    parallel, again = index(two, 2), index(one, 0)

    with capsys.disabled():
        print(f"\n{FILES} files: pydicom alone {FILES / alone.processors:.0f} files a second of processor time")
        print(f"index in one process beside pydicom alone: {first.over(alone)}")
        print(f"index with two more processes beside one: {parallel.over(first)}")
        print(f"    the same beside pydicom alone: {parallel.over(alone)}")
        print(f"index again beside the first: {again.over(first)}")
    assert sum(1 for _ in one.records()) == FILES


def test_peak_memory_of_a_small_and_a_large_archive(archive, tmp_path, capsys):
    script = tmp_path / "measure.py"
    script.write_text(MEASURE, encoding="utf-8")
    peaks = {}
    for count in (FILES, MANY_FILES):
        command = [sys.executable, str(script), str(archive(count)), str(tmp_path / f"{count}.sqlite")]
        ended = subprocess.run(command, check=True, capture_output=True, text=True)
        seen, *peaks[count] = map(float, ended.stdout.split())
        assert seen == count

    with capsys.disabled():
        for count, (indexed, paired, worker) in peaks.items():
            print(
                f"\n{count} files: {indexed:.0f} MiB indexed, {paired:.0f} MiB paired and stored, {worker:.0f} a worker"
            )
        ratios = [large / small for small, large in zip(peaks[FILES], peaks[MANY_FILES], strict=True)]
        print("large beside small: " + ", ".join(f"{ratio:.3f}" for ratio in ratios))


def test_pairs_of_a_hundred_thousand_studies_in_the_database(tmp_path, capsys):
    catalogue = open_catalogue(tmp_path, "rows")
    for batch in batches(_record(number) for number in range(STUDIES)):
        catalogue.keep(batch)

    def pair() -> int:
        return sum(
            len(pair_readable(part.acquisitions, part.unreadable).pairs)
            for part in gather(catalogue, tmp_path, domain=None)
        )

    count = 0

    def count_pairs() -> None:
        nonlocal count
        count = pair()

    paired = cost(count_pairs)
    stored = cost(lambda: store_inventory(catalogue.database, catalogue, tmp_path, domain=None))

    with capsys.disabled():
        print(f"\n{STUDIES} studies, one radiograph each: {count} pairs")
        print(f"read and paired in {paired.clock:.1f} s, {paired.processors:.1f} s of processor time")
        print(f"read, paired and written in {stored.clock:.1f} s, {stored.processors:.1f} s of processor time")
    assert count == STUDIES - STUDIES // 4


def _record(number: int) -> Record:
    """A chest radiograph as the index keeps it; four studies of each patient."""
    uid = generate_uid(entropy_srcs=[str(number)])
    return Record(
        name=f"{number}.dcm",
        stamp=Stamp(size=1, mtime_ns=1, inode=number),
        read_at_ns=1,
        status=IMAGE,
        domain=RADIOLOGY,
        has_pixels=True,
        uid=uid,
        subject=f"patient:{number // 4:016x}",
        study=f"1.2.{number}",
        series=f"1.3.{number}",
        header_json=json.dumps(
            {
                "modality": "CR",
                "single": {
                    "time": f"20{number % 4 + 10}-05-17T10:15:00",
                    "time_source": "AcquisitionDate",
                    "grid": {
                        "affine": [0.143, 0.0, -150.0, 0.0, 0.143, -150.0],
                        "height": 2100,
                        "width": 2100,
                        "frame": f"detector:{uid}",
                    },
                    "group": "radiograph:CHEST",
                    "view": "PA",
                    "attributes": {
                        "modality": "CR",
                        "transfer_syntax": "1.2.840.10008.1.2.4.90",
                        "photometric": "MONOCHROME1",
                        "spacing": "detector",
                        "time_precision": "second",
                        "body_part": "CHEST",
                        "body_part_source": "BodyPartExamined",
                        "view_source": "ViewPosition",
                        "view_stated": "PA",
                        "image_type": "ORIGINAL\\PRIMARY",
                        "name_key": f"{number // 4:016x}",
                        "birth_key": f"{number // 4:016x}",
                        "sex_key": "0123456789abcdef",
                    },
                },
            }
        ),
        sha256=f"{number:064x}",
        pixel_sha256=f"{number:064x}",
        verified_with="pydicom 3.0.2",
    )
