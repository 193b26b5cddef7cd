"""How does a recorded date move by whole days?"""

import re
from datetime import date, timedelta

#: YYYYMMDD, and the ACR-NEMA form YYYY.MM.DD that older files hold.
_DATE = re.compile(r"(\d{4})(?:\.(\d{2})\.(\d{2})|(\d{2})(\d{2}))")
#: HH, HHMM, HHMMSS or HHMMSS.FFFFFF, with the colons of ACR-NEMA allowed.
_TIME = re.compile(r"\d{2}(?::?\d{2}(?::?\d{2}(?:\.\d{1,6})?)?)?")
#: Year, month and day as far as known, clock and offset as they are.
_DATETIME = re.compile(r"(\d{4})(\d{2})?(\d{2})?((?:\d{2}){0,3}(?:\.\d{1,6})?(?:[+-]\d{4})?)")


def shift_date(recorded: str, shift: timedelta) -> str:
    """A DA value moved by whole days, as YYYYMMDD; empty if it is no date, since it could then be anything.

    Source: DICOM PS3.5, 6.2.
    """
    found = _DATE.fullmatch(recorded.strip(" \0"))
    if not found:
        return ""
    return _moved(int(found[1]), int(found[2] or found[4]), int(found[3] or found[5]), shift)


def shift_datetime(recorded: str, shift: timedelta) -> str:
    """A DT value moved by whole days with its clock and offset unchanged; empty if it is none.

    Where only year or month are known they are moved from their first day, and no more is known afterwards.

    Source: DICOM PS3.5, 6.2.
    """
    found = _DATETIME.fullmatch(recorded.strip(" \0"))
    if not found or (found[4] and not found[3]):
        return ""
    moved = _moved(int(found[1]), int(found[2] or 1), int(found[3] or 1), shift)
    known = 8 if found[3] else 6 if found[2] else 4
    return moved[:known] + found[4] if moved else ""


def plain_time(recorded: str) -> str:
    """A TM value as it is; empty if it is none."""
    trimmed = recorded.strip(" \0")
    return trimmed if _TIME.fullmatch(trimmed) else ""


def _moved(year: int, month: int, day: int, shift: timedelta) -> str:
    try:
        moved = date(year, month, day) + shift
    except (ValueError, OverflowError):
        return ""
    return f"{moved.year:04d}{moved.month:02d}{moved.day:02d}"
