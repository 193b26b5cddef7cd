"""What are the values of a volume whose slices lie in files?"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from ingest.bundle import read_bytes
from ingest.dicom.decode import StoredFrame, stored_frames
from ingest.dicom.errors import FileChanged, MixedOrientations
from ingest.dicom.header import counted_warnings, numbers, read_header, text, transfer_syntax
from ingest.dicom.series import Stack, stack_series
from ingest.dicom.slices import Slice, frame_headers, read_slices
from ingest.dicom.values import modality_values, not_padding, stored_bits
from ingest.dicom.volume import Volume


@dataclass(frozen=True, kw_only=True)
class SliceFile:
    """Where one slice of a volume is on disk.

    Attributes:
        path: The file.
        sha256: Hash that its bytes must have.
        frame: Index of the frame, from 0.
    """

    path: Path
    sha256: str
    frame: int = 0


def read_volume(files: Sequence[SliceFile]) -> Volume:
    """The volume of exactly these slices, in Hounsfield units for CT and in the scanner's own numbers for MR.

    Files are read and decoded one after the other, each cut to the stored bits and put through the modality table or
    rescale of its own slice. The order of the slices is found by where they lie, whatever the order of `files`.

    Raises:
        FileChanged: The bytes of a file are not those that were indexed.
        IngestError: The files form no single volume, or one of them cannot be decoded; the subclass says why.
        OSError: A file cannot be read from disk.

    Source: DICOM PS3.3 C.11.1 (modality), C.7.6.16.2.9 (the same for each frame).
    """
    slices: dict[int, Slice] = {}
    values = np.empty((0, 0, 0), dtype=np.float32)
    valid = np.empty((0, 0, 0), dtype=np.bool_)
    windows: dict[int, tuple[float, float] | None] = {}
    steps: dict[str, None] = {}
    modality = ""
    with counted_warnings():
        for place, one, header, frame in _planes(files):
            taken: list[str] = [f"decode {frame.decoder} {transfer_syntax(header)}"]
            kept = stored_bits(header, frame.values, taken)
            inside = not_padding(header, kept, taken)
            if not slices:
                shape = (len(files), *kept.shape)
                values, valid = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.bool_)
                modality = text(header, "Modality").upper()
            if kept.shape != values.shape[1:]:
                raise MixedOrientations("The slices have several sizes, so they are no single volume; index again.")
            np.copyto(values[place], modality_values(header, kept, taken), where=inside)
            valid[place] = inside
            slices[place], windows[place] = one, _window(header)
            steps.update(dict.fromkeys(taken))
    stack, order = _one_stack([slices[place] for place in range(len(files))])
    if order != list(range(len(order))):
        values, valid = values[order], valid[order]
    if valid.all():
        valid = np.broadcast_to(np.True_, values.shape)
    return Volume(
        values=values,
        valid=valid,
        grid=stack.grid,
        modality=modality,
        window=windows[order[len(order) // 2]],
        steps=(*steps, f"stack {len(order)} slices by position"),
    )


def _planes(files: Sequence[SliceFile]) -> Iterator[tuple[int, Slice, Dataset, StoredFrame]]:
    """Of each slice its index in `files`, where it lies, its header and its stored values; each file is read once."""
    wanted: dict[SliceFile, dict[int, int]] = defaultdict(dict)
    for place, file in enumerate(files):
        wanted[replace(file, frame=0)][file.frame] = place
    for file, places in wanted.items():
        content = read_bytes(file.path)
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise FileChanged()
        dataset = read_header(content)
        planes = zip(read_slices(dataset), frame_headers(dataset), stored_frames(dataset), strict=True)
        for number, (one, header, frame) in enumerate(planes):
            if number in places:
                yield places[number], one, header, frame


def _one_stack(slices: Sequence[Slice]) -> tuple[Stack, list[int]]:
    """The stack that all slices form, and the index of each of its slices among them."""
    stacks, refused = stack_series(slices)
    if refused:
        raise refused[0].error
    if len(stacks) != 1:
        raise MixedOrientations("The slices form several volumes, where one was indexed; index the archive again.")
    at = {(one.uid, one.frame): index for index, one in enumerate(slices)}
    return stacks[0], [at[one.uid, one.frame] for one in stacks[0].slices]


def _window(header: Dataset) -> tuple[float, float] | None:
    centres, widths = numbers(header, "WindowCenter"), numbers(header, "WindowWidth")
    return (centres[0], widths[0]) if centres and widths and widths[0] > 0 else None
