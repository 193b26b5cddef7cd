"""What does the index keep of one DICOM image?"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ingest.acquisition import Acquisition
from ingest.errors import Refusal


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One file with an image: its header, and the hashes once it was decoded.

    Attributes:
        name: Path relative to the archive root.
        path: The file, absolute.
        uid: SOP Instance UID.
        subject: Key of the patient.
        study: StudyInstanceUID, empty if unknown.
        series: SeriesInstanceUID, empty if unknown.
        modality: Modality, upper case.
        single: The image as an acquisition of its own; None if it is one only together with others of its series.
        header: What `ingest.dicom.group.series_header` took from the dataset: JSON values, kept in the database.
        sha256: Hash of the file's bytes; empty until it was verified.
        pixel_sha256: Hash of the stored values; empty until it was verified.
        decoder: Name and version of the decoder; empty until it was verified.
        refusal: Why the file cannot be used, if it was verified and cannot.
    """

    name: str
    path: Path
    uid: str
    subject: str
    study: str
    series: str
    modality: str
    single: Acquisition | None = None
    header: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    pixel_sha256: str = ""
    decoder: str = ""
    refusal: Refusal | None = None


def combined_hash(hashes: Iterable[str]) -> str:
    """Hash of a volume from those of its slices, in their order; empty if one of them is still unknown."""
    digest = hashlib.sha256()
    for one in hashes:
        if not one:
            return ""
        digest.update(one.encode("ascii"))
    return digest.hexdigest()
