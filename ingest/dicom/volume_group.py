"""Which volumes do the CT or MR files of one series make?"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pydicom.dataset import Dataset

from ingest.acquisition import Acquisition, SourceFile
from ingest.dicom.errors import BadHeader, SlicesDuplicated, SlicesMissing
from ingest.dicom.exposure_time import exposure_time
from ingest.dicom.header import text, texts
from ingest.dicom.identity import consistency_keys
from ingest.dicom.instance import Instance, combined_hash
from ingest.dicom.projection import read_projection
from ingest.dicom.series import Stack, stack_series
from ingest.dicom.slices import Slice, frame_headers, read_slices
from ingest.dicom.volume_read import SliceFile
from ingest.dicom.weighting import weighting
from ingest.errors import IngestError, Refusal


def volume_header(dataset: Dataset) -> dict[str, Any]:
    """What is kept of one CT or MR file: its slices, and what its series is, as JSON values.

    Raises:
        IngestError: The file is no slice of a volume, or does not say where it lies.
    """
    slices = read_slices(dataset)
    when = exposure_time(dataset)
    shown = read_projection(dataset)
    kind = weighting(next(frame_headers(dataset))) if text(dataset, "Modality").upper() == "MR" else ""
    side = f":{shown.laterality}" if shown.laterality else ""
    found = {
        "time_precision": "" if when.time is None else "second" if when.has_clock else "day",
        "longitudinal": when.longitudinal,
        "body_part": shown.body_part,
        "body_part_source": shown.body_part_source,
        "laterality": shown.laterality,
        "weighting": kind,
        "image_type": "\\".join(texts(dataset, "ImageType")[:3]),
        "kernel": text(dataset, "ConvolutionKernel"),
        "contrast_agent": "yes" if text(dataset, "ContrastBolusAgent") else "",
        "lossy": text(dataset, "LossyImageCompression"),
        **consistency_keys(dataset),
    }
    return {
        "slices": [asdict(one) for one in slices],
        "time": when.time.isoformat() if when.time else "",
        "time_source": when.source,
        "group": ":".join(filter(None, (shown.body_part or "unknown", kind))) + side,
        "attributes": {key: recorded for key, recorded in found.items() if recorded},
    }


def slice_from_header(header: dict[str, Any]) -> Slice:
    """A slice from its JSON values."""
    values: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in header.items()}
    return Slice(**values)


def group_volumes(
    instances: Sequence[Instance],
) -> tuple[tuple[Acquisition, ...], tuple[Refusal, ...], tuple[Acquisition, ...]]:
    """Volumes of one series, refusals of files that are part of none, and volumes of which a file cannot be decoded.

    Every file without a refusal of its own is either in a volume or refused; one of several frames may be in several
    volumes. A volume of which one slice cannot be decoded is not used: it would have a gap.
    """
    # Of several files with one UID only one is a slice, and one that can be read if there is one.
    files: dict[str, Instance] = {}
    for one in sorted(instances, key=lambda one: one.refusal is not None):
        files.setdefault(one.uid, one)
    usable: list[Acquisition] = []
    unreadable: list[Acquisition] = []
    why: dict[str, IngestError] = {}
    if instances and not instances[0].series:
        nameless = BadHeader("The slice names no series (SeriesInstanceUID), so it joins no volume; export it again.")
        why = dict.fromkeys(files, nameless)
    else:
        slices = [slice_from_header(header) for one in files.values() for header in one.header["slices"]]
        stacks, refused = stack_series(slices)
        alone = len(stacks) + len(refused) == 1
        for number, stack in enumerate(stacks, start=1):
            broken = sum(files[one.uid].refusal is not None for one in stack.slices)
            volume = _acquisition(stack, files, suffix="" if alone else f":{number}")
            if not broken:
                usable.append(volume)
                continue
            unreadable.append(volume)
            gap = SlicesMissing(
                f"{broken} of {len(stack.slices)} slices of the volume cannot be decoded; send those files again."
            )
            why.update(dict.fromkeys((one.uid for one in stack.slices), gap))
        for left in refused:
            why.update(dict.fromkeys((one.uid for one in left.slices), left.error))
    used = {name for volume in usable for name in volume.names}
    double = SlicesDuplicated(
        "Another file has this SOP Instance UID and is used in its place; find out which is right."
    )
    refusals = []
    for one in instances:
        if one.refusal is None and one.name not in used:
            error = why[one.uid] if files[one.uid] is one else double
            refusals.append(Refusal(item=one.name, level="file", code=error.code, reason=str(error)))
    return tuple(usable), tuple(refusals), tuple(unreadable)


def slice_files(acquisition: Acquisition) -> tuple[SliceFile, ...]:
    """Where each slice of an indexed volume is on disk."""
    frames = acquisition.attributes.get("frames", "").split(";")
    if frames == [""]:
        frames = ["0"] * len(acquisition.files)
    return tuple(
        SliceFile(path=file.path, sha256=file.sha256, frame=int(frame))
        for file, of_file in zip(acquisition.files, frames, strict=True)
        for frame in of_file.split()
    )


def _acquisition(stack: Stack, files: dict[str, Instance], *, suffix: str) -> Acquisition:
    by_file: dict[str, list[int]] = defaultdict(list)
    for one in stack.slices:
        by_file[one.uid].append(one.frame)
    members = [files[uid] for uid in by_file]
    frames = [" ".join(map(str, found)) for found in by_file.values()]
    first = members[0]
    # The examination began with its earliest slice.
    times = sorted((one.header["time"], one.header["time_source"]) for one in members if one.header["time"])
    time, source = times[0] if times else ("", "")
    grid = stack.grid
    attributes = {
        **first.header["attributes"],
        "modality": first.modality,
        "plane": grid.plane,
        "slices": str(len(stack.slices)),
        "spacing_mm": " ".join(f"{one:.4g}" for one in grid.spacing_mm),
        "tilt_deg": f"{grid.tilt_deg:.1f}" if grid.tilt_deg >= 0.1 else "",
        "stack": stack.contrast,
        "frames": ";".join(frames) if any(frame != "0" for frame in frames) else "",
        "decoder": first.decoder,
        "warnings": " ".join(stack.warnings),
    }
    return Acquisition(
        id=f"{first.series}{suffix}",
        domain="radiology",
        subject=first.subject,
        time=datetime.fromisoformat(time) if time else None,
        time_source=source,
        path=first.path,
        name=first.name,
        sha256=_hash([one.sha256 for one in members], frames),
        pixel_sha256=_hash([one.pixel_sha256 for one in members], frames),
        grid=grid.slice_grid(),
        group=f"{first.modality}:{first.header['group']}",
        study=first.study,
        files=tuple(SourceFile(name=one.name, path=one.path, sha256=one.sha256) for one in members),
        attributes={key: recorded for key, recorded in attributes.items() if recorded},
    )


def _hash(hashes: Sequence[str], frames: Sequence[str]) -> str:
    """Hash over the files and, as one file may hold several volumes, over which of their frames are meant."""
    return combined_hash(one and f"{one} {of_file}" for one, of_file in zip(hashes, frames, strict=True))
