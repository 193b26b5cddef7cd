"""Which acquisitions do the images of one series make?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from ingest.acquisition import Acquisition
from ingest.dicom.errors import UnsupportedModality
from ingest.dicom.header import text
from ingest.dicom.instance import Instance
from ingest.dicom.slices import VOLUME_MODALITIES
from ingest.dicom.volume_group import group_volumes, volume_header
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
    that an unchanged file is not read again: after a change of what is returned, raise `ingest.record.READER`. It must
    not be empty, and it must not hold anything that names a patient.

    Raises:
        IngestError: The file is refused on its own, whatever else is in its series.
    """
    modality = text(dataset, "Modality").upper()
    if modality in VOLUME_MODALITIES:
        return volume_header(dataset)
    raise UnsupportedModality(
        f"The header of this {modality or 'unnamed'} image is readable, but only radiographs (CR, DX, RF, XR) and "
        "volumes (CT, MR) are compared yet; leave it in place for a later version."
    )


def group_series(instances: Sequence[Instance]) -> Grouped:
    """Acquisitions that the images of one series make.

    Called for each series of each patient with all its images, in the order of their names: those whose pixels were
    found unreadable (they have a `refusal`, which is counted already) and those that are no series at all (an empty
    `series`) as well. Until files are verified, `sha256`, `pixel_sha256` and `decoder` are empty, and so they are in
    the acquisitions. The outcome must depend on nothing but `instances`.
    """
    singles = [one for one in instances if one.single is not None]
    volumes, refusals, broken = group_volumes([one for one in instances if one.single is None])
    return Grouped(
        acquisitions=(*(one.single for one in singles if one.single and one.refusal is None), *volumes),
        refusals=refusals,
        unreadable=(*(one.single for one in singles if one.single and one.refusal is not None), *broken),
    )
