"""What is kept of one file of an archive from one index to the next?"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from ingest.errors import Refusal
from ingest.sidecar import Sidecar

#: Version of what the readers of files give. Files are read anew after it was raised: do so whenever a reader, or
#: `ingest.dicom.group.series_header`, gives something else for the same file than before.
READER = "6"

#: A file that changed this short a time before it was read may change again without a new time: clocks of file systems
#: tick as slowly as every two seconds (FAT). Such a file is read again by the next index.
SETTLE_NS = 2_000_000_000

#: Inode numbers have 64 bits, whole numbers of databases 63.
INODE_BITS = 2**63 - 1

#: Domains of acquisitions.
RADIOLOGY, SATELLITE = "radiology", "satellite"

#: What became of a file.
IMAGE, REFUSED, ASIDE, DIRECTORY, DESCRIPTION = "image", "refused", "aside", "directory", "description"

#: Prefix of `Record.verified_with` where nothing could decode the pixels.
FAILED = "failed: "


class Stamp(NamedTuple):
    """By what a change of a file is noticed without reading it.

    Attributes:
        size: Bytes.
        mtime_ns: Time of the last change, as the file system tells it.
        inode: Number of the file; a file that replaces another one has its own, whatever its times say.
        beside: Hash of the state of the files that are read together with this one; empty if there are none.
    """

    size: int
    mtime_ns: int
    inode: int
    beside: str = ""


# Without slots: with them, to send one to another process takes several times as long.
@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of one file. All but `double_code` and `double_reason` depends on this file alone.

    Attributes:
        name: Path relative to the archive root, as it is shown; the key.
        location: The same, percent-encoded, where `name` does not lead to the file: its bytes are no UTF-8.
        stamp: The file's state when it was read.
        read_at_ns: When it was read, in nanoseconds since 1970.
        reader: `READER` of the code that read it; empty if it was not read and has to be.
        status: `IMAGE`, `REFUSED`, `ASIDE`, `DIRECTORY` of a file set, or `DESCRIPTION` of scenes.
        domain: "radiology" or "satellite"; empty if it belongs to neither.
        code: Reason code of a refusal.
        reason: Sentence of a refusal or of a file that was put aside.
        has_pixels: True if there are pixels that can be verified.
        uid: SOP Instance UID, or `scene:<hash>`.
        subject: Key of the patient or place.
        study: StudyInstanceUID, or the pass of a scene.
        series: SeriesInstanceUID.
        header_json: What makes the file an acquisition, as JSON: a text is sent to another process and written to a
            database as it is. A refused file has it too if it would be usable but for its pixels.
        sha256: Hash of the file's bytes; empty until they were read.
        pixel_sha256: Hash of the stored values; empty until they were decoded.
        verified_with: What decoded the pixels, or the decoders that could not; empty until they were verified.
        pixel_code: Reason code if the pixels were verified and cannot be used.
        pixel_reason: The sentence for it.
        double_code: Reason code if another file is used in this one's place.
        double_reason: The sentence for it.
    """

    name: str
    stamp: Stamp
    read_at_ns: int
    reader: str = READER
    location: str = ""
    status: str
    domain: str = ""
    code: str = ""
    reason: str = ""
    has_pixels: bool = False
    uid: str = ""
    subject: str = ""
    study: str = ""
    series: str = ""
    header_json: str = "{}"
    sha256: str = ""
    pixel_sha256: str = ""
    verified_with: str = ""
    pixel_code: str = ""
    pixel_reason: str = ""
    double_code: str = ""
    double_reason: str = ""

    @cached_property
    def header(self) -> dict[str, Any]:
        """The values of `header_json`; not to be changed."""
        values: dict[str, Any] = json.loads(self.header_json)
        return values

    @property
    def refusal(self) -> Refusal | None:
        """Why the file gives nothing; None if it is used or put aside."""
        if self.pixel_code:
            return Refusal(item=self.name, level="file", code=self.pixel_code, reason=self.pixel_reason)
        if self.double_code:
            return Refusal(item=self.name, level="file", code=self.double_code, reason=self.double_reason)
        if self.status == REFUSED:
            return Refusal(item=self.name, level="file", code=self.code, reason=self.reason)
        return None

    @property
    def sidecar(self) -> Sidecar | None:
        """Why the file is no image and no fault; None if it is either."""
        return Sidecar(item=self.name, reason=self.reason) if self.status in (ASIDE, DIRECTORY, DESCRIPTION) else None

    @property
    def may_be_used(self) -> bool:
        """True if the file is an acquisition or part of one, or would be but for its pixels."""
        return self.header_json != "{}" and self.status in (IMAGE, REFUSED) and not self.double_code

    @property
    def decoder(self) -> str:
        """Name and version of what decoded the pixels; empty if nothing has."""
        return "" if self.verified_with.startswith(FAILED) else self.verified_with


#: When and in what state a file was read: `name`, `read_at_ns` and `reader` of its record, then the fields of its
#: stamp. A row of a database as it is: a second index gets one for each file and does little else.
Seal = Sequence[Any]


def seal_of(record: Record) -> Seal:
    """When and in what state a record's file was read."""
    return (record.name, record.read_at_ns, record.reader, *record.stamp)


def holds(seal: Seal, stamp: Stamp) -> bool:
    """True if a file in this state need not be read again."""
    return seal[3:] == stamp and seal[2] == READER and seal[1] - stamp.mtime_ns > SETTLE_NS
