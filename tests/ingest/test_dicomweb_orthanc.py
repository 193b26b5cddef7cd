"""A real peer: an Orthanc with an archive of several hundred instances, stopped and started while it is mirrored."""

import hashlib
import signal
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, RLELossless, generate_uid

from ingest.dicom import dicomweb
from ingest.dicom.dicomweb import Peer
from ingest.dicom.mirror import MirrorSummary, Selection, mirror_peer
from ingest.dicom.peer_errors import BadAddress, FolderBusy, FolderOfOther, LoginRefused
from ingest.dicom.web_session import Login, make_login
from ingest.index import index_archive
from ingest.pair import pair_acquisitions
from ingest.sidecar import MIRROR_WORK
from tests.ingest.orthanc_peer import PASSWORD, USER, OrthancPeer, require_orthanc
from tests.ingest.radiograph_files import a_radiograph, write_radiograph
from tests.ingest.volume_files import a_slice

LOGIN = make_login(user=USER, password=PASSWORD)
PATIENTS, STUDIES, SLICES = 20, 4, 24
_SYNTAXES = (ExplicitVRLittleEndian, RLELossless, JPEGLSLossless)


@dataclass(frozen=True)
class Archive:
    """The files that the peer holds, and the peer."""

    folder: Path
    peer: OrthancPeer

    @property
    def hashes(self) -> Counter[str]:
        return hashes_below(self.folder)


def hashes_below(folder: Path) -> Counter[str]:
    """How often each content lies in a folder, without what a mirror has not finished."""
    return hashes_of(*(one for one in folder.rglob("*") if one.is_file() and MIRROR_WORK not in one.parts))


def write_archive(folder: Path) -> None:
    """332 files: radiographs in three codings, and CT series of 24 slices."""
    rng = np.random.default_rng(3)
    for patient in range(PATIENTS):
        for study in range(STUDIES):
            uid = generate_uid(entropy_srcs=["study", str(patient), str(study)])
            for number, view in enumerate(("PA", "LL") if study else ("PA",)):
                made = a_radiograph(
                    rng.integers(0, 4000, (16, 12), dtype=np.uint16),
                    PatientID=f"{4000 + patient}",
                    StudyInstanceUID=uid,
                    StudyDate=f"20{10 + study}0{1 + patient % 9}15",
                    ViewPosition=view,
                )
                write_radiograph(folder / f"{patient}/{study}/{number}.dcm", made, syntax=_SYNTAXES[patient % 3])
    for series in range(8):
        uid = f"2.25.4711.{series}"
        for number in range(SLICES):
            made = a_slice(
                number,
                (0.0, 0.0, float(number)),
                rng.integers(0, 2000, (8, 10), dtype=np.uint16),
                PatientID=f"{5000 + series // 2}",
                StudyDate=f"202{series % 2}0301",
                StudyInstanceUID=uid,
                SeriesInstanceUID=uid + ".1",
                SOPInstanceUID=f"{uid}.1.{number}",
            )
            write_radiograph(folder / f"ct/{series}/{number}.dcm", made)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], Path]) -> Iterator[Archive]:
    program = require_orthanc(require_program)
    home = tmp_path_factory.mktemp("orthanc")
    write_archive(home / "archive")
    peer = OrthancPeer(program, home)
    peer.start()
    try:
        peer.store(*(one.read_bytes() for one in sorted((home / "archive").rglob("*.dcm"))))
        yield Archive(home / "archive", peer)
    finally:
        peer.stop()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomweb, "_WAITS", (0.05, 0.1, 0.2))


@pytest.fixture
def running(archive: Archive) -> Archive:
    """The archive with its peer started, whatever the test before did."""
    archive.peer.stop()
    archive.peer.start()
    return archive


def run_mirror(
    archive: Archive,
    folder: Path,
    *,
    selection: Selection | None = None,
    patience: float = 60.0,
    progress: Callable[[int, int], None] | None = None,
    login: Login = LOGIN,
) -> MirrorSummary:
    with closing(Peer(archive.peer.address, login, patience=patience)) as peer:
        return mirror_peer(peer, folder, selection=selection, progress=progress)


