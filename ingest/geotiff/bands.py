"""Which bands of a scene are shown as red, green and blue, and what may it be compared with?"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ingest.acquisition import Acquisition
from ingest.geotiff.common_bands import band_number, common_bands
from ingest.geotiff.errors import UnsupportedBands

#: Tokens of a file name that mark a quality layer or a label, not a scene.
# fmt: off
MASK_TOKENS = frozenset({
    "SCL", "CMASK", "FMASK", "QA60", "QA", "BQA", "UDM", "UDM2", "MSK", "MASK", "LABEL", "LABELS", "CLD", "SNW",
    "AOT", "WVP",
})
# fmt: on

#: Layers of Landsat and HLS products beside their bands: what their surface temperature was computed from, and the
#: angles of sun and view.  Source: Landsat Collection 2 Level-2 Science Product Guide, LSDS-1619; HLS User Guide 2.0.
_BESIDE = re.compile(
    r"(?:L[COTEM]0[1-9]_L|HLS\.[LS]30\.).*[_.]"
    r"(?:ST_(?:ATRAN|CDIST|DRAD|EMIS|EMSD|TRAD|URAD)|SR_ATMOS_OPACITY|[SV][AZ]A)(?:\.|$)"
)

#: What names a picture without a place as the preview of a product: `..._thumb_small.jpeg` of Landsat, `...-ql.jpg` of
#: Sentinel-2, the browse image of HLS, which has its granule's name.
_PREVIEW = re.compile(
    r"(?i)(?:^|[_\-. ])(?:thumb|thumbnail|ql|quicklook|browse|preview)(?:[_\-. ]|$)|^HLS\.[LS]30\..*\.v\d\.\d$"
)

#: Folders whose rasters are labels or masks of the scenes beside them.
MASK_FOLDERS = frozenset({"label", "labels", "mask", "masks"})

_RGB = ("red", "green", "blue")


@dataclass(frozen=True, kw_only=True)
class DisplayBands:
    """Bands that stand for a scene.

    Attributes:
        indexes: One (grey) or three (red, green, blue) band numbers, from 1.
        role: "rgb", or "grey:<band name>" with an empty band name where it is unknown.
    """

    indexes: tuple[int, ...]
    role: str


def mask_reason(name: str) -> str | None:
    """Why the raster of this archive name is a layer beside scenes and no scene; None if it may be one."""
    *folders, file_name = name.split("/")
    stem = file_name.rsplit(".", 1)[0]
    if {folder.lower() for folder in folders[-1:]} & MASK_FOLDERS:
        return "Label or mask of the scenes in the folders beside it; labels are read by the audit, not by the model."
    tokens = set(re.split(r"[_\-. ]", stem.upper()))
    if "PVI" in tokens:
        return "Preview of a Sentinel-2 product, not a scene."
    if _BESIDE.search(stem):
        return "Layer of a product beside its bands (temperature's ingredients, angles), not a scene."
    if MASK_TOKENS & tokens:
        return "Quality layer, not a scene; where its sort is known it is applied to the scene of its name beside it."
    return None


def preview_reason(name: str) -> str | None:
    """Why a raster of this file name that has no place is no lost scene; None if it may be one."""
    return "Preview of a product beside it, not a scene." if _PREVIEW.search(name.rsplit(".", 1)[0]) else None


def choose_bands(name: str, descriptions: Sequence[str | None], colours: Sequence[str], dtype: str) -> DisplayBands:
    """Display bands of a raster: by the names of its bands, as the file says they are shown, or of one band or three.

    Args:
        name: File name without folders.
        descriptions: Band descriptions, None where a band has none.
        colours: Names of GDAL's colour interpretation, lower case, one a band.
        dtype: NumPy name of the band type.

    Raises:
        UnsupportedBands: The bands cannot be shown, or which are red, green and blue would be a guess.
    """
    if "complex" in dtype:
        raise UnsupportedBands("Complex radar values cannot be shown; convert them to backscatter first.")
    plain = [i for i, colour in enumerate(colours, start=1) if colour != "alpha"]
    if [colour for colour in colours if colour == "palette"]:
        raise UnsupportedBands("The raster is a class map with a colour table; give the scene that it was made from.")
    named = common_bands(name, descriptions, colours)
    if named.keys() >= set(_RGB):
        return DisplayBands(indexes=tuple(named[colour] for colour in _RGB), role="rgb")
    if len(plain) == 1:
        return DisplayBands(indexes=(plain[0],), role=f"grey:{_band_of_name(name)}")
    by_number = {band_number(descriptions[i - 1] or ""): i for i in plain}
    if len(plain) == 3 and by_number.keys() == {2, 3, 4}:
        # Blue, green and red on most satellites; in the file's order they would be shown the wrong way round.
        return DisplayBands(indexes=(by_number[4], by_number[3], by_number[2]), role="rgb")
    if all(colours.count(colour) == 1 for colour in _RGB):
        return DisplayBands(indexes=tuple(colours.index(colour) + 1 for colour in _RGB), role="rgb")
    if len(plain) == 3:
        return DisplayBands(indexes=tuple(plain), role="rgb")
    raise UnsupportedBands(
        f"Which of the {len(plain)} bands are red, green and blue is unknown; write band descriptions "
        "(red, green, blue) into the file and index again."
    )


def _band_of_name(name: str) -> str:
    """Band that a single-band file's name states, such as "B04"; "" if it states none."""
    match = re.search(r"(?<![A-Za-z0-9])(B\d{1,2}A?|NIR|RED|GREEN|BLUE|SWIR\d{0,2}|PAN)(?![A-Za-z0-9])", name)
    return match.group(1) if match else ""


