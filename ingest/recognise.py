"""What is this file? Its record, by what it holds first and by its name second."""

import json
import logging
import os
import time
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import quote, unquote_to_bytes

from ingest.acquisition import Acquisition
from ingest.bundle import DAMAGED, DAMAGED_MEMBER, INTO, ZipUnreadable, open_file
from ingest.errors import IngestError
from ingest.grid import grid_values
from ingest.record import ASIDE, DESCRIPTION, DIRECTORY, IMAGE, RADIOLOGY, REFUSED, SATELLITE, Record
from ingest.sidecar import is_mirror_work, sidecar_reason
from ingest.walk import Found

logger = logging.getLogger(__name__)

#: Bytes read of a file to tell what it is: DICOM's preamble and meta header, every raster's magic.
_HEAD = 1024
#: Suffixes under which DICOM is sent without a preamble; files without suffix count too.
_DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic", ".ima", ""})

#: Why a file was given up.
TOO_LONG = (
    "Reading the file took too long and was ended; the next index tries again. If the disk is not slow, send it again "
    "from its source."
)

#: Fields of a record.
Fields = dict[str, Any]


def recognise(found: Found, *, root: Path, domain: str | None) -> Record:
    """Record of one file, from its header; never raises.

    Args:
        found: The file.
        root: Folder of the archive.
        domain: "radiology" or "satellite" to leave the other's files unread; None for both. The record of a file that
            was left unread says so, and does not keep the next index from reading it.
    """
    read_at_ns = time.time_ns()
    fields = _fields(found, root, domain)
    if "header" in fields:
        fields["header_json"] = json.dumps(fields.pop("header"))
    relative = os.fsencode(found.path[len(str(root)) :].lstrip("/"))
    if relative != found.name.encode("utf-8"):
        fields["location"] = quote(relative)
    return Record(name=found.name, stamp=found.stamp, read_at_ns=read_at_ns, **fields)


def crashed(found: Found) -> Record:
    """Record of a file that ended the process that read it."""
    fields = _refused("UNDECODABLE", "The decoder crashed on this file; send it again from its source.")
    return Record(name=found.name, stamp=found.stamp, read_at_ns=time.time_ns(), **fields)


def timed_out(found: Found) -> Record:
    """Record of a file that was not read in time; the next index tries again."""
    fields = _refused("TIMED_OUT", TOO_LONG, reader="")
    return Record(name=found.name, stamp=found.stamp, read_at_ns=time.time_ns(), **fields)


def path_of(record: Record, root: Path) -> Path:
    """Where a record's file lies."""
    return root / (os.fsdecode(unquote_to_bytes(record.location)) if record.location else record.name)


def disk_reason(error: OSError) -> str:
    """Why the disk does not give a file, without its path."""
    if isinstance(error, PermissionError):
        return "The file may not be read; give this user the right to."
    return f"The disk does not give the file ({type(error).__name__}); retry."


def _fields(found: Found, root: Path, domain: str | None) -> Fields:
    if is_mirror_work(found.name):
        return _aside("Of a mirror that is not whole yet; `interval mirror` goes on with it.")
    if found.fault:
        return _refused(found.code, found.fault, reader="")
    if found.is_bundle:
        return _aside("A zip file: its members are read in place.")
    try:
        with open_file(found.path) as file:
            return _dispatch(file, found, root, domain)
    except IngestError as error:
        return _refused(error.code, str(error))
    except OSError as error:
        return _refused("UNREADABLE", disk_reason(error), reader="")
    except Exception as error:  # noqa: BLE001  one poisoned file must not end the batch
        if isinstance(error, DAMAGED) and INTO in found.name:
            return _refused(ZipUnreadable.code, DAMAGED_MEMBER)
        # The text of a foreign error can quote the header, so only its type is passed on.
        logger.warning("File not read", extra={"action": "file_not_read", "error": type(error).__name__})
        return _refused(
            "UNREADABLE",
            f"Reading the file failed in an unforeseen way ({type(error).__name__}); send it again from its source.",
        )


def _refused(code: str, reason: str, **fields: Any) -> Fields:
    return {"status": REFUSED, "code": code, "reason": reason, **fields}


def _aside(reason: str, **fields: Any) -> Fields:
    return {"status": ASIDE, "reason": reason, **fields}


