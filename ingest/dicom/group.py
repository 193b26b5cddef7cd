"""Which acquisitions do the images of one series make?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from ingest.acquisition import Acquisition
from ingest.dicom.errors import UnsupportedModality
from ingest.dicom.instance import Instance
from ingest.errors import Refusal


@dataclass(frozen=True, kw_only=True)
class Grouped:
    """What became of the images of one series.

    Every file without a `refusal` of its own is in exactly one of the first two: in `Acquisition.names`, or as the item
    of a refusal of level "file".

    Attributes:
        acquisitions: Images and volumes that can be used.
        refusals: Files that are part of none, and why.
        unreadable: Acquisitions that would be there if their files could be decoded. They are never used, but a current
            whose only prior is one of them is told so.
    """

    acquisitions: tuple[Acquisition, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    unreadable: tuple[Acquisition, ...] = ()


def series_header(dataset: Dataset) -> dict[str, Any]:
    """What `group_series` needs of an image that is no acquisition of its own, as JSON values.

    Called once for each file when its header is read; the dataset has no pixels. The result is kept in the database, so
    that an unchanged file is not read again: after a change of what is returned, raise `ingest.record.READER`.

    Raises:
        IngestError: The file is refused on its own, whatever else is in its series.
    """
    return {}


def group_series(instances: Sequence[Instance]) -> Grouped:
    """Acquisitions that the images of one series make.

    Called for each series of each patient with all its images, in the order of their names: those whose pixels were
    found unreadable (they have a `refusal`, which is counted already) and those that are no series at all (an empty
    `series`) as well. Until files are verified, `sha256`, `pixel_sha256` and `decoder` are empty, and so they are in
    the acquisitions. The outcome must depend on nothing but `instances`.
    """
    acquisitions: list[Acquisition] = []
    refusals: list[Refusal] = []
    unreadable: list[Acquisition] = []
    for one in instances:
        if one.single is not None:
            (acquisitions if one.refusal is None else unreadable).append(one.single)
        elif one.refusal is None:
            refusals.append(
                Refusal(
                    item=one.name,
                    level="file",
                    code=UnsupportedModality.code,
                    reason=f"The header of this {one.modality or 'unnamed'} image is readable, but only radiographs "
                    "(CR, DX, RF, XR) are compared yet; leave it in place for a later version.",
                )
            )
    return Grouped(acquisitions=tuple(acquisitions), refusals=tuple(refusals), unreadable=tuple(unreadable))
