"""Can a file's pixels be read? Each file is read to its end once ever; what was found is kept in its record."""

import hashlib
import importlib.metadata
import json
import logging
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import ClassVar

from ingest.bundle import file_state, read_bytes
from ingest.errors import IngestError
from ingest.recognise import TOO_LONG, disk_reason, path_of, single_values
from ingest.record import FAILED, INODE_BITS, SATELLITE, Record

logger = logging.getLogger(__name__)

#: Distributions that decode pixels; those that failed on a file are tried again once they have changed.
_DECODERS = (
    *("pydicom", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle"),
    *("pyjpegls", "python-gdcm", "pillow", "rasterio"),
)

#: The least time in which a file must be read, and how much of a longer one in each second more.
_SECONDS, _BYTES_A_SECOND = 60.0, 1_000_000
#: Bytes of a pixel of a scene: eight bands of 16 bits.
_SCENE_BYTES = 16


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
    try:
        return _verify_scene(record, root) if record.domain == SATELLITE else _verify_instance(record, root)
    except IngestError as error:
        return _failed(record, error.code, str(error))
    except OSError as error:
        return _out_of_reach(record, error)
    except Exception as error:  # noqa: BLE001  one poisoned file must not end the batch
        # The text of a foreign error can quote the header, so only its type is passed on.
        logger.warning("File not decoded", extra={"action": "file_not_decoded", "error": type(error).__name__})
        reason = f"Decoding failed in an unforeseen way ({type(error).__name__}); send the file again from its source."
        return _failed(record, "UNDECODABLE", reason)


def _verify_instance(record: Record, root: Path) -> Record:
    from ingest.dicom.index import verify_instance

    found = verify_instance(_read(record, root))
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


def _verify_scene(record: Record, root: Path) -> Record:
    """The record of a scene after reading all its blocks, with the exact footprint; memory is flat in its size."""
    import rasterio

    from ingest.geotiff.scene import index_scene

    path = path_of(record, root)
    _check_state(record, path)
    scene = index_scene(path, root)
    _check_state(record, path)
    if isinstance(scene, str):
        raise FileChanging()
    return replace(
        record,
        header_json=json.dumps({**record.header, "single": single_values(scene)}),
        sha256=scene.sha256,
        pixel_sha256=scene.pixel_sha256,
        verified_with=f"rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}",
        pixel_code="",
        pixel_reason="",
    )


def crashed(record: Record) -> Record:
    """The record of a file that ended the process that decoded it."""
    return _failed(record, "UNDECODABLE", "The decoder crashed on this file; send it again from its source.")


def timed_out(record: Record) -> Record:
    """The record of a file whose pixels were not read in time; the next index tries again."""
    return replace(record, pixel_code="TIMED_OUT", pixel_reason=TOO_LONG)


def seconds(record: Record) -> float:
    """How long reading all pixels of a file may take: far longer than the slowest decoder or network needs."""
    size = record.stamp.size
    if record.domain == SATELLITE:
        # A mosaic is a small file beside large ones, so what counts is what it shows.
        grid = record.header["single"]["grid"]
        size = max(size, grid["height"] * grid["width"] * _SCENE_BYTES)
    return _SECONDS + size / _BYTES_A_SECOND


def hash_file(record: Record, *, root: Path) -> Record:
    """The record with the file's hash, without a look at its pixels; never raises."""
    try:
        if record.domain != SATELLITE:
            return replace(record, sha256=hashlib.sha256(_read(record, root)).hexdigest())
        # scenes may be larger than memory, and are never members of a zip file
        path = path_of(record, root)
        _check_state(record, path)
        with path.open("rb") as file:
            return replace(record, sha256=hashlib.file_digest(file, "sha256").hexdigest())
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
    _check_state(record, path)
    content = read_bytes(path)
    _check_state(record, path)
    if len(content) != record.stamp.size:
        raise FileChanging()
    return content


def _check_state(record: Record, path: Path) -> None:
    state = file_state(path)
    if (state.st_mtime_ns, state.st_ino & INODE_BITS) != (record.stamp.mtime_ns, record.stamp.inode):
        raise FileChanging()
