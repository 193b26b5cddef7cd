"""How bright is each pixel of a colour image?"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from ingest.dicom.errors import BadHeader, UnsupportedImage
from ingest.dicom.header import numbers, text

#: Share of red, green and blue in brightness.  Source: ITU-R BT.601, as in DICOM PS3.3 C.7.6.3.1.2 (Y of YBR).
_BRIGHTNESS = np.array([0.299, 0.587, 0.114])
#: Interpretations that the decoders give as red, green and blue.
_AS_RGB = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
_PALETTE = "PALETTE COLOR"


def is_coloured(dataset: Dataset) -> bool:
    """True if the stored values are not shades of grey."""
    return not text(dataset, "PhotometricInterpretation").startswith("MONOCHROME")


def is_understood(dataset: Dataset) -> bool:
    """True if `brightness` knows what several samples of a pixel are, or there is only one."""
    return text(dataset, "SamplesPerPixel") in ("", "1") or text(dataset, "PhotometricInterpretation") in _AS_RGB


def brightness(dataset: Dataset, stored: NDArray[Any], steps: list[str]) -> NDArray[np.float64]:
    """Shades of grey in [0, 1] of one colour frame.

    Args:
        dataset: The header.
        stored: (H, W, 3) red, green and blue, or (H, W) indices into the header's palette.
        steps: Gets a sentence for what was done.

    Raises:
        UnsupportedImage: The colours are of another kind.
        BadHeader: The palette is incomplete.
    """
    kind = text(dataset, "PhotometricInterpretation")
    if kind == _PALETTE and stored.ndim == 2:
        try:
            colours = apply_color_lut(stored, dataset)
        except (ValueError, AttributeError, TypeError, LookupError, NotImplementedError) as error:
            raise BadHeader("The palette of the header is incomplete; correct it at the source.") from error
        bits = 8 * colours.dtype.itemsize
    elif kind in _AS_RGB and stored.ndim == 3 and stored.shape[-1] == 3:
        colours = stored
        bits = int((numbers(dataset, "BitsStored") or (8 * stored.dtype.itemsize,))[0])
    else:
        raise UnsupportedImage()
    steps.append(f"{kind} to grey")
    grey: NDArray[np.float64] = np.clip(colours[..., :3] @ _BRIGHTNESS / (2**bits - 1), 0.0, 1.0)
    return grey