def _dispatch(file: IO[bytes], found: Found, root: Path, domain: str | None) -> Fields:
    """Decides by content, then by name, which half reads the file."""
    head = file.read(_HEAD)
    if not head:
        return _refused("EMPTY_FILE", "The file is empty; send it again from its source.")
    # DICOM's own magic, kept here so that scenes can be indexed without importing pydicom.
    if head[128:132] == b"DICM":
        return _dicom(file, found, head, domain)
    description = _description(file, found, root, domain)
    if description is not None:
        return description
    raster = _raster(found, head, root, domain)
    if raster is not None:
        return raster
    name = PurePosixPath(found.name)
    reason = sidecar_reason(name, head)
    if reason is not None:
        return _aside(reason)
    if name.suffix.lower() in _DICOM_SUFFIXES or name.suffix[1:].isdigit():
        return _dicom(file, found, head, domain)
    return _refused("NOT_RECOGNISED", "Neither DICOM nor a raster that is read; unpack it, or leave it out.")


def _description(file: IO[bytes], found: Found, root: Path, domain: str | None) -> Fields | None:
    """Fields of a file that says something about scenes; None if it is none."""
    from ingest.geotiff.description import MOST_BYTES, may_describe, read_description

    if INTO in found.name or not may_describe(found.name):
        return None
    if domain == RADIOLOGY:
        return _aside("Text beside the images; whether it describes scenes was not asked for.", reader="")
    if found.stamp.size > MOST_BYTES:
        return None
    file.seek(0)
    described = read_description(found.name, file.read(MOST_BYTES), str(root))
    if described is None:
        return None
    reason, header = described
    return {"status": DESCRIPTION, "reason": reason, "domain": SATELLITE, "header": header}


def _raster(found: Found, head: bytes, root: Path, domain: str | None) -> Fields | None:
    """Fields of a scene or of what belongs to one; None if the file is neither."""
    from ingest.geotiff.formats import has_raster_magic, is_raster
    from ingest.geotiff.scene import read_header

    path = Path(found.path)
    if INTO in found.name and not path.exists():
        if not has_raster_magic(head):
            return None
        return _refused("NOT_RECOGNISED", "Only DICOM files are read inside zip files; unpack it and index the folder.")
    if not is_raster(path):
        return None
    if domain == RADIOLOGY:
        return _aside("Not read.", domain=SATELLITE, reader="")
    try:
        scene = read_header(path, root)
    except IngestError as error:
        return _refused(error.code, str(error), domain=SATELLITE)
    if isinstance(scene, str):
        return _aside(scene, domain=SATELLITE)
    return {
        "status": IMAGE,
        "domain": SATELLITE,
        "has_pixels": True,
        "uid": scene.id,
        "subject": scene.subject,
        "study": scene.study,
        "header": {"single": single_values(scene)},
    }


def single_values(scene: Acquisition) -> Fields:
    """What a record's other fields do not hold of an acquisition, as JSON values."""
    return {
        "time": scene.time.isoformat() if scene.time else None,
        "time_source": scene.time_source,
        "grid": grid_values(scene.grid),
        "group": scene.group,
        "view": scene.view,
        "attributes": dict(scene.attributes),
    }


def _dicom(file: IO[bytes], found: Found, head: bytes, domain: str | None) -> Fields:
    from ingest.dicom.directory import referenced_files
    from ingest.dicom.index import index_instance, is_dicomdir

    if domain == SATELLITE:
        return _aside("Not read.", domain=RADIOLOGY, reader="")
    file.seek(0)
    if is_dicomdir(head):
        names = referenced_files(file.read())
        reason = f"Directory of a DICOM file set: the {len(names)} files that it lists are read themselves."
        return {"status": DIRECTORY, "reason": reason, "domain": RADIOLOGY, "header": {"files": names}}
    # Following fragments through a packed member would unpack all of it.
    indexed = index_instance(file, found.stamp.size, follow=INTO not in found.name)
    fields: Fields = {
        "status": IMAGE,
        "domain": RADIOLOGY,
        "has_pixels": indexed.has_pixels,
        "uid": indexed.uid,
        "subject": indexed.subject,
        "study": indexed.study,
        "series": indexed.series,
        "header": indexed.header,
    }
    if indexed.error is not None:
        fields |= _refused(indexed.error.code, str(indexed.error))
    return fields
