"""What does the model see of a radiograph?"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_windowing

from ingest.acquisition import Acquisition
from ingest.dicom.decode import is_native, stored_values, transfer_syntax
from ingest.dicom.errors import FileChanged, Undecodable, UnsupportedImage
from ingest.dicom.header import counted_warnings, items, numbers, read_header, text
from ingest.dicom.lookup import apply_table
from ingest.dicom.spacing import radiograph_grid
from ingest.pixels import Pixels

#: Share of the valid pixels, in percent, that is left outside at each end where the header has no window.
_TAIL_PERCENT = 0.5


def read_radiograph(source: Acquisition | Path) -> Pixels:
    """Display values of a radiograph: (1, H, W) in [0, 1], air dark and bone bright, with every step recorded.

    Decoded, cut to the stored bits, through the modality table or rescale, through the VOI table or window, and
    inverted once and last where the header asks for it. Padding takes no part in any statistic, is not valid, is 0.

    Args:
        source: An indexed radiograph, which must still be the same file, or any file.

    Raises:
        FileChanged: The file's bytes are not those that were indexed.
        UnsupportedImage: The file holds colour or several frames.
        NotDicom, BadHeader, NoPixels, Truncated, Undecodable: As at index time.
        OSError: The file cannot be read from disk.

    Source: DICOM PS3.3 C.7.6.3.1, C.11.1, C.11.2 and PS3.4 N.2 (the order of the steps).
    """
    path = source.path if isinstance(source, Acquisition) else source
    content = path.read_bytes()
    if isinstance(source, Acquisition) and hashlib.sha256(content).hexdigest() != source.sha256:
        raise FileChanged()
    with counted_warnings():
        dataset = read_header(content)
        stored, decoder = stored_values(dataset)
        if stored.ndim != 2:
            raise UnsupportedImage()
        steps = [f"decode {decoder} {transfer_syntax(dataset)}"]
        stored = _stored_bits(dataset, stored, steps)
        valid = _not_padding(dataset, stored, steps)
        shown = _window(dataset, _modality_values(dataset, stored, steps), valid, steps)
        if is_inverted(dataset):
            shown = 1.0 - shown
            steps.append("invert")
        grid, _ = radiograph_grid(dataset, height=stored.shape[0], width=stored.shape[1])
    shown[~valid] = 0.0
    return Pixels(values=shown.astype(np.float32)[np.newaxis], valid=valid, grid=grid, steps=tuple(steps))


def is_inverted(dataset: Dataset) -> bool:
    """True if low values are to be shown bright: MONOCHROME1, PresentationLUTShape INVERSE, or both (which is one)."""
    return (
        text(dataset, "PhotometricInterpretation") == "MONOCHROME1"
        or text(dataset, "PresentationLUTShape") == "INVERSE"
    )


def _stored_bits(dataset: Dataset, stored: NDArray[Any], steps: list[str]) -> NDArray[Any]:
    """Values without what lies beside BitsStored, such as old overlays; a compressed stream has its own depth."""
    bits = numbers(dataset, "BitsStored")
    allocated = stored.dtype.itemsize * 8
    if not bits or not is_native(dataset) or stored.dtype.kind not in "iu" or bits[0] >= allocated:
        return stored
    kept = int(bits[0])
    unused = allocated - kept
    steps.append(f"keep {kept} of {allocated} bits")
    # Shifting up and down again repeats the sign bit of signed values and clears the upper bits of unsigned ones.
    cut: NDArray[Any] = np.right_shift(np.left_shift(stored, unused), unused)
    return cut


def _not_padding(dataset: Dataset, stored: NDArray[Any], steps: list[str]) -> NDArray[np.bool_]:
    """False where the value is padding. Source: DICOM PS3.3 C.7.5.1.1.2 (the limit makes it a range)."""
    padding = numbers(dataset, "PixelPaddingValue")
    if not padding:
        return np.ones(stored.shape, dtype=np.bool_)
    low, high = sorted((padding[0], (numbers(dataset, "PixelPaddingRangeLimit") or padding)[0]))
    valid: NDArray[np.bool_] = (stored < low) | (stored > high)
    if not valid.any():
        raise Undecodable("Every pixel of the image is padding; send it again from its source.")
    if not valid.all():
        steps.append(f"padding {low:g} to {high:g} left out")
    return valid


def _modality_values(dataset: Dataset, stored: NDArray[Any], steps: list[str]) -> NDArray[np.float64]:
    tables = items(dataset, "ModalityLUTSequence")
    if tables:
        values, bits = apply_table(tables[0], stored, little_endian=_little_endian(dataset))
        steps.append(f"modality table of {bits} bits")
        return values
    values = stored.astype(np.float64)
    slope, intercept = numbers(dataset, "RescaleSlope"), numbers(dataset, "RescaleIntercept")
    if slope and intercept and slope[0] != 0:
        steps.append(f"rescale slope {slope[0]:g} intercept {intercept[0]:g}")
        values = values * slope[0] + intercept[0]
    return values


def _window(
    dataset: Dataset, values: NDArray[np.float64], valid: NDArray[np.bool_], steps: list[str]
) -> NDArray[np.float64]:
    """Values in [0, 1]: by the first VOI table, else the first window, else the valid pixels' own range."""
    tables = items(dataset, "VOILUTSequence")
    if tables:
        looked_up, bits = apply_table(tables[0], values, little_endian=_little_endian(dataset))
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


def _little_endian(dataset: Dataset) -> bool:
    return dataset.original_encoding[1] is not False
