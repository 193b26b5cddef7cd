"""Which files are the bands of one scene, by the names that products give them?"""

import math
import posixpath
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from ingest.acquisition import Acquisition
from ingest.geotiff.common_bands import common_bands
from ingest.geotiff.compose import stack_bands
from ingest.sidecar import Sidecar

#: What names the band in a product's file: of Sentinel-2 (with the resolution behind it), Landsat (with surface
#: reflectance or temperature before it) and HLS.
_BAND = re.compile(
    r"(?P<head>.*?)(?<![A-Za-z0-9])(?:S[RT]_)?(?P<band>B\d{1,2}A?|TCI)(?:_\d{2}m)?(?P<tail>\.[A-Za-z0-9]+)"
)

#: Folders of a Sentinel-2 product that hold the same bands at several resolutions.
_RESOLUTION = re.compile(r"R\d{2}m")


class _File(NamedTuple):
    """What a file's name says.

    Attributes:
        key: Equal for all bands of one acquisition.
        band: Such as "B04".
    """

    key: tuple[str, str, str]
    band: str


def stack_band_files(scenes: Sequence[Acquisition]) -> tuple[list[Acquisition], list[Sidecar]]:
    """The scenes with those that are bands of one product's acquisition put together, and what is left over of it.

    Of a band at several resolutions the finest is taken. Coarser copies and the picture in natural colours that lie
    beside are left over. Where red, green and blue are not all there, or a band's name means nothing in its product,
    the files stay scenes of their own.
    """
    groups: dict[tuple[str, str, str], dict[str, list[Acquisition]]] = defaultdict(lambda: defaultdict(list))
    others: list[Acquisition] = []
    for one in scenes:
        file = None if one.files or one.attributes.get("layout") else _read_name(one.name)
        if file is None:
            others.append(one)
        else:
            groups[file.key][file.band].append(one)
    aside: list[Sidecar] = []
    for group in groups.values():
        stacked = _stacked(group)
        members = [one for copies in group.values() for one in copies]
        if stacked is None:
            others.extend(members)
            continue
        others.append(stacked)
        for one in members:
            if one.name in stacked.names:
                continue
            if one.attributes["bands"] == "rgb" or len(group[_band_of(one)]) > 1:
                aside.append(Sidecar(item=one.name, reason=f"Another copy of bands of the scene {stacked.name}."))
            else:
                others.append(one)
    return sorted(others, key=lambda one: one.name), aside


def _read_name(name: str) -> _File | None:
    folder, own = posixpath.split(name)
    match = _BAND.fullmatch(own)
    if match is None:
        return None
    if _RESOLUTION.fullmatch(posixpath.basename(folder)):
        folder = posixpath.dirname(folder)
    return _File((folder, match["head"], match["tail"].lower()), match["band"])


def _band_of(scene: Acquisition) -> str:
    file = _read_name(scene.name)
    return "" if file is None else file.band


def _stacked(group: dict[str, list[Acquisition]]) -> Acquisition | None:
    single: dict[str, Acquisition] = {}
    for band, copies in sorted(group.items()):
        finest = min(copies, key=lambda one: (_pixel(one), one.name))
        if finest.attributes["bands"] == "rgb":
            continue
        common = common_bands(posixpath.basename(finest.name), (band,), ("gray",))
        single.setdefault(next(iter(common), band), finest)
    return stack_bands(single)


def _pixel(scene: Acquisition) -> float:
    a, b, _, d, e, _ = scene.grid.affine
    return math.sqrt(abs(a * e - b * d))
