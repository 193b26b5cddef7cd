"""What does a product's own metadata file say about the scenes beside it?"""

import re
from typing import Any

from ingest.geotiff.acquired import parse_time

#: Names of metadata files, and what is common to the names of the rasters they are about: those below the folder of a
#: Sentinel-2 file, those in the folder of a Landsat file whose names begin alike.
_SENTINEL = re.compile(r"MTD_MSIL(?:1C|2A)\.xml|S2[A-D]_\w*_MTD_SAFL(?:1C|2A)_\w*\.xml")
_LANDSAT = re.compile(r"(?P<stem>L[COTEM]\w+)_MTL\.(?:txt|json|xml)")

_BASELINE = re.compile(r"\d\d\.\d\d")


def is_product_metadata(name: str) -> bool:
    """True if a file's name, without folders, is that of Sentinel-2 or Landsat metadata."""
    return bool(_SENTINEL.fullmatch(name) or _LANDSAT.fullmatch(name))


def read_product(content: bytes, folder: str, name: str) -> dict[str, Any] | None:
    """Which scenes a metadata file is about and what it says of them, as JSON values; None if it says nothing.

    `prefix` is that of the archive names it is about. Only single values are looked for, in whichever of the forms
    (XML, JSON, "KEY = value") the file has, so that a garbled one does no harm.

    Source: Sentinel-2 Products Specification Document, User Product metadata; USGS LSDS-1822, metadata file.
    """
    text = content.decode("utf-8", "replace")
    base = f"{folder}/" if folder else ""
    landsat = _LANDSAT.fullmatch(name)
    if landsat:
        day, clock = _value(text, "DATE_ACQUIRED"), _value(text, "SCENE_CENTER_TIME")[:8]
        time, prefix = f"{day}T{clock}Z" if clock else day, base + landsat["stem"]
        number = _value(text, "SPACECRAFT_ID").replace("LANDSAT", "").strip("_ ")
        platform, baseline = f"Landsat {number}" if number else "", ""
        product = processed = ""
        cloud = _value(text, "CLOUD_COVER")
    else:
        time, prefix = _value(text, "DATATAKE_SENSING_START") or _value(text, "PRODUCT_START_TIME"), base
        platform, cloud = _value(text, "SPACECRAFT_NAME"), _value(text, "Cloud_Coverage_Assessment")
        product = f"S2 L{'1C' if '1C' in name else '2A'}"
        made = parse_time(_value(text, "GENERATION_TIME"))
        processed = f"{made[0]:%Y%m%dT%H%M%S}" if made else ""
        stated = _value(text, "PROCESSING_BASELINE")
        baseline = stated.replace(".", "") if _BASELINE.fullmatch(stated) else ""
    found = parse_time(time)
    if found is None:
        return None
    return {
        "prefix": prefix,
        "time": found[0].isoformat(),
        "time_source": name if len(name) < 30 else name[-30:],
        "by_day": found[1],
        "platform": platform,
        "product": product,
        "processed": processed,
        "baseline": baseline,
        "cloud_cover": _percent(cloud),
    }


def _value(text: str, key: str) -> str:
    """The value of a key in XML, JSON or "KEY = value"; empty if it has none."""
    found = re.search(rf"(?<![A-Za-z_]){key}(?:\s[^<>\n]{{0,200}}(?=>))?[\"\s=:>]{{1,20}}([^\"<\n]{{1,100}})", text)
    return found[1].strip() if found else ""


def _percent(text: str) -> str:
    try:
        share = float(text)
    except ValueError:
        return ""
    return f"{share:g}" if 0 <= share <= 100 else ""
