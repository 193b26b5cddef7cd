"""What do STAC items say about the scenes beside them?"""

import json
import posixpath
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ingest.geotiff.acquired import parse_time
from ingest.geotiff.bands import Product, product_of_name
from ingest.geotiff.common_bands import common_of
from ingest.geotiff.errors import BadItem

if TYPE_CHECKING:
    from pystac import Asset, Item

#: Most items that one file may hold, and assets of one item.
_MOST_ITEMS, _MOST_ASSETS = 10_000, 1000

#: Properties by which Earth Search says that it took the offset of 1000 off the values of Sentinel-2.
_OFFSET_APPLIED = ("sentinel:boa_offset_applied", "earthsearch:boa_offset_applied")


@dataclass(frozen=True, kw_only=True)
class ItemAsset:
    """One file of an item.

    Attributes:
        key: Its key in the item.
        name: Name in the archive that its address leads to, as it is spelt; empty if it leads elsewhere.
        elsewhere: "remote" or "outside" (of the archive); empty for a name.
        bands: Common name of each band; empty ones are unknown.
        nodata: Value without meaning by the raster extension; None if it says none.
        is_data: False for thumbnails, overviews and metadata.
    """

    key: str
    name: str
    elsewhere: str
    bands: tuple[str, ...]
    nodata: float | None
    is_data: bool


def looks_like_stac(content: bytes) -> bool:
    """True if a JSON text may hold items or a collection."""
    return b'"stac_version"' in content or (b'"FeatureCollection"' in content and b'"assets"' in content)


def read_items(content: bytes, folder: str) -> list[dict[str, Any]] | None:
    """The items in a JSON text as JSON values (`item_values`); none for a catalog or collection; None if it is no STAC.

    No link is followed and nothing is opened.

    Args:
        content: Of the file.
        folder: The file's folder, relative to the archive; empty for the archive's own.

    Raises:
        BadItem: It is STAC, and not as it should be.

    Source: STAC specification 1.1; older versions as pystac migrates them.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    kind = found.get("type")
    if kind not in ("Feature", "FeatureCollection"):
        # catalogs of early versions have no type
        return [] if "stac_version" in found else None
    features = found.get("features") if kind == "FeatureCollection" else [found]
    if not isinstance(features, list) or not all(isinstance(one, dict) for one in features):
        return None
    if not any("stac_version" in one for one in features):
        return None
    if len(features) > _MOST_ITEMS:
        raise BadItem(f"The file holds more than {_MOST_ITEMS} items; divide it.")
    return [item_values(one, folder) for one in features]


def parse_item(values: dict[str, Any]) -> "Item":
    """The item in JSON values, of whatever version.

    Raises:
        BadItem: It is not as it should be.
    """
    from pystac import Item

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return Item.from_dict(values)
        except Exception as error:
            # pystac lets through whatever its reading of strange values raises
            raise BadItem(f"A STAC item cannot be read ({type(error).__name__}); ask its source.") from error


def item_values(values: dict[str, Any], folder: str) -> dict[str, Any]:
    """What the index keeps of an item.

    Raises:
        BadItem: It is not as it should be.
    """
    item = parse_item(values)
    properties = item.properties
    time = _time(properties)
    product = _product(properties, item.collection_id or str(properties.get("collection", "")))
    cloud = properties.get("eo:cloud_cover")
    if len(item.assets) > _MOST_ASSETS:
        raise BadItem(f"The item has more than {_MOST_ASSETS} assets.")
    return {
        "id": str(item.id),
        **time,
        "cloud_cover": f"{cloud:g}" if isinstance(cloud, (int, float)) and 0 <= cloud <= 100 else "",
        **product,
        **({"boa_offset_applied": "yes"} if any(properties.get(key) is True for key in _OFFSET_APPLIED) else {}),
        "assets": [asdict(one) for one in item_assets(item, folder)],
    }


def _time(properties: dict[str, Any]) -> dict[str, Any]:
    """Acquisition time; the start of an interval where only that is known.

    Source: STAC item specification, `datetime`: null is legal where start and end are given.
    """
    start, end = str(properties.get("start_datetime") or ""), str(properties.get("end_datetime") or "")
    for key in ("datetime", "start_datetime"):
        text = properties.get(key)
        found = parse_time(text) if isinstance(text, str) else None
        if found is not None:
            time, by_day = found
            warning = f"Acquired between {start[:10]} and {end[:10]}; the first is taken." if key != "datetime" else ""
            if start[:10] == end[:10]:
                warning = ""
            return {"time": time.isoformat(), "time_source": f"STAC {key}", "by_day": by_day, "warning": warning}
    return {"time": None, "time_source": "", "by_day": False, "warning": ""}


def _product(properties: dict[str, Any], collection: str) -> dict[str, str]:
    """Platform, product, baseline and processing time, from a product's name where one is given."""
    names = (properties.get(key) for key in ("s2:product_uri", "sentinel:product_id", "landsat:product_id"))
    named = next((product_of_name(one) for one in names if isinstance(one, str)), Product())
    platform = str(properties.get("platform") or properties.get("eo:platform") or "").replace("_", " ").strip()
    baseline = str(properties.get("s2:processing_baseline") or properties.get("processing:version") or "")
    level = next((text for text in ("l1c", "l2a") if collection == f"sentinel-2-{text}"), "")
    return {
        "platform": named.platform or platform.title(),
        "product": f"{named.family} {named.level}".strip() or (f"S2 {level.upper()}" if level else ""),
        "baseline": named.baseline or (baseline.replace(".", "") if baseline.replace(".", "").isdigit() else ""),
        "processed": named.processed,
    }


