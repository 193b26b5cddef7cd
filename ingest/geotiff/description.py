"""Does a file describe scenes: STAC items, a product's metadata, a virtual mosaic, or the user's own dates?"""

import csv
import io
import json
import posixpath
from typing import Any

from ingest.geotiff.acquired import parse_time
from ingest.geotiff.errors import BadDates
from ingest.geotiff.product_metadata import is_product_metadata, read_product
from ingest.geotiff.stac import looks_like_stac, read_items
from ingest.geotiff.virtual import read_virtual

#: Names of a user's own table of acquisition times, which overrides every other origin.
DATES = frozenset({"dates.csv", "dates.json"})

#: Larger files describe nothing that is read.
MOST_BYTES = 64 * 2**20


def may_describe(name: str) -> bool:
    """True if a file of this archive name has to be looked into."""
    own = posixpath.basename(name)
    return own.lower().endswith((".json", ".geojson", ".vrt")) or own in DATES or is_product_metadata(own)


def read_description(name: str, content: bytes, root: str) -> tuple[str, dict[str, Any]] | None:
    """In a sentence and as JSON values what a file says about scenes; None if it says nothing.

    The values have one of the keys "mosaic" (`read_virtual`), "product" (`read_product`), "dates" (time by archive
    name), "items" (`read_items`).

    Args:
        name: Archive name.
        content: Of the file.
        root: The archive's folder.

    Raises:
        UnsupportedVrt: A virtual mosaic cannot be used.
        BadItem: A STAC item cannot be used.
        BadDates: The user's table cannot be used.
    """
    folder, own = posixpath.split(name)
    if own.lower().endswith(".vrt"):
        return (
            "Virtual mosaic: it holds no pixels of its own; the rasters it names make one scene.",
            {"mosaic": read_virtual(content, folder, own, root)},
        )
    if own in DATES:
        return "The user's acquisition times of scenes.", {"dates": _dates(own, content, folder)}
    if is_product_metadata(own):
        product = read_product(content, folder, own)
        return ("Metadata of the product beside it.", {"product": product}) if product else None
    if not looks_like_stac(content):
        return None
    items = read_items(content, folder)
    if items is None:
        return None
    return ("STAC items of the scenes beside them." if items else "STAC catalog or collection."), {"items": items}


def _dates(name: str, content: bytes, folder: str) -> dict[str, str]:
    """ISO 8601 time by archive name, from columns "name" and "datetime", or from an object of names and times."""
    try:
        text = content.decode("utf-8-sig")
        if name.endswith(".json"):
            pairs = list(json.loads(text).items())
        else:
            pairs = [(row["name"], row["datetime"]) for row in csv.DictReader(io.StringIO(text))]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError, csv.Error):
        raise BadDates() from None
    found = {}
    for scene, stated in pairs:
        time = parse_time(stated) if isinstance(stated, str) else None
        if time is None or not isinstance(scene, str):
            raise BadDates()
        found[posixpath.normpath(posixpath.join(folder, scene))] = stated
    return found
