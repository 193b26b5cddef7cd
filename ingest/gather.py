"""Which acquisitions do the records of an archive make, patient by patient?"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.acquisition import Acquisition
from ingest.catalogue import Catalogue, batches
from ingest.errors import Refusal
from ingest.grid import grid_from_values
from ingest.recognise import path_of
from ingest.record import RADIOLOGY, SATELLITE, Record
from ingest.sidecar import Sidecar

if TYPE_CHECKING:
    from ingest.dicom.instance import Instance


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What the usable files of one or more subjects make.

    Attributes:
        acquisitions: To be paired.
        unreadable: What would be acquisitions if their pixels could be read; their files are refused already.
        refusals: Files that are part of no acquisition because of what else is in their series.
        sidecars: Files that could be acquisitions and are copies of what is in one.
    """

    acquisitions: tuple[Acquisition, ...] = ()
    unreadable: tuple[Acquisition, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    sidecars: tuple[Sidecar, ...] = ()


def gather(catalogue: Catalogue, root: Path, *, domain: str | None) -> Iterator[Gathered]:
    """Acquisitions of an archive: those of each patient together, then all scenes together.

    Scenes come at once because which of them show one place is known only when all have been seen.
    """
    if domain != SATELLITE:
        for _, records in groupby(catalogue.images(RADIOLOGY), key=lambda one: one.subject):
            yield _patient(records, root)
    if domain != RADIOLOGY:
        scenes = sorted(catalogue.images(SATELLITE), key=lambda one: one.name)
        if scenes or domain == SATELLITE or any(True for _ in catalogue.descriptions()):
            yield _scenes(scenes, catalogue.descriptions(), root)


def missing_files(catalogue: Catalogue) -> Iterator[Refusal]:
    """Files that a DICOMDIR lists and that are not in the archive, each once."""
    told = set()
    for record in catalogue.directories():
        folder = record.name[: record.name.rfind("/") + 1]
        for names in batches(record.header["files"]):
            # Discs are copied with names in capitals or in small letters.
            spelled = {name: {folder + one for one in (name, name.lower(), name.upper())} for name in names}
            there = catalogue.seals(sorted(set().union(*spelled.values())))
            for name, spellings in spelled.items():
                if folder + name not in told and not spellings & there.keys():
                    told.add(folder + name)
                    yield Refusal(
                        item=folder + name,
                        level="file",
                        code="MISSING_FILE",
                        reason="A DICOMDIR lists this file, and it is not there; copy it from its source again.",
                    )


def _patient(records: Iterable[Record], root: Path) -> Gathered:
    from ingest.dicom.group import group_series

    acquisitions: list[Acquisition] = []
    unreadable: list[Acquisition] = []
    refusals: list[Refusal] = []
    ordered = sorted(records, key=lambda one: (one.study, one.series, one.name))
    for _, series in groupby(ordered, key=lambda one: (one.study, one.series)):
        grouped = group_series([_instance(one, root) for one in series])
        acquisitions.extend(grouped.acquisitions)
        unreadable.extend(grouped.unreadable)
        refusals.extend(grouped.refusals)
    return Gathered(acquisitions=tuple(acquisitions), unreadable=tuple(unreadable), refusals=tuple(refusals))


def _scenes(records: Sequence[Record], descriptions: Iterator[Record], root: Path) -> Gathered:
    from ingest.geotiff.band_files import stack_band_files
    from ingest.geotiff.describe import describe_scenes
    from ingest.geotiff.passes import drop_replaced, merge_passes
    from ingest.geotiff.pictures import is_picture, with_partner
    from ingest.geotiff.place import assign_places

    single = [_single(one, path_of(one, root)) for one in records]
    pictures, alone = with_partner([one for one in single if is_picture(one)])
    described, refusals = describe_scenes([one for one in single if not is_picture(one)], descriptions)
    stacked, aside = stack_band_files(described)
    kept, replaced = drop_replaced(stacked)
    scenes = (*assign_places(merge_passes(kept)), *pictures)
    refused = {one.name for one in records if one.refusal is not None}
    return Gathered(
        acquisitions=tuple(one for one in scenes if refused.isdisjoint(one.names)),
        unreadable=tuple(one for one in scenes if not refused.isdisjoint(one.names)),
        refusals=(*refusals, *replaced, *(one for one in alone if one.item not in refused)),
        sidecars=tuple(one for one in aside if one.item not in refused),
    )


def _instance(record: Record, root: Path) -> "Instance":
    from ingest.dicom.instance import Instance

    path = path_of(record, root)
    return Instance(
        name=record.name,
        path=path,
        uid=record.uid,
        subject=record.subject,
        study=record.study,
        series=record.series,
        modality=record.header["modality"],
        single=_single(record, path) if "single" in record.header else None,
        header=record.header.get("series", {}),
        sha256=record.sha256,
        pixel_sha256=record.pixel_sha256,
        decoder=record.decoder,
        refusal=record.refusal,
    )


def _single(record: Record, path: Path) -> Acquisition:
    """The acquisition that one file makes."""
    single = record.header["single"]
    attributes = dict(single["attributes"])
    if record.decoder:
        attributes["decoder"] = record.decoder
    return Acquisition(
        id=record.uid,
        domain=record.domain,
        subject=record.subject,
        time=datetime.fromisoformat(single["time"]) if single["time"] else None,
        time_source=single["time_source"],
        path=path,
        name=record.name,
        sha256=record.sha256,
        pixel_sha256=record.pixel_sha256,
        grid=grid_from_values(single["grid"]),
        group=single["group"],
        view=single["view"],
        study=record.study,
        attributes=attributes,
    )
