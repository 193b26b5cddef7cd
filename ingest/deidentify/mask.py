"""How does text leave the pixels of an image?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom.uid as uids
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from ingest.deidentify.errors import PARSER_FAULTS, PixelsKept
from ingest.deidentify.find_text import Box, find_text
from ingest.dicom.decode import is_native, stored_values
from ingest.dicom.header import items, numbers, text, transfer_syntax

_REGION_KEYWORDS = ("RegionLocationMinX0", "RegionLocationMinY0", "RegionLocationMaxX1", "RegionLocationMaxY1")


@dataclass(frozen=True, kw_only=True)
class Masks:
    """What was painted over, in every frame alike.

    Attributes:
        areas: Boxes around text.
        outside_regions: True if everything outside of the measured regions of an ultrasound image went, too.
    """

    areas: tuple[Box, ...]
    outside_regions: bool


def can_mask(dataset: Dataset) -> bool:
    """True for pictures as a screen shows them; False for masks of one bit, maps of measurements and doses."""
    return "PixelData" in dataset and dataset.get("BitsAllocated") in (8, 16)


def mask_text(dataset: Dataset, *, recode: bool) -> Masks:
    """Finds text in the pixels, paints it over with black, and codes the pixels again without loss.

    Where an ultrasound image says which regions were measured, everything outside of them goes too. What is found in
    one frame is masked in all of them. Native pixels stay native; others become RLE Lossless. Where nothing is found
    the pixels stay as they are.

    Args:
        dataset: The image, changed in place.
        recode: Code the pixels again even if nothing is found, so that no comment of the old code stream stays.

    Raises:
        Undecodable, Truncated, NoPixels: The pixels cannot be read.
        PixelsKept: They are of a kind that cannot be painted over.

    Source: DICOM PS3.15 E.3.1 (Clean Pixel Data Option); PS3.3 C.8.5.5 (US Region Calibration).
    """
    if not can_mask(dataset):
        raise PixelsKept()
    syntax, was_native = transfer_syntax(dataset), is_native(dataset)
    if syntax == uids.ExplicitVRBigEndian:
        raise PixelsKept("The text in big-endian pixels is not masked; export the image again as little endian.")
    values, _ = stored_values(dataset)
    in_colour = dataset.get("SamplesPerPixel") == 3
    frames = values.reshape(-1, *values.shape[-3 if in_colour else -2 :]).copy()
    try:
        areas = sorted({box for frame in frames for view in _views(frame, dataset) for box in find_text(view)})
        black = _black(frames, dataset)
    except PARSER_FAULTS as error:
        raise PixelsKept(
            "The colours of the picture cannot be read, so nothing was masked; export it again."
        ) from error
    for left, top, right, bottom in areas:
        frames[:, top:bottom, left:right] = black
    outside = _outside_regions(dataset, frames.shape[1], frames.shape[2])
    if outside is not None:
        frames[:, outside] = black
    if areas or outside is not None or recode:
        _store(dataset, frames if len(frames) > 1 else frames[0], in_colour=in_colour, native=was_native)
    return Masks(areas=tuple(areas), outside_regions=outside is not None)


def _views(frame: NDArray[Any], dataset: Dataset) -> list[NDArray[np.float32]]:
    """Grey pictures of a frame, (H, W): in colour its brightest and darkest channel, as print can be of any colour."""
    if text(dataset, "PhotometricInterpretation").startswith("PALETTE"):
        frame = apply_color_lut(frame, dataset)
    if frame.ndim == 2:
        return [frame.astype(np.float32)]
    return [frame[..., :3].max(axis=-1).astype(np.float32), frame[..., :3].min(axis=-1).astype(np.float32)]


def _black(frames: NDArray[Any], dataset: Dataset) -> Any:
    """The darkest stored value that the image shows."""
    photometric = text(dataset, "PhotometricInterpretation")
    if photometric.startswith("PALETTE"):
        used = np.unique(frames)
        shown = apply_color_lut(used[np.newaxis], dataset)[0]
        return used[shown.astype(np.int64).sum(axis=-1).argmin()]
    return frames.max() if photometric == "MONOCHROME1" else frames.min()


def _outside_regions(dataset: Dataset, height: int, width: int) -> NDArray[np.bool_] | None:
    """True outside of every region, (H, W); None where no region is stated."""
    outside = np.ones((height, width), dtype=bool)
    for region in items(dataset, "SequenceOfUltrasoundRegions"):
        corners = [numbers(region, keyword) for keyword in _REGION_KEYWORDS]
        if all(len(one) == 1 for one in corners):
            left, top, right, bottom = (max(0, int(one[0])) for one in corners)
            # The far corner belongs to the region.
            outside[top : bottom + 1, left : right + 1] = False
    return None if outside.all() else outside


def _store(dataset: Dataset, values: NDArray[Any], *, in_colour: bool, native: bool) -> None:
    if in_colour:
        # Decoding made RGB of every other colour.
        dataset.PhotometricInterpretation = "RGB"
        dataset.PlanarConfiguration = 0
    if not native:
        dataset.compress(uids.RLELossless, values, encoding_plugin="pylibjpeg", generate_instance_uid=False)
        return
    raw = values.astype(values.dtype.newbyteorder("<")).tobytes()
    dataset["PixelData"].value = raw + b"\0" * (len(raw) % 2)
