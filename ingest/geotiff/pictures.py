"""Which pictures without a place are the pairs of a change data set?

Such a set has no dates and no coordinates: the earlier picture lies in folder A, the later one of the same name and
size in folder B beside it (LEVIR-CD, LEVIR-CC, WHU-CD, CLCD and others). That layout is the user's word for the order.
"""

import hashlib
import posixpath
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from ingest.acquisition import Acquisition
from ingest.errors import Refusal
from ingest.geotiff.crs import PICTURE
from ingest.geotiff.layout import Layout, Part
from ingest.grid import Grid
from ingest.pairing import Pair, Pairing, make_ordered_pair

#: Folders of the earlier and of the later picture. The second couple is that of `interval report PRIOR CURRENT`.
FOLDERS: Final = (("A", "B"), ("prior", "current"))
_EARLIER: Final = dict(FOLDERS)
_LATER: Final = {later: earlier for earlier, later in FOLDERS}

_WARNING: Final = (
    "Neither date nor place of the pictures is known: the order is that of their folders, north is taken to be up, and "
    "no areas are measured."
)


def is_picture(acquisition: Acquisition) -> bool:
    """True if a scene is a picture without a place."""
    return acquisition.grid.frame == PICTURE


def may_be_picture(path: Path) -> bool:
    """True if a raster lies in a folder that tells the order of two pictures."""
    return path.parent.name in _EARLIER or path.parent.name in _LATER


def picture_grid(height: int, width: int) -> Grid:
    """Grid of a picture: x is the column, y the row counted downwards from 0, negative."""
    return Grid(affine=(1.0, 0.0, 0.0, 0.0, -1.0, 0.0), height=height, width=width, frame=PICTURE)


def as_picture(scene: Acquisition, valid_share: float) -> Acquisition:
    """The acquisition of a picture, with what no place leaves empty; whatever date its name holds is not its own.

    Args:
        scene: On a `picture_grid`, as its header tells.
        valid_share: Share of pixels that mean something.
    """
    folder, name = posixpath.split(scene.name)
    above, own = posixpath.split(folder)
    earlier = own if own in _EARLIER else _LATER[own]
    attributes = scene.attributes
    whole = (0, 0, scene.grid.width, scene.grid.height)
    shown = [int(index) for index in attributes["band_indexes"].split(",")]
    # opened by a layout, the file is never asked for a place that it does not have
    layout = Layout(
        grid=scene.grid,
        dtype=attributes["dtype"],
        nodata=float(attributes["nodata"]) if attributes["nodata"] else None,
        names=("",) * len(shown),
        bands=tuple((Part(file=0, band=index, source=whole, target=whole),) for index in shown),
    )
    is_masked = attributes["nodata_origin"] in ("mask", "alpha")
    told = "Transparent parts of the picture are shown as they are stored." if is_masked else ""
    return replace(
        scene,
        subject="place:" + hashlib.sha256(posixpath.join(above, name).encode()).hexdigest()[:32],
        time=None,
        time_source=f"folder {earlier} before {_EARLIER[earlier]}",
        study=scene.id,
        attributes={
            **attributes,
            "layout": layout.as_text(),
            "n_bands": str(len(shown)),
            "band_indexes": ",".join(str(index) for index in range(1, len(shown) + 1)),
            "common_bands": "",
            "valid_share": f"{valid_share:.4f}",
            "footprint_origin": "none",
            "gsd_m": "",
            "footprint": "",
            "footprint_wgs84": "",
            "warnings": told,
        },
    )


def with_partner(pictures: Sequence[Acquisition]) -> tuple[list[Acquisition], list[Refusal]]:
    """Pictures of which the other folder holds one of the same name, and why the others cannot be used."""
    there = {(one.subject, one.name.split("/")[-2]) for one in pictures}
    kept: list[Acquisition] = []
    refusals: list[Refusal] = []
    for one in pictures:
        own = one.name.split("/")[-2]
        other = _EARLIER.get(own) or _LATER[own]
        if (one.subject, other) in there:
            kept.append(one)
        else:
            reason = (
                f"A picture without a place, and folder {other} holds no usable one of its name; add its partner, or "
                "assign a coordinate reference system."
            )
            refusals.append(Refusal(item=one.name, level="file", code="NO_CRS", reason=reason))
    return kept, refusals


def pair_pictures(pictures: Sequence[Acquisition]) -> Pairing:
    """The later picture of each couple with the earlier one; the order of the input does not matter."""
    earlier = {one.subject: one for one in pictures if one.name.split("/")[-2] in _EARLIER}
    pairs: list[Pair] = []
    unpaired: list[Refusal] = []
    for one in sorted(pictures, key=lambda one: one.name):
        prior = earlier.get(one.subject)
        found = _choose(prior, one)
        if isinstance(found, Refusal):
            unpaired.append(found)
        else:
            pairs.append(found)
    return Pairing(
        pairs=tuple(sorted(pairs, key=lambda pair: (pair.subject, pair.current.name))), unpaired=tuple(sorted(unpaired))
    )


def explain_pictures(pictures: Sequence[Acquisition]) -> tuple[str, ...]:
    """One line for each picture of a couple: what its prior is, or why it has none."""
    pairing = pair_pictures(pictures)
    told = {pair.current.name: f"paired. {pair.reason}" for pair in pairing.pairs}
    told |= {one.item: f"{one.code}. {one.reason}" for one in pairing.unpaired}
    return tuple(f"{name}: {line}" for name, line in sorted(told.items()))


def _choose(prior: Acquisition | None, current: Acquisition) -> Pair | Refusal:
    def refuse(code: str, reason: str) -> Refusal:
        return Refusal(item=current.name, level="acquisition", code=code, reason=reason)

    if prior is None or prior.name == current.name:
        return refuse("NO_PRIOR", "The earlier picture of its pair: it has no prior.")
    if prior.group != current.group:
        return refuse(
            "NO_COMPARABLE_VIEW", f"Its prior has other bands or values ({prior.group}) than it has ({current.group})."
        )
    if prior.grid != current.grid:
        sizes = ", ".join(f"{one.grid.width}x{one.grid.height}" for one in (prior, current))
        return refuse(
            "ALIGNMENT_FAILED",
            f"Sizes differ ({sizes}), and there is no georeference to reconcile them; crop both alike.",
        )
    warnings = (_WARNING, *dict.fromkeys(filter(None, (one.attributes["warnings"] for one in (prior, current)))))
    return make_ordered_pair(
        prior, current, reason=f"The picture of the same name; order by {current.time_source}.", warnings=warnings
    )
