"""Which of several files with one SOP Instance UID is used, and what is said of the others?"""

from collections.abc import Sequence
from dataclasses import replace

from ingest.record import IMAGE, Record


def need_hashes(group: Sequence[Record]) -> list[Record]:
    """Those of the files with one UID that must be hashed before they can be told apart."""
    return [one for one in group if len(group) > 1 and not one.sha256 and not one.pixel_code]


def need_pixels(group: Sequence[Record]) -> list[Record]:
    """Those of the hashed files with one UID that must be decoded: all, where the bytes differ."""
    if len({one.sha256 for one in group if one.sha256}) < 2:
        return []
    return [one for one in group if not one.verified_with]


def settle_doubles(group: Sequence[Record]) -> list[Record]:
    """The records of files with one UID, each with the reason why another is used in its place, if one is.

    The first by name is used, but a file that is refused for another reason never hides one that is not. Equal bytes
    are duplicates, and so are equal pixels of one patient; anything else is a conflict. Files that cannot be decoded
    keep their own reason and hide none. All files stay where they are.
    """
    whole = [one for one in group if not one.pixel_code]
    first = min(whole, key=lambda one: (one.status != IMAGE, one.name), default=None)
    settled = []
    for one in group:
        code, reason = "", ""
        if first is not None and one is not first and not one.pixel_code:
            code, reason = _compare(one, first)
        settled.append(replace(one, double_code=code, double_reason=reason))
    return settled


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