def pairs_in(folder: Path) -> set[tuple[str, str, str]]:
    index = index_archive(folder, workers=0)
    assert len(index.acquisitions) > 100
    pairs = pair_acquisitions(index.acquisitions).pairs
    assert pairs
    return {(one.id, one.prior.id, one.current.id) for one in pairs}


@pytest.fixture(scope="module")
def mirrored(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MirrorSummary]:
    folder = tmp_path_factory.mktemp("mirrored") / "mirror"
    return folder, run_mirror(archive, folder)


def test_a_mirror_holds_the_bytes_of_every_instance_once_and_gives_the_same_pairs(
    archive: Archive, mirrored: tuple[Path, MirrorSummary]
) -> None:
    folder, summary = mirrored

    assert archive.hashes.total() >= 300
    assert hashes_below(folder) == archive.hashes
    assert (summary.fetched, summary.kept, summary.refusals) == (archive.hashes.total(), 0, [])
    assert summary.studies == summary.complete == PATIENTS * STUDIES + 8
    assert pairs_in(folder) == pairs_in(archive.folder)


def test_a_second_run_fetches_nothing(archive: Archive, mirrored: tuple[Path, MirrorSummary]) -> None:
    folder, _ = mirrored
    before = {one: one.stat().st_mtime_ns for one in folder.rglob("*.dcm")}

    summary = run_mirror(archive, folder)

    assert (summary.fetched, summary.kept, summary.held_back) == (0, archive.hashes.total(), 0)
    assert {one: one.stat().st_mtime_ns for one in folder.rglob("*.dcm")} == before


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_a_run_goes_on_by_itself_when_the_peer_is_stopped_and_started(
    running: Archive, tmp_path: Path, number: signal.Signals
) -> None:
    summaries: list[MirrorSummary] = []
    at_work = threading.Event()
    worker = threading.Thread(
        target=lambda: summaries.append(
            run_mirror(running, tmp_path / "mirror", progress=lambda done, total: done > 20 and at_work.set())
        )
    )
    worker.start()
    assert at_work.wait(60)
    running.peer.stop(number)
    time.sleep(1.0)
    reached = hashes_below(tmp_path / "mirror")
    assert 0 < reached.total() < running.hashes.total()
    assert worker.is_alive()
    running.peer.start()
    worker.join(120)

    (summary,) = summaries
    assert hashes_below(tmp_path / "mirror") == running.hashes
    assert (summary.fetched, summary.refusals) == (running.hashes.total(), [])
    assert pairs_in(tmp_path / "mirror") == pairs_in(running.folder)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_run_that_ended_with_its_peer_is_completed_by_the_next(
    running: Archive, tmp_path: Path, number: signal.Signals
) -> None:
    def stop_in_the_middle(done: int, total: int) -> None:
        if done == total // 2:
            running.peer.stop(number)

    first = run_mirror(running, tmp_path / "mirror", patience=0.0, progress=stop_in_the_middle)
    index_between = index_archive(tmp_path / "mirror", workers=0)
    running.peer.start()
    second = run_mirror(running, tmp_path / "mirror")

    assert [(one.level, one.code) for one in first.refusals] == [("peer", "PEER_UNAVAILABLE")]
    assert 0 < first.fetched < running.hashes.total()
    assert {one.code for one in index_between.refusals} <= {"UNSUPPORTED_MODALITY"}
    assert first.fetched + second.fetched == running.hashes.total()
    assert (second.kept, second.refusals) == (first.fetched, [])
    assert hashes_below(tmp_path / "mirror") == running.hashes


def test_late_instances_and_studies_are_added_by_the_next_run(running: Archive, tmp_path: Path) -> None:
    selection = Selection(patient_ids=frozenset({"4000", "4999"}))
    before = run_mirror(running, tmp_path / "mirror", selection=selection)
    known = hashes_below(tmp_path / "mirror")
    study = dcmread(running.folder / "0/1/0.dcm").StudyInstanceUID
    late = a_radiograph(PatientID="4000", StudyInstanceUID=study, ViewPosition="PA", InstanceNumber=9)
    other = a_radiograph(PatientID="4999", ViewPosition="PA")
    new = [write_radiograph(tmp_path / f"{number}.dcm", one) for number, one in enumerate((late, other))]
    running.peer.store(*(one.read_bytes() for one in new))

    try:
        summary = run_mirror(running, tmp_path / "mirror", selection=selection)

        assert (summary.fetched, summary.kept, summary.refusals) == (2, before.fetched, [])
        assert hashes_below(tmp_path / "mirror") == known + hashes_of(*new)
    finally:
        running.peer.delete(other.StudyInstanceUID)
        running.peer.delete(study)
        running.peer.store(*(one.read_bytes() for one in sorted((running.folder / "0/1").iterdir())))


