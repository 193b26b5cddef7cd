"""How do stored numbers become values that are proportional to reflectance?"""

import re
from dataclasses import dataclass
from datetime import datetime

from ingest.acquisition import Acquisition
from ingest.geotiff.bands import product_of_name

#: First processing baseline of Sentinel-2 whose digital numbers carry an offset, the offset, and when it began.
#: Source: Sentinel-2 Products Specification Document, section on BOA_ADD_OFFSET and RADIO_ADD_OFFSET.
_OFFSET_BASELINE, _OFFSET, _OFFSET_FROM = "0400", -1000.0, datetime(2022, 1, 25)

#: Scale and offset of Landsat Collection 2 surface reflectance. Source: USGS LSDS-1619, table of scale factors.
_LANDSAT_SCALE, _LANDSAT_OFFSET = 0.0000275, -0.2


@dataclass(frozen=True, kw_only=True)
class Radiometry:
    """What to add to a scene's stored numbers.

    Attributes:
        offset: Added to a stored number; ratios of bands are right after that, whatever the scale.
        source: Where it is known from.
        warning: A sentence where it is not known, else "".
    """

    offset: float
    source: str
    warning: str = ""


def radiometry_of(scene: Acquisition) -> Radiometry:
    """The offset of a scene, by what its product name says; the date of the picture alone does not tell it."""
    name = scene.path.name
    product = product_of_name(name)
    if product.family == "S2":
        if product.baseline:
            offset = _OFFSET if product.baseline >= _OFFSET_BASELINE else 0.0
            return Radiometry(offset=offset, source=f"Sentinel-2 baseline {product.baseline}")
        is_old = scene.time is not None and scene.time.replace(tzinfo=None) < _OFFSET_FROM
        warning = f"The name of {name} states no processing baseline: an offset of 1000 may be in its values."
        # older pictures have the offset only where they were processed again
        return Radiometry(offset=0.0, source="no baseline stated, no offset taken", warning="" if is_old else warning)
    if re.match(r"L[COTEM]0\d_L2", name):
        return Radiometry(offset=_LANDSAT_OFFSET / _LANDSAT_SCALE, source="Landsat Collection 2 level 2")
    return Radiometry(offset=0.0, source="values taken as proportional to reflectance")
