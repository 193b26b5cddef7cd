"""What does the index know about one acquisition: an image or volume of a study, or a scene?"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ingest.grid import Grid


@dataclass(frozen=True, kw_only=True, order=True)
class SourceFile:
    """One of the several files that an acquisition is made of.

    Attributes:
        name: The path relative to the archive root, POSIX separators.
        path: The file, absolute.
        sha256: Hash of the file's bytes; empty as long as only its header was read.
    """

    name: str
    path: Path
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """One usable image or volume of a study, or one scene, as the index found it; its pixels stay on disk.

    Attributes:
        id: SOP Instance UID of a radiograph, a key of its slices for a volume; `scene:<first 32 hex digits of sha256>`
            of a scene.
        domain: "radiology" or "satellite".
        subject: Key of patient or place: `patient:<hash of PatientID and issuer>` or `place:<hash of the footprint
            group>`.
            Never the identifier itself.
        time: Acquisition time as recorded, without invented offset; None if unknown.
        time_source: Where the time was read: a tag's keyword, "TIFFTAG_DATETIME", "filename", "sidecar".
        path: The file, absolute; the first one of a volume.
        name: The path relative to the archive root, POSIX separators; that of the first file of a volume.
        sha256: Hash of the file's bytes; of the hashes of all files, in order, for a volume. Empty as long as only
            headers were read.
        pixel_sha256: Hash of the decoded stored values with shape and dtype: equal for equal pictures in other codings.
            Empty as long as only headers were read.
        grid: Affine, shape and frame.
        group: What must be equal to be compared: modality group and body part for radiographs, empty for scenes.
        view: "AP", "PA", "LATERAL", or "" (unknown) for radiographs; "" for scenes.
        study: StudyInstanceUID; the pass (platform and solar day) or id for scenes.
        files: Every file of a volume, in the order of its slices; empty where `path` is the only file.
        attributes: What provenance needs and no field holds: decoder, transfer syntax, sensor, bands, warnings.
    """

    id: str
    domain: str
    subject: str
    time: datetime | None
    time_source: str
    path: Path
    name: str
    sha256: str
    pixel_sha256: str
    grid: Grid
    group: str = ""
    view: str = ""
    study: str = ""
    files: tuple[SourceFile, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all files that the acquisition is made of."""
        return tuple(one.name for one in self.files) or (self.name,)