def hashes_of(*paths: Path) -> Counter[str]:
    return Counter(hashlib.sha256(one.read_bytes()).hexdigest() for one in paths)


def test_real_files_come_with_their_bytes(
    shared_data: Path, tmp_path: Path, require_program: Callable[[str], Path]
) -> None:
    names = ("CT1_RLE", "CT1_J2KR", "RG1_J2KI.dcm", "JPEG-lossy.dcm", "MR_small_bigendian.dcm", "SC_rgb_rle.dcm")
    paths = [found for name in names if (found := shared_data / "dicom" / name).exists()]
    # Two of one UID: Orthanc keeps the first.
    contents = {str(dcmread(one).SOPInstanceUID): one.read_bytes() for one in reversed(paths)}
    assert len(contents) >= 4
    peer = OrthancPeer(require_orthanc(require_program), tmp_path)
    peer.start()
    try:
        peer.store(*contents.values())
        run_mirror(Archive(tmp_path, peer), tmp_path / "mirror")
    finally:
        peer.stop()

    expected = Counter(hashlib.sha256(one).hexdigest() for one in contents.values())
    assert hashes_below(tmp_path / "mirror") == expected


def test_only_what_is_selected_is_mirrored(archive: Archive, tmp_path: Path) -> None:
    selection = Selection(
        study_date="20110101-20121231", modalities=("CR", "DX"), patient_ids=frozenset({"4003", "4017", "7"})
    )

    summary = run_mirror(archive, tmp_path / "mirror", selection=selection)

    fetched = [dcmread(one) for one in (tmp_path / "mirror").rglob("*.dcm")]
    assert summary.refusals == []
    assert len(fetched) == summary.fetched == 2 * 2 * 2
    assert {one.PatientID for one in fetched} == {"4003", "4017"}
    assert {one.StudyDate[:4] for one in fetched} == {"2011", "2012"}


def test_a_wrong_password_is_said_and_nothing_is_tried_twice(archive: Archive, tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(LoginRefused):
        run_mirror(archive, tmp_path / "mirror", login=make_login(user=USER, password="wrong"))

    assert time.monotonic() - begun < 5


def test_an_address_without_dicomweb_is_said(archive: Archive, tmp_path: Path) -> None:
    with closing(Peer(archive.peer.address + "-else", LOGIN)) as peer, pytest.raises(BadAddress):
        mirror_peer(peer, tmp_path / "mirror")


def test_a_folder_serves_one_run_and_one_peer(archive: Archive, tmp_path: Path) -> None:
    selection = Selection(patient_ids=frozenset({"4003"}))
    busy: list[Exception] = []

    def try_another(done: int, total: int) -> None:
        with pytest.raises(FolderBusy) as caught:
            run_mirror(archive, tmp_path / "mirror", selection=selection)
        busy.append(caught.value)

    run_mirror(archive, tmp_path / "mirror", selection=selection, progress=try_another)
    elsewhere = archive.peer.address.replace("127.0.0.1", "localhost")

    assert busy
    with closing(Peer(elsewhere, LOGIN)) as peer, pytest.raises(FolderOfOther):
        mirror_peer(peer, tmp_path / "mirror", selection=selection)


def test_nobody_else_may_read_the_mirror_and_no_name_tells_a_uid(archive: Archive, tmp_path: Path) -> None:
    run_mirror(archive, tmp_path / "mirror", selection=Selection(patient_ids=frozenset({"4003"})))

    entries = [tmp_path / "mirror", *(tmp_path / "mirror").rglob("*")]
    assert {stat.S_IMODE(one.stat().st_mode) for one in entries if one.is_dir()} == {0o700}
    assert {stat.S_IMODE(one.stat().st_mode) for one in entries if one.is_file()} == {0o600}
    assert not [one.name for one in entries if "." in one.stem and one.name != MIRROR_WORK]
