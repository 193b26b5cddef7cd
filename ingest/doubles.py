"""Which of several files with one SOP Instance UID, or of equal scenes, is used, and what is said of the others?"""

from collections.abc import Sequence
from dataclasses import replace

from ingest.record import IMAGE, SATELLITE, Record


def need_hashes(group: Sequence[Record]) -> list[Record]:
    """Those of the files with one UID that must be hashed before they can be told apart."""
    return [one for one in group if len(group) > 1 and not one.sha256 and not one.pixel_code]


def need_pixels(group: Sequence[Record]) -> list[Record]:
    """Those of the hashed files with one UID that must be decoded: all, where the bytes differ.

    None of scenes: their keys are made of samples of their bytes, and may agree by chance.
    """
    if group[0].domain == SATELLITE or len({one.sha256 for one in group if one.sha256}) < 2:
        return []
    return [one for one in group if not one.verified_with]


def settle_doubles(group: Sequence[Record]) -> list[Record]:
    """The records of files with one UID, each with the reason why another is used in its place, if one is.

    The first by name is used, but a file that is refused for another reason never hides one that is not. Equal bytes
    are duplicates, and so are equal pixels of one patient; anything else is a conflict. Files that cannot be decoded
    keep their own reason and hide none. All files stay where they are. Of scenes with equal bytes the one with the
    earliest date is used, as each may have a date of its own in its name.
    """
    whole = [one for one in group if not one.pixel_code]
    if group[0].domain == SATELLITE:
        return _settle_scenes(group, whole)
    first = min(whole, key=lambda one: (one.status != IMAGE, one.name), default=None)
    settled = []
    for one in group:
        code, reason = "", ""
        if first is not None and one is not first and not one.pixel_code:
            code, reason = _compare(one, first)
        settled.append(replace(one, double_code=code, double_reason=reason))
    return settled


def _settle_scenes(group: Sequence[Record], whole: Sequence[Record]) -> list[Record]:
    firsts: dict[str, Record] = {}
    for one in sorted(whole, key=lambda one: (_date(one) is None, _date(one) or "", one.name)):
        firsts.setdefault(one.sha256, one)
    settled = []
    for one in group:
        code, reason = "", ""
        first = firsts.get(one.sha256, one)
        if first is not one and not one.pixel_code:
            code, reason = "DUPLICATE", "The same file is in the archive under another name; drop one."
            if _date(one) != _date(first):
                reason = (
                    f"The same bytes as {first.name}, under another date; find out which date is true and drop the "
                    "other file."
                )
        settled.append(replace(one, double_code=code, double_reason=reason))
    return settled


def _date(scene: Record) -> str | None:
    """When a scene was acquired, as far as its own file tells; ISO 8601."""
    time: str | None = scene.header["single"]["time"]
    return time


def _compare(one: Record, first: Record) -> tuple[str, str]:
    """Code and sentence for a file in whose place another is used."""
    if one.sha256 == first.sha256:
        return "DUPLICATE", "The same file is in the archive under another name; drop one."
    if (one.pixel_sha256, one.subject) == (first.pixel_sha256, first.subject):
        return "DUPLICATE", "The same image is in the archive in another coding or with other remarks; nothing to do."
    return (
        "UID_CONFLICT",
        "Another image has this SOP Instance UID and is used in its place; find out which of them is right.",
    )