@dataclass(frozen=True, kw_only=True)
class Product:
    """What a file name says about the origin of its pixels; every part is "" where it says nothing.

    Attributes:
        platform: Satellite, such as "Sentinel-2A".
        family: Instrument family whose values are comparable, such as "S2".
        level: Processing level and product, such as "L2A" or "L2A BOA".
        baseline: Processing baseline of Sentinel-2, such as "0400".
        processed: When the product was made, as its name says it: a later one replaces an earlier one.
    """

    platform: str = ""
    family: str = ""
    level: str = ""
    baseline: str = ""
    processed: str = ""

    @property
    def is_sentinel_2(self) -> bool:
        """True where DN 0 is fill by the product's rule."""
        return self.family == "S2"


def is_comparable(one: Acquisition, other: Acquisition) -> bool:
    """True if two scenes have the same bands and value type, and no two different products by their names.

    A scene whose name states no product is taken to fit any: refusing would lose most archives.
    """
    products = {one.attributes["product"], other.attributes["product"]} - {""}
    return one.group == other.group and len(products) <= 1


def product_of_name(name: str) -> Product:
    """Product that a published naming convention states."""
    if match := re.search(r"S2([A-D])_MSI(L[12][A-C])_\d{8}T\d{6}_N(\d{4})_(?:R\d{3}_T\w{5}_(\d{8}T\d{6}))?", name):
        platform, processed = f"Sentinel-2{match[1]}", match[4] or ""
        return Product(platform=platform, family="S2", level=match[2], baseline=match[3], processed=processed)
    if match := re.search(r"S2([A-D])([12][AC])_\d{8}_\d{3}_.*?_([A-Z0-9]+)_\d{2}(?:\.|$)", name):
        return Product(platform=f"Sentinel-2{match[1]}", family="S2", level=f"L{match[2]} {match[3]}")
    if match := re.search(r"S2([A-D])_(?:OPER_|\d{8}T\d{6}_T\d{2}[A-Z]{3})", name):
        return Product(platform=f"Sentinel-2{match[1]}", family="S2")
    if re.search(r"(?<![A-Za-z0-9])T\d{2}[C-X][A-Z]{2}_\d{8}", name):
        return Product(family="S2")
    if match := re.search(r"L([COTEM])0([1-9])_(L\w{3})_\d{6}_\d{8}_(\d{8})_\d{2}_", name):
        platform, family = f"Landsat {match[2]}", f"L{match[1]}"
        return Product(platform=platform, family=family, level=match[3], processed=match[4])
    if match := re.search(r"(CBERS-\d\w?)_([A-Z]+)_", name):
        return Product(platform=match[1], family=f"{match[1]} {match[2]}")
    if match := re.search(r"HLS\.([LS]30)\.", name):
        return Product(family="HLS", level=match[1])
    return Product()
