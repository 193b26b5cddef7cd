"""When was a scene acquired, and which part of the file says so?"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

#: Custom tags that data makers use for the acquisition time, lower case, in the order they are tried.
CUSTOM_TAGS = ("acquisition_datetime", "acquisitiondatetime", "acquisition_date", "datetime", "iso_time", "date")

#: Years outside this range are serial numbers, not dates: civil earth observation starts with Landsat 1.
FIRST_YEAR, LAST_YEAR = 1972, 2100


@dataclass(frozen=True, kw_only=True)
class Acquired:
    """Acquisition time of a scene and its origin.

    Attributes:
        time: Without offset; UTC where the file records an offset, otherwise as recorded. None if unknown.
        source: "IMAGERY.ACQUISITIONDATETIME", "TIFFTAG_DATETIME", "tag:<name>", "filename", or "" if unknown.
        by_day: True where only the day is known.
        warnings: Sentences about sources that were passed over or disagree.
    """

    time: datetime | None
    source: str = ""
    by_day: bool = False
    warnings: tuple[str, ...] = ()


#: File-name families, most specific first: pattern, strptime format of its group, True where only the day counts.
#: Source: the producers' naming conventions.
_NAMES: tuple[tuple[str, str, bool], ...] = (
    # Sentinel-2 product: the first stamp is sensing, the last one the product discriminator
    (r"S2[A-D]_MSIL[12][A-C]_(\d{8}T\d{6})_N\d{4}_R\d{3}_T\w{5}", "%Y%m%dT%H%M%S", False),
    # Sentinel-2 band or true-colour image
    (r"T\d{2}[A-Z]{3}_(\d{8}T\d{6})_(?:B\w{2}|TCI|AOT|WVP|SCL)", "%Y%m%dT%H%M%S", False),
    # Sentinel-2 granules before 2016-12 and names derived from them: the stamp is the creation time, its day is right
    (r"S2[A-D]_OPER_.*?_(\d{8})T\d{6}", "%Y%m%d", True),
    (r"S2[A-D]_(\d{8})T\d{6}_T\d{2}[A-Z]{3}", "%Y%m%d", True),
    # Landsat Collection 1 and 2: the first date is acquisition, the second processing
    (r"L[COTEM]0[1-9]_L\w{3}_\d{6}_(\d{8})_\d{8}_\d{2}_", "%Y%m%d", True),
    # Landsat before the collections: path, row, year and day of the year
    (r"L[COTEM][1-9]\d{6}(\d{7})[A-Z]{3}\d{2}", "%Y%j", True),
    # Harmonised Landsat Sentinel
    (r"HLS\.[LS]30\.T\w{5}\.(\d{7}T\d{6})\.v", "%Y%jT%H%M%S", False),
    # sen2r: date and relative orbit
    (r"S2[A-D][12][AC]_(\d{8})_\d{3}_", "%Y%m%d", True),
    # Planet: date and time
    (r"^(\d{8}_\d{6})_(?:\d{2}_)?[0-9a-f]{4}_", "%Y%m%d_%H%M%S", False),
)

_STAMP = re.compile(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})(?:[T_](\d{2}):?-?(\d{2}):?-?(\d{2})Z?)?(?!\d)")


def find_time(name: str, tags: Mapping[str, str], imagery: Mapping[str, str]) -> Acquired:
    """Acquisition time of a raster, from its metadata before its name; never from the time of the file.

    Args:
        name: File name without folders.
        tags: GDAL's default metadata domain.
        imagery: GDAL's metadata domain IMAGERY.

    Source: order of trust as in the metadata of GDAL's reader modules, then tags, then published naming conventions.
    """
    warnings: list[str] = []
    by_name = time_of_name(name)
    lower = {key.lower(): value for key, value in tags.items()}
    places = [("IMAGERY.ACQUISITIONDATETIME", imagery.get("ACQUISITIONDATETIME"))]
    places.append(("TIFFTAG_DATETIME", tags.get("TIFFTAG_DATETIME")))
    places += [(f"tag:{key}", lower[key]) for key in CUSTOM_TAGS if key in lower]
    for source, text in places:
        if not text:
            continue
        found = parse_time(text)
        if found is None:
            warnings.append(f"{source} holds no date and was passed over.")
            continue
        time, by_day = found
        if by_name.time is not None and abs(by_name.time - time) > timedelta(days=1):
            warnings.append(
                f"{source} says {time:%Y-%m-%d} and the file name {by_name.time:%Y-%m-%d}; the tag was taken."
            )
        return Acquired(time=time, source=source, by_day=by_day, warnings=tuple(warnings))
    return Acquired(time=by_name.time, source=by_name.source, by_day=by_name.by_day, warnings=tuple(warnings))


def parse_time(text: str) -> tuple[datetime, bool] | None:
    """Time in a tag and whether it is a day only; None if the text is no full date.

    Understands ISO 8601 and the `YYYY:MM:DD HH:MM:SS` of TIFF. Midnight sharp counts as a day without a time.
    """
    text = text.strip()
    if re.match(r"\d{4}:\d{2}:\d{2}", text):
        text = text.replace(":", "-", 2)
    if not re.match(r"\d{4}-?\d{2}-?\d{2}", text):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    if time.tzinfo is not None:
        time = time.astimezone(UTC).replace(tzinfo=None)
    if not FIRST_YEAR <= time.year <= LAST_YEAR:
        return None
    return time, (time.hour, time.minute, time.second) == (0, 0, 0)


def time_of_name(name: str) -> Acquired:
    """Acquisition time that a file name states, by family; a name with several unexplained dates states none."""
    for pattern, layout, by_day in _NAMES:
        match = re.search(pattern, name)
        if match is None:
            continue
        try:
            time = datetime.strptime(match.group(1), layout)
        except ValueError:
            continue
        if FIRST_YEAR <= time.year <= LAST_YEAR:
            return Acquired(time=time, source="filename", by_day=by_day)
    stamps = {}
    for match in _STAMP.finditer(name):
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
        try:
            time = datetime(year, month, day, hour, minute, second)
        except ValueError:
            continue
        if FIRST_YEAR <= time.year <= LAST_YEAR:
            stamps[time] = match.group(4) is None
    if len(stamps) != 1:
        return Acquired(time=None)
    ((time, by_day),) = stamps.items()
    return Acquired(time=time, source="filename", by_day=by_day)
