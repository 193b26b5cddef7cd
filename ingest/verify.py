"""Can a file's pixels be read? Each file is read to its end once ever; what was found is kept in its record."""

import hashlib
import importlib.metadata
import logging
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import ClassVar

from ingest.bundle import file_state, read_bytes
from ingest.errors import IngestError
from ingest.recognise import disk_reason, path_of
from ingest.record import FAILED, INODE_BITS, Record

logger = logging.getLogger(__name__)

#: Distributions that decode pixels; those that failed on a file are tried again once they have changed.
_DECODERS = (
    *("pydicom", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle"),
    *("pyjpegls", "python-gdcm", "pillow"),
)


class FileChanging(IngestError):
    """The file changed while the archive was read; run it again when nothing writes to it any more."""

    code: ClassVar[str] = "FILE_CHANGING"


@cache
def decoders() -> str:
    """Key of the installed decoders and their versions."""
    versions = []
    for name in _DECODERS:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return hashlib.sha256("\n".join(versions).encode()).hexdigest()[:16]


def verify(record: Record, *, root: Path) -> Record:
    """The record with file hash and pixel hash, or with the reason why its pixels cannot be used; never raises."""
    from ingest.dicom.index import verify_instance

    try:
        content = _read(record, root)
        found = verify_instance(content)
    except IngestError as error:
        return _failed(record, error.code, str(error))
    except OSError as error:
        return _out_of_reach(record, error)
    except Exception as error:  # noqa: BLE001  one poisoned file must not end the batch
        # The text of a foreign error can quote the header, so only its type is passed on.
        logger.warning("File not decoded", extra={"action": "file_not_decoded", "error": type(error).__name__})
        reason = f"Decoding failed in an unforeseen way ({type(error).__name__}); send the file again from its source."
        return _failed(record, "UNDECODABLE", reason)
    if found.error is not None:
        return replace(_failed(record, found.error.code, str(found.error)), sha256=found.sha256)
    return replace(
        record,
        sha256=found.sha256,
        pixel_sha256=found.pixel_sha256,
        verified_with=found.decoder,
        pixel_code="",
        pixel_reason="",
    )


def crashed(record: Record) -> Record:
    """The record of a file that ended the process that decoded it."""
    return _failed(record, "UNDECODABLE", "The decoder crashed on this file; send it again from its source.")


def hash_file(record: Record, *, root: Path) -> Record:
    """The record with the file's hash, without a look at its pixels; never raises."""
    try:
        return replace(record, sha256=hashlib.sha256(_read(record, root)).hexdigest())
    except IngestError as error:
        return _failed(record, error.code, str(error))
    except OSError as error:
        return _out_of_reach(record, error)


def _failed(record: Record, code: str, reason: str) -> Record:
    return replace(record, verified_with=FAILED + decoders(), pixel_code=code, pixel_reason=reason)


def _out_of_reach(record: Record, error: OSError) -> Record:
    """Not taken for verified, so that the next run tries again."""
    return replace(record, pixel_code="UNREADABLE", pixel_reason=disk_reason(error))


def _read(record: Record, root: Path) -> bytes:
    """The file's bytes, if it is still the one that was indexed."""
    path = path_of(record, root)
    before = file_state(path)
    content = read_bytes(path)
    after = file_state(path)
    for state in (before, after):
        if (state.st_mtime_ns, state.st_ino & INODE_BITS) != (record.stamp.mtime_ns, record.stamp.inode):
            raise FileChanging()
    if len(content) != record.stamp.size:
        raise FileChanging()
    return content
