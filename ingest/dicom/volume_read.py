"""What are the values of a volume whose slices lie in files?"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ingest.dicom.decode import stored_values, transfer_syntax
from ingest.dicom.errors import FileChanged, MixedOrientations
from ingest.dicom.header import counted_warnings, numbers, read_header, text
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
    slices: list[Slice] = []
    values = np.empty((0, 0, 0), dtype=np.float32)
    valid = np.empty((0, 0, 0), dtype=np.bool_)
    windows: list[tuple[float, float] | None] = []
    steps: dict[str, None] = {}
    modality = ""
    opened = _Opened()
    with counted_warnings():
        for place, file in enumerate(files):
            opened.open(file)
            header, stored = opened.headers[file.frame], opened.stored[file.frame]
            taken: list[str] = [f"decode {opened.decoder}"]
            kept = stored_bits(header, stored, taken)
            inside = not_padding(header, kept, taken)
            if not slices:
                shape = (len(files), *kept.shape)
                values, valid = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.bool_)
                modality = text(header, "Modality").upper()
            if kept.shape != values.shape[1:]:
                raise MixedOrientations("The slices have several sizes, so they are no single volume; index again.")
            np.copyto(values[place], modality_values(header, kept, taken), where=inside)
            valid[place] = inside
            slices.append(opened.slices[file.frame])
            windows.append(_window(header))
            steps.update(dict.fromkeys(taken))
    stack, order = _one_stack(slices)
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


class _Opened:
    """The file that was read last: frames of one file follow each other, and it is not to be decoded for each."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self.headers: list[Dataset] = []
        self.slices: tuple[Slice, ...] = ()
        self.stored: NDArray[np.generic] = np.empty((0, 0, 0))
        self.decoder = ""

    def open(self, file: SliceFile) -> None:
        if file.path == self._path:
            return
        content = file.path.read_bytes()
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise FileChanged()
        dataset = read_header(content)
        stored, decoder = stored_values(dataset)
        self.stored = stored[np.newaxis] if stored.ndim == 2 else stored
        self.decoder = f"{decoder} {transfer_syntax(dataset)}"
        self.headers = list(frame_headers(dataset))
        self.slices = read_slices(dataset)
        self._path = file.path


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
