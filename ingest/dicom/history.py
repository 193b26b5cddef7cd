"""Which images of a patient come into question as a prior, nearest in time first?"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ingest.acquisition import Acquisition
from ingest.dicom.compare import (
    ComparisonKey,
    Person,
    are_two_people,
    comparison_key,
    days_before,
    is_dated,
    person,
    study_key,
)
from ingest.dicom.rules import PairingRules

#: Images are kept in the order of their local times. Where offsets are known and differ, the order of moments may be
#: another one, within two days for each of the two images that are compared.
MARGIN = timedelta(days=4)


@dataclass
class _Part:
    """Images that may be compared by what they show; `dated` is ordered by `times`, their local times."""

    dated: list[Acquisition] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)
    undated: list[Acquisition] = field(default_factory=list)
    people: set[Person] = field(default_factory=set)


class History:
    """The images of one patient, in an order in which the prior of each is found without a look at all of them.

    Args:
        images: Of one subject, in any order.
        rules: Say what may be compared.
    """

    def __init__(self, images: Iterable[Acquisition], rules: PairingRules) -> None:
        self.rules = rules
        self.images = sorted(images, key=lambda one: (one.time is None, local_time(one), one.id, one.name))
        self._keys = {one.id: comparison_key(one, rules) for one in self.images}
        self._parts: dict[ComparisonKey, _Part] = defaultdict(_Part)
        for one in self.images:
            part = self._parts[self._keys[one.id]]
            part.people.add(person(one))
            if is_dated(one):
                part.dated.append(one)
                part.times.append(local_time(one))
            else:
                part.undated.append(one)

    def key_of(self, image: Acquisition) -> ComparisonKey:
        """What is equal for images of the history that may be compared by what they show."""
        return self._keys[image.id]

    def dated(self, current: Acquisition, *, oldest_first: bool) -> Iterator[Acquisition]:
        """Dated images of the same part, the latest or the oldest first; a few may be later than the current."""
        return _until(self._part(current), current, oldest_first=oldest_first)

    def undated(self, current: Acquisition) -> list[Acquisition]:
        """Images of the same part that have no date to order by."""
        return self._part(current).undated

    def has_earlier_view(self, current: Acquisition) -> bool:
        """True if another study shows the same part earlier, from whatever side."""
        return _has_earlier(self._part(current), current)

    def has_earlier_part(self, current: Acquisition) -> bool:
        """True if another study shows any part earlier."""
        return any(_has_earlier(part, current) for part in self._parts.values())

    def has_other_person(self, current: Acquisition) -> bool:
        """True if other images of the same part are of somebody else, by birth date or by name and sex."""
        own = person(current)
        return any(are_two_people(own, one) for one in self._part(current).people)

    def _part(self, current: Acquisition) -> _Part:
        return self._parts[self._keys[current.id]]


def local_time(image: Acquisition) -> datetime:
    """The time as the clock showed it; the least one for an image without."""
    return image.time.replace(tzinfo=None) if image.time else datetime.min


def _until(part: _Part, current: Acquisition, *, oldest_first: bool) -> Iterator[Acquisition]:
    end = bisect_right(part.times, local_time(current) + MARGIN)
    return (part.dated[at] for at in (range(end) if oldest_first else range(end - 1, -1, -1)))


def _has_earlier(part: _Part, current: Acquisition) -> bool:
    return any(
        study_key(one) != study_key(current) and (days_before(one, current) or 0) > 0
        for one in _until(part, current, oldest_first=True)
    )
