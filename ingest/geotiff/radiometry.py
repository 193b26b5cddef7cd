"""How do stored numbers become values that are proportional to reflectance, in both dates alike?"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ingest.acquisition import Acquisition
from ingest.geotiff.bands import product_of_name
from ingest.pairing import Pair

#: First processing baseline of Sentinel-2 whose digital numbers carry an offset, the offset, the scale of all, and when
#: it began. Source: Sentinel-2 Products Specification Document, section on BOA_ADD_OFFSET and RADIO_ADD_OFFSET.
OFFSET_BASELINE: Final = "0400"
_OFFSET, _SCALE, _OFFSET_FROM = -1000.0, 0.0001, datetime(2022, 1, 25)

#: Scale and offset of Landsat Collection 2 surface reflectance. Source: USGS LSDS-1619, table of scale factors.
_LANDSAT_SCALE, _LANDSAT_OFFSET = 0.0000275, -0.2

#: Medians of two dates that differ by about this in every band look like an offset that only one of them carries.
_SUSPECTED: Final = (800.0, 1200.0)


@dataclass(frozen=True, kw_only=True)
class Radiometry:
    """What to do to a scene's stored numbers.

    Attributes:
        offset: Added to a stored number; then ratios of bands are right, and differences of dates up to the scale.
        scale: Reflectance of one unit after that; 0 where it is not known.
        source: Where they are known from.
        warning: A sentence where they are not known, else "".
    """

    offset: float
    scale: float
    source: str
    warning: str = ""

    @property
    def steps(self) -> tuple[str, ...]:
        """What is done to the values, for provenance; nothing where nothing is."""
        if not self.offset:
            return ()
        return (f"radiometry: {self.offset:+.6g} ({self.source}); reflectance is {self.scale:g} of that",)


def radiometry_of(scene: Acquisition) -> Radiometry:
    """The offset of a scene, by what its name, item or metadata says of the product; the date does not tell it.

    Pictures of 8 bits and values with a fraction are taken as they are: an offset was applied when they were made.
    """
    name = scene.path.name
    if scene.attributes["dtype"] not in ("uint16", "int16"):
        return Radiometry(offset=0.0, scale=0.0, source="values taken as proportional to reflectance")
    if scene.attributes.get("boa_offset_applied"):
        return Radiometry(offset=0.0, scale=_SCALE, source="offset removed by the archive, as its STAC item says")
    if scene.attributes["product"].startswith("S2") or product_of_name(name).family == "S2":
        baseline = scene.attributes["baseline"]
        if baseline:
            offset = _OFFSET if baseline >= OFFSET_BASELINE else 0.0
            return Radiometry(offset=offset, scale=_SCALE, source=f"Sentinel-2 baseline {baseline}")
        is_old = scene.time is not None and scene.time.replace(tzinfo=None) < _OFFSET_FROM
        warning = f"The name of {name} states no processing baseline: an offset of 1000 may be in its values."
        # older pictures have the offset only where they were processed again
        source = "no baseline stated, no offset taken"
        return Radiometry(offset=0.0, scale=_SCALE, source=source, warning="" if is_old else warning)
    if re.match(r"L[COTEM]0\d_L2", name) or re.match(r"L[COTEM] L2", scene.attributes["product"]):
        offset = _LANDSAT_OFFSET / _LANDSAT_SCALE
        return Radiometry(offset=offset, scale=_LANDSAT_SCALE, source="Landsat Collection 2 level 2")
    return Radiometry(offset=0.0, scale=0.0, source="values taken as proportional to reflectance")


def suspected_offset(pair: Pair, prior: NDArray[np.float32], current: NDArray[np.float32]) -> tuple[str, ...]:
    """A sentence where one date seems to carry the offset of Sentinel-2 and its product does not tell.

    Args:
        pair: Both scenes.
        prior: (C, N) values of pixels that both dates show, after what `radiometry_of` says.
        current: The same of the current.
    """
    scenes = (pair.prior, pair.current)
    is_told = all(one.attributes["baseline"] and not one.attributes.get("boa_offset_applied") for one in scenes)
    may_be = all(one.attributes["product"].split(" ")[0] in ("", "S2") for one in scenes)
    if is_told or not may_be or pair.current.attributes["dtype"] not in ("uint16", "int16") or prior.shape[1] == 0:
        return ()
    steps = np.median(current, axis=1) - np.median(prior, axis=1)
    low, high = _SUSPECTED
    if not (np.all((steps > low) & (steps < high)) or np.all((-steps > low) & (-steps < high))):
        return ()
    return (
        f"The medians of prior and current differ by {np.mean(steps):+.0f} in every band: one of the two may carry the "
        "offset of 1000 of newer Sentinel-2 products; name both files as the products are named.",
    )