def item_assets(item: "Item", folder: str) -> Iterator[ItemAsset]:
    """The files of an item."""
    for key, asset in item.assets.items():
        href = asset.href if isinstance(asset.href, str) else ""
        name, elsewhere = local_name(href, folder)
        roles = asset.roles or []
        aside = {"thumbnail", "overview", "metadata", "tiles"} & {str(role) for role in roles}
        yield ItemAsset(
            key=str(key),
            name=name,
            elsewhere=elsewhere,
            bands=_band_names(str(key), asset, str(item.properties.get("platform", ""))),
            nodata=_nodata(asset),
            is_data=not aside and str(key) not in ("thumbnail", "overview", "preview", "metadata"),
        )


def local_name(href: str, folder: str) -> tuple[str, str]:
    """Archive name that a relative address leads to, or "" and whether it leads to a "remote" place or "outside"."""
    try:
        parts = urlsplit(href)
    except ValueError:
        return "", "outside"
    if parts.scheme not in ("", "file") or (parts.netloc and parts.scheme != "file"):
        return "", "remote"
    path = posixpath.normpath(posixpath.join(folder, unquote(href)))
    if parts.scheme or "\0" in href or path.startswith(("/", "../")) or path in (".", ".."):
        return "", "outside"
    return path, ""


def _band_names(key: str, asset: "Asset", platform: str) -> tuple[str, ...]:
    """Common name of each band: as the asset says, or by its key where that is a colour or a known satellite's band."""
    fields = asset.extra_fields
    for listed, word in (("bands", "eo:common_name"), ("eo:bands", "common_name")):
        bands = fields.get(listed)
        if isinstance(bands, Sequence) and bands and all(isinstance(band, dict) for band in bands):
            names = tuple(common_of(str(band.get(word) or band.get("name") or ""), platform) for band in bands)
            if any(names):
                return names
    name = common_of(key, platform)
    return (name,) if name else ()


def _nodata(asset: "Asset") -> float | None:
    bands = asset.extra_fields.get("raster:bands") or asset.extra_fields.get("bands")
    if not isinstance(bands, list):
        return None
    values = {band.get("nodata") for band in bands if isinstance(band, dict)}
    value = values.pop() if len(values) == 1 else None
    return float(value) if isinstance(value, (int, float)) else None
