"""Which pixels of a raster mean nothing?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window

from ingest.geotiff.bands import Product


@dataclass(frozen=True, kw_only=True)
class Fill:
    """Rule for the pixels without meaning.

    Attributes:
        value: Stored value of fill; None where a mask says it, or nothing does.
        origin: "tag", "alpha", "mask", "Sentinel-2 DN 0", "none".
        in_all_bands: True where fill must stand in every display band: in 8-bit colours one zero is a colour.
    """

    value: float | None
    origin: str
    in_all_bands: bool


def find_fill(src: DatasetReader, product: Product) -> Fill:
    """Fill rule of an open raster: its tag, then its mask or alpha band, then the product's rule."""
    in_all_bands = src.dtypes[0] == "uint8"
    if src.nodata is not None:
        return Fill(value=float(src.nodata), origin="tag", in_all_bands=in_all_bands)
    flags = src.mask_flag_enums[0]
    if MaskFlags.alpha in flags:
        return Fill(value=None, origin="alpha", in_all_bands=in_all_bands)
    if MaskFlags.per_dataset in flags:
        return Fill(value=None, origin="mask", in_all_bands=in_all_bands)
    if product.is_sentinel_2 and src.dtypes[0] == "uint16":
        # JPEG 2000 bands carry no nodata tag; DN 0 is fill in every baseline
        return Fill(value=0.0, origin="Sentinel-2 DN 0", in_all_bands=False)
    return Fill(value=None, origin="none", in_all_bands=in_all_bands)


def valid_of(src: DatasetReader, fill: Fill, window: Window, stored: NDArray[np.generic]) -> NDArray[np.bool_]:
    """(rows, columns) True where a pixel means something.

    Args:
        src: The open raster.
        fill: Its fill rule.
        window: Where `stored` was read.
        stored: (C, rows, columns) display bands as stored, or reduced.
    """
    valid = np.ones(stored.shape[1:], dtype=np.bool_)
    if np.issubdtype(stored.dtype, np.floating):
        valid &= np.isfinite(stored).all(axis=0)
    if fill.origin in ("alpha", "mask"):
        valid &= src.dataset_mask(window=window, out_shape=stored.shape[1:]) > 0
    elif fill.value is not None and _may_hold(stored, fill.value):
        # of the values' own type: beside a float of Python whole numbers are all made floats before
        is_fill = stored == stored.dtype.type(fill.value)
        valid &= ~(is_fill.all(axis=0) if fill.in_all_bands else is_fill.any(axis=0))
    return valid


def _may_hold(stored: NDArray[np.generic], value: float) -> bool:
    """False if no stored value can equal this one.

    Fill is the smallest value of most products and absent from most parts of a raster: the smallest value tells so in a
    quarter of the time of a comparison.
    """
    if stored.dtype.kind not in "iu":
        return not np.isnan(value)
    return value.is_integer() and int(stored.min()) <= value <= np.iinfo(stored.dtype.str).max
