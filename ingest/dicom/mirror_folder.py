"""How does a folder hold what was fetched, so that a kill at any moment loses nothing and shows nothing half?

A study is gathered out of sight, in the working folder, and moved into the archive as a whole. Each file is written
aside, synced, checked, and renamed, so that a file with its final name is whole. Nothing else is remembered: what is
there says what is done.
"""

import contextlib
import fcntl
import hashlib
import os
import struct
import warnings
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from types import TracebackType

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian

from ingest.dicom.deflated import check_inflated
from ingest.dicom.peer_errors import FolderBusy, FolderOfOther, FolderUnusable
from ingest.errors import IngestError
from ingest.sidecar import MIRROR_WORK

#: Suffix of a file that is being written.
_PART = ".part"
#: Length of DICOM's preamble with the four bytes behind it.  Source: DICOM PS3.10, 7.1.
_START = 132
#: What pydicom raises on other headers that are cut or garbled.
_GARBLED = (EOFError, ValueError, LookupError, AttributeError, TypeError, NotImplementedError, RecursionError)


def hashed_name(uid: str) -> str:
    """Name of a study's or series' folder, or of an instance's file without suffix.

    UIDs may hold dates and serial numbers, and may be anything, so they become no path.
    """
    return hashlib.sha256(uid.encode()).hexdigest()[:32]


class MirrorFolder:
    """A mirror's folder while one process writes into it; a context manager, to let go of it again."""

    def __init__(self, folder: Path, address: str):
        """Takes hold of the folder, which is made if it does not exist.

        Args:
            folder: Where the archive is to be.
            address: Address of the peer.

        Raises:
            FolderBusy: Another process has hold of it.
            FolderOfOther: It mirrors a peer at another address.
            FolderUnusable: It cannot be written.
        """
        self._root = folder.absolute()
        self._work = self._root / MIRROR_WORK
        with _translated_disk():
            self._root.parent.mkdir(parents=True, exist_ok=True)
            _make_private(self._root, self._work)
            self._lock = os.open(self._work / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            with _translated_disk():
                self._take(address)
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> "MirrorFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)

    def _take(self, address: str) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderBusy() from error
        # A killed process leaves its lock free and its unfinished files behind.
        for left in self._work.rglob("*" + _PART):
            left.unlink()
        peer = self._work / "peer"
        if not peer.exists():
            self._write(peer, [address.encode()])
        elif peer.read_bytes() != address.encode():
            raise FolderOfOther()

    def holds(self, study: str, series: str, instance: str) -> bool:
        """True if the instance was fetched, whether or not its study is in the archive already."""
        name = _place(study, series, instance)
        return (self._root / name).exists() or (self._work / name).exists()

    def save(self, chunks: Iterable[bytes], *, study: str, series: str, wanted: Collection[str]) -> str | None:
        """Keeps an instance if it is one of those that are wanted, and returns its SOP Instance UID; None if not.

        Raises:
            FolderUnusable: The disk is full, or fails.
            IngestError: Whatever `chunks` raises; nothing is kept then.
        """
        with _translated_disk():
            place = self._work / hashed_name(study) / hashed_name(series)
            _make_private(place.parent, place)
            aside = place / ("incoming" + _PART)
            try:
                self._write_aside(aside, chunks)
                uids = _read_uids(aside)
                if uids is None or uids[:2] != (study, series) or uids[2] not in wanted:
                    return None
                aside.replace(self._work / _place(study, series, uids[2]))
                return uids[2]
            finally:
                aside.unlink(missing_ok=True)

    def release(self, study: str) -> None:
        """Moves what was gathered of a study into the archive.

        Raises:
            FolderUnusable: The disk does not let it.
        """
        gathered, target = self._work / hashed_name(study), self._root / hashed_name(study)
        if not gathered.is_dir():
            return
        with _translated_disk():
            if not target.exists():
                for folder in gathered.iterdir():
                    _sync(folder)
                _sync(gathered)
                gathered.rename(target)
            else:
                # A study that is in the archive gets what came late; moving the whole folder is not possible.
                for folder in sorted(gathered.iterdir()):
                    inside = target / folder.name
                    _make_private(inside)
                    for file in sorted(folder.iterdir()):
                        file.rename(inside / file.name)
                    _sync(inside)
                    folder.rmdir()
                gathered.rmdir()
                _sync(target)
            _sync(self._root)

    def held_back(self) -> int:
        """Number of studies that are gathered but not in the archive yet."""
        return sum(one.is_dir() for one in self._work.iterdir())

    def _write(self, path: Path, chunks: Iterable[bytes]) -> None:
        aside = path.with_name(path.name + _PART)
        self._write_aside(aside, chunks)
        aside.replace(path)

    def _write_aside(self, aside: Path, chunks: Iterable[bytes]) -> None:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())


def _place(study: str, series: str, instance: str) -> str:
    return f"{hashed_name(study)}/{hashed_name(series)}/{hashed_name(instance)}.dcm"


@contextlib.contextmanager
def _translated_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # What went wrong without the path, which may hold a patient's name.
        fault = os.strerror(error.errno) if error.errno else type(error).__name__
        raise FolderUnusable(f"The mirror's folder cannot be written ({fault}); give space or rights.") from error


def _make_private(*folders: Path) -> None:
    """Folders that only this user can enter; made one by one, because parents that are made along are not."""
    for folder in folders:
        folder.mkdir(mode=0o700, exist_ok=True)


def _sync(folder: Path) -> None:
    """Makes the names in a folder last through a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_uids(path: Path) -> tuple[str, str, str] | None:
    """UIDs of study, series and instance; None if the file is no DICOM file, or does not say."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with path.open("rb") as file:
                if DeflatedExplicitVRLittleEndian.encode("ascii") in file.read(2**12):
                    check_inflated(path.read_bytes(), start=_START)
            header = dcmread(
                path,
                stop_before_pixels=True,
                specific_tags=["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"],
            )
            return str(header.StudyInstanceUID), str(header.SeriesInstanceUID), str(header.SOPInstanceUID)
    except (InvalidDicomError, IngestError, OSError, struct.error, zlib.error, *_GARBLED):
        # pydicom's word for an element that ends early is an OSError too.
        return None
