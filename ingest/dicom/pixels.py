"""What does the model see of an image?"""

import hashlib
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_windowing

from ingest.acquisition import Acquisition
from ingest.bundle import read_bytes
from ingest.dicom.colour import brightness, is_coloured
from ingest.dicom.decode import frame_count, has_pixels, stored_frames
from ingest.dicom.errors import FileChanged, UnsupportedImage
from ingest.dicom.header import counted_warnings, items, numbers, read_header, text, texts, transfer_syntax
from ingest.dicom.lookup import apply_table
from ingest.dicom.orientation import turn_upright
from ingest.dicom.slices import frame_headers
from ingest.dicom.spacing import radiograph_grid
from ingest.dicom.values import modality_values, not_padding, stored_bits
from ingest.pixels import Pixels

#: Share of the valid pixels, in percent, that is left outside at each end where the header has no window.
_TAIL_PERCENT = 0.5


def read_radiograph(source: Acquisition | Path) -> Pixels:
    """Display values of a radiograph: (1, H, W) in [0, 1], air dark and bone bright, with every step recorded.

    Args:
        source: An indexed radiograph, which must still be the same file, or any file.

    Raises:
        FileChanged: The file's bytes are not those that were indexed.
        UnsupportedImage: The file holds several frames, or colours of a kind that is not read.
        IngestError: As `read_display`.
        OSError: The file cannot be read from disk.
    """
    path = source.path if isinstance(source, Acquisition) else source
    content = read_bytes(path)
    if isinstance(source, Acquisition) and hashlib.sha256(content).hexdigest() != source.sha256:
        raise FileChanged()
    with counted_warnings():
        dataset = read_header(content)
        if has_pixels(dataset) and text(dataset, "NumberOfFrames") not in ("", "0", "1"):
            raise UnsupportedImage()
        return display(dataset)


def display(dataset: Dataset, *, frame: int = 0) -> Pixels:
    """Display values of one frame of any image: (1, H, W) in [0, 1], with every step recorded.

    Decoded, cut to the stored bits, through the modality table or rescale, through the VOI table or window, and
    inverted once and last where the header asks for it. Colour becomes brightness instead. Padding takes no part in any
    statistic, is not valid, is 0. A radiograph whose header says how it lies is turned upright. In a file of several
    frames, what a frame says of itself goes before what all share.

    Args:
        dataset: Everything of the file.
        frame: Index of the frame, from 0.

    Raises:
        NoPixels, TooLarge, Truncated, Undecodable: As `ingest.dicom.decode.stored_frames`.
        UnsupportedImage: There is no such frame, or its colours are of a kind that is not read.
        BadHeader: An element that is needed cannot be read.

    Source: DICOM PS3.3 C.7.6.3.1, C.11.1, C.11.2 and PS3.4 N.2 (the order of the steps).
    """
    found = next(islice(stored_frames(dataset), frame, None), None)
    if found is None:
        raise UnsupportedImage("The file has no frame of this number; it has fewer.")
    steps = [f"decode {found.decoder} {transfer_syntax(dataset)}"]
    if frame_count(dataset) > 1:
        steps.append(f"frame {frame + 1} of {frame_count(dataset)}")
    header = frame_header(dataset, frame)
    height, width = found.values.shape[:2]
    if is_coloured(header):
        valid = np.ones((height, width), dtype=np.bool_)
        shown = brightness(dataset, found.values, steps)
    else:
        stored = stored_bits(dataset, found.values, steps)
        valid = not_padding(header, stored, steps)
        little_endian = _is_little_endian(dataset)
        quantity = modality_values(header, stored, steps, little_endian=little_endian)
        shown = _window(header, quantity, valid, steps, little_endian=little_endian)
        if is_inverted(header):
            shown = 1.0 - shown
            steps.append("invert")
    grid, _ = radiograph_grid(header, height=height, width=width)
    shown[~valid] = 0.0
    turn = turn_upright(header)
    if turn:
        steps.append("turn upright from " + "\\".join(texts(header, "PatientOrientation")))
    values = np.ascontiguousarray(turn.apply(shown), dtype=np.float32)[np.newaxis]
    return Pixels(values=values, valid=np.ascontiguousarray(turn.apply(valid)), grid=grid, steps=tuple(steps))


def frame_header(dataset: Dataset, frame: int) -> Dataset:
    """The elements that hold for one frame, as if it were alone in its file."""
    headers = list(islice(frame_headers(dataset), frame + 1))
    return headers[frame] if frame < len(headers) else headers[0]


def is_inverted(dataset: Dataset) -> bool:
    """True if low values are to be shown bright: MONOCHROME1, PresentationLUTShape INVERSE, or both (which is one)."""
    return (
        text(dataset, "PhotometricInterpretation") == "MONOCHROME1"
        or text(dataset, "PresentationLUTShape") == "INVERSE"
    )


def _window(
    dataset: Dataset,
    values: NDArray[np.float64],
    valid: NDArray[np.bool_],
    steps: list[str],
    *,
    little_endian: bool,
) -> NDArray[np.float64]:
    """Values in [0, 1]: by the first VOI table, else the first window, else the valid pixels' own range."""
    tables = items(dataset, "VOILUTSequence")
    if tables:
        looked_up, bits = apply_table(tables[0], values, little_endian=little_endian)
        steps.append(f"VOI table 1 of {len(tables)}, {bits} bits")
        mapped: NDArray[np.float64] = np.clip(looked_up / (2**bits - 1), 0.0, 1.0)
        return mapped
    centres, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    if centres and widths:
        function = text(dataset, "VOILUTFunction").upper() or "LINEAR"
        try:
            shown = _windowed(values, centres[0], widths[0], function)
        except ValueError:
            steps.append(f"window {centres[0]:g}/{widths[0]:g} {function} is not valid and was left out")
        else:
            steps.append(f"window {centres[0]:g}/{widths[0]:g} {function}, 1 of {len(centres)}")
            return shown
    low, high = (float(one) for one in np.percentile(values[valid], (_TAIL_PERCENT, 100 - _TAIL_PERCENT)))
    steps.append(f"no window: stretched from {low:g} to {high:g} ({_TAIL_PERCENT} % left out at each end)")
    stretched: NDArray[np.float64] = np.clip((values - low) / max(high - low, np.finfo(np.float64).tiny), 0.0, 1.0)
    return stretched


def _windowed(values: NDArray[np.float64], centre: float, width: float, function: str) -> NDArray[np.float64]:
    """pydicom's window, told of a one-bit unsigned output so that its range is 0 to 1 whatever the rescale was."""
    request = Dataset()
    request.PhotometricInterpretation = "MONOCHROME2"
    request.BitsStored = 1
    request.PixelRepresentation = 0
    request.WindowCenter = centre
    request.WindowWidth = width
    request.VOILUTFunction = function
    # Far below a narrow sigmoid the exponential overflows to infinity, and the result is the 0 it should be.
    with np.errstate(over="ignore"):
        shown: NDArray[np.float64] = apply_windowing(values, request)
    clipped: NDArray[np.float64] = np.clip(shown, 0.0, 1.0)
    return clipped


def _is_little_endian(dataset: Dataset) -> bool:
    return dataset.original_encoding[1] is not False
