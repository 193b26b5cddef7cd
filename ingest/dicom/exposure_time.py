"""When was the image taken, as far as the header says?"""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache

from pydicom.dataset import Dataset

from ingest.dicom.header import text

#: Pairs of date and time elements, best first; InstanceCreationDate is not the exposure.  Source: DICOM PS3.3 C.12.
_SOURCES = (
    ("AcquisitionDate", "AcquisitionTime"),
    ("ContentDate", "ContentTime"),
    ("SeriesDate", "SeriesTime"),
    ("StudyDate", "StudyTime"),
)
#: YYYYMMDD, and the ACR-NEMA form YYYY.MM.DD that older files hold.
_DATE = re.compile(r"(\d{4})(?:\.(\d{2})\.(\d{2})|(\d{2})(\d{2}))")
#: HH, HHMM, HHMMSS or HHMMSS.FFFFFF, with the colons of ACR-NEMA allowed.
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6}))?)?)?")
_OFFSET = re.compile(r"([+-])(\d{2})(\d{2})")
_DATETIME = re.compile(r"(\d{8})(\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?([+-]\d{4})?")


@dataclass(frozen=True, kw_only=True)
class ExposureTime:
    """The time of an image and how far it can be trusted.

    Attributes:
        time: With an offset only where the file records one; None if the file has no date.
        source: The elements it was read from.
        has_clock: False if only the day is known; the time is then midnight.
        longitudinal: LongitudinalTemporalInformationModified: "", "UNMODIFIED", "MODIFIED" or "REMOVED".
    """

    time: datetime | None
    source: str
    has_clock: bool
    longitudinal: str


def exposure_time(dataset: Dataset) -> ExposureTime:
    """Time of the exposure: AcquisitionDateTime, then the dates of acquisition, content, series and study.

    The first date decides the day; the clock time is taken from the first source that names the same day. Where
    de-identification removed the dates, what is left of them is not used.

    Raises:
        BadHeader: A date element cannot be read.
    """
    longitudinal = text(dataset, "LongitudinalTemporalInformationModified").upper()
    if longitudinal == "REMOVED":
        return ExposureTime(time=None, source="", has_clock=False, longitudinal=longitudinal)
    whole = _DATETIME.fullmatch(text(dataset, "AcquisitionDateTime"))
    if whole and (day := _day(whole[1])):
        clock = _clock(whole[2] or "")
        moment = datetime.combine(day, clock or time(), tzinfo=_zone(whole[3] or ""))
        return ExposureTime(
            time=moment, source="AcquisitionDateTime", has_clock=clock is not None, longitudinal=longitudinal
        )
    dated = [(names, day) for names in _SOURCES if (day := _day(text(dataset, names[0])))]
    if not dated:
        return ExposureTime(time=None, source="", has_clock=False, longitudinal=longitudinal)
    (first, _), day = dated[0]
    zone = _zone(text(dataset, "TimezoneOffsetFromUTC"))
    for names, other in dated:
        clock = _clock(text(dataset, names[1])) if other == day else None
        if clock is not None:
            source = names[0] if names[0] == first else f"{first}, {names[1]}"
            moment = datetime.combine(day, clock, tzinfo=zone)
            return ExposureTime(time=moment, source=source, has_clock=True, longitudinal=longitudinal)
    moment = datetime.combine(day, time(), tzinfo=zone)
    return ExposureTime(time=moment, source=first, has_clock=False, longitudinal=longitudinal)


# The files of an archive have few days and zones between them.
@lru_cache(4096)
def _day(recorded: str) -> date | None:
    found = _DATE.fullmatch(recorded)
    if not found:
        return None
    try:
        return date(int(found[1]), int(found[2] or found[4]), int(found[3] or found[5]))
    except ValueError:
        return None


def _clock(recorded: str) -> time | None:
    found = _TIME.fullmatch(recorded)
    if not found:
        return None
    # 60 is allowed for a leap second, which datetime has no place for.
    second = min(int(found[3] or 0), 59)
    try:
        return time(int(found[1]), int(found[2] or 0), second, int((found[4] or "").ljust(6, "0")))
    except ValueError:
        return None


@lru_cache(64)
def _zone(recorded: str) -> tzinfo | None:
    found = _OFFSET.fullmatch(recorded)
    if not found:
        return None
    offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return timezone(-offset if found[1] == "-" else offset) if offset < timedelta(hours=24) else None
