"""What do the findings of the parts of a picture say about the whole?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports.errors import UnknownTerm
from reports.finding import Certainty, Finding
from reports.vocabulary import Domain

#: Upper or lower, left or right half of a picture whose north is up, for each place of a scene.
_HALVES: dict[str, tuple[int, int]] = {
    "north-west": (0, 0),
    "north-east": (0, 1),
    "south-west": (1, 0),
    "south-east": (1, 1),
}
_SUREST = list(Certainty)


@dataclass(frozen=True, kw_only=True)
class Box:
    """Rows and columns of the whole, from the first to behind the last."""

    top: float
    left: float
    bottom: float
    right: float

    def intersects(self, other: "Box") -> bool:
        """True if the two share ground, not only a border."""
        is_apart = (
            self.bottom <= other.top or other.bottom <= self.top or self.right <= other.left or other.right <= self.left
        )
        return not is_apart

    def union(self, other: "Box") -> "Box":
        """The smallest box around both."""
        return Box(
            top=min(self.top, other.top),
            left=min(self.left, other.left),
            bottom=max(self.bottom, other.bottom),
            right=max(self.right, other.right),
        )


@dataclass(frozen=True, kw_only=True)
class PartFindings:
    """Findings of one part, whose places are places of the part.

    Attributes:
        box: Where the part lies.
        findings: What was found in it.
    """

    box: Box
    findings: tuple[Finding, ...]


def merge_parts(shape: tuple[int, int], parts: Sequence[PartFindings]) -> tuple[Finding, ...]:
    """Findings of a whole scene, whose places are places of the whole.

    Parts overlap, so that what lies on a seam is found twice: findings of one kind with one change whose boxes share
    ground become one, with the higher certainty. Its place is that of the middle of the box around it. Two of one kind
    and place that changed differently both stay.

    Args:
        shape: (H, W) of the whole, north up.
        parts: Findings by part.

    Raises:
        UnknownTerm: A finding is none of a scene: other places say nothing about where in the picture they are.
    """
    merged: list[tuple[Box, Finding]] = []
    for part in parts:
        for finding in part.findings:
            box = _box_of(finding, part.box)
            # a box that grew may reach others that it did not reach before
            while touching := [item for item in merged if _is_same(item, (box, finding))]:
                merged = [item for item in merged if item not in touching]
                for other_box, other in touching:
                    box = box.union(other_box)
                    finding = replace(finding, certainty=min(finding.certainty, other.certainty, key=_SUREST.index))
            merged.append((box, finding))
    return tuple(replace(finding, place=_place_of(box, shape)) for box, finding in merged)


def _is_same(one: tuple[Box, Finding], other: tuple[Box, Finding]) -> bool:
    """True if two findings are of one kind, changed alike and share ground."""
    kinds = [(finding.finding, finding.change) for _, finding in (one, other)]
    return kinds[0] == kinds[1] and one[0].intersects(other[0])


def _box_of(finding: Finding, part: Box) -> Box:
    """The quarter of a part that a finding's place names."""
    if finding.domain != Domain.SATELLITE:
        raise UnknownTerm(f"{finding.place!r} is no place in a scene, so that it cannot be put on a map.")
    down, right = _HALVES[finding.place]
    height, width = (part.bottom - part.top) / 2, (part.right - part.left) / 2
    top, left = part.top + down * height, part.left + right * width
    return Box(top=top, left=left, bottom=top + height, right=left + width)


def _place_of(box: Box, shape: tuple[int, int]) -> str:
    halves = int((box.top + box.bottom) / 2 >= shape[0] / 2), int((box.left + box.right) / 2 >= shape[1] / 2)
    return next(place for place, half in _HALVES.items() if half == halves)
