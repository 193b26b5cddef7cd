"""Where are the records of an archive kept, and what can be asked of them?"""

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol, TypeVar

from ingest.record import DESCRIPTION, DIRECTORY, FAILED, Record, Seal, seal_of
from ingest.verify import decoders

Item = TypeVar("Item")

#: Records that are looked up or written at a time.
BATCH = 500


class Names:
    """Set of names for asking which are missing: eight bytes for each, however long it is.

    A name may, once in many million million, be taken for one that is there.
    """

    def __init__(self) -> None:
        self._keys = array("q")
        self._is_sorted = True

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, *names: str) -> None:
        """Adds names; each is to be added once."""
        self._keys.extend(map(hash, names))
        self._is_sorted = False

    def __contains__(self, name: str) -> bool:
        if not self._is_sorted:
            self._keys = array("q", sorted(self._keys))
            self._is_sorted = True
        key = hash(name)
        at = bisect_left(self._keys, key)
        return at < len(self._keys) and self._keys[at] == key


class Catalogue(Protocol):
    """The records of one archive, one a file."""

    def seals(self, names: Sequence[str]) -> Mapping[str, Seal]:
        """When and in what state those of the files that are known were read."""

    def keep(self, records: Iterable[Record]) -> None:
        """Writes records in place of what was known of their files."""

    def forget_others(self, present: Names) -> None:
        """Drops the records of all files but these."""

    def records(self) -> Iterator[Record]:
        """Every record, in an order of the catalogue's own."""

    def images(self, domain: str) -> Iterator[Record]:
        """Records of a domain's files that are used, or would be but for their pixels, patient by patient."""

    def unverified(self, domain: str | None = None) -> Iterator[Record]:
        """Records of files whose pixels no one has tried to decode, or that other decoders failed on.

        Args:
            domain: Those of one domain only; None for both.
        """

    def count_unverified(self, domain: str | None = None) -> int:
        """How many records `unverified` gives."""

    def doubles(self) -> Iterator[list[Record]]:
        """Records of files with pixels that share a SOP Instance UID, together; single ones that no longer do, too."""

    def has_doubles(self) -> bool:
        """True if `doubles` gives any."""

    def directories(self) -> Iterator[Record]:
        """Records of the directories of DICOM file sets."""

    def descriptions(self) -> Iterator[Record]:
        """Records of files that describe scenes, in the order of their names."""


class MemoryCatalogue:
    """Records in memory, for an index that nobody asks again."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    def seals(self, names: Sequence[str]) -> Mapping[str, Seal]:
        """When and in what state those of the files that are known were read."""
        return {name: seal_of(self._records[name]) for name in names if name in self._records}

    def keep(self, records: Iterable[Record]) -> None:
        """Writes records in place of what was known of their files."""
        self._records |= {one.name: one for one in records}

    def forget_others(self, present: Names) -> None:
        """Drops the records of all files but these."""
        self._records = {name: one for name, one in self._records.items() if name in present}

    def records(self) -> Iterator[Record]:
        """Every record, in an order of the catalogue's own."""
        return iter(list(self._records.values()))

    def images(self, domain: str) -> Iterator[Record]:
        """Records of a domain's files that are used, or would be but for their pixels, patient by patient."""
        found = [one for one in self._records.values() if one.domain == domain and one.may_be_used]
        return iter(sorted(found, key=lambda one: one.subject))

    def unverified(self, domain: str | None = None) -> Iterator[Record]:
        """Records of files whose pixels no one has tried to decode, or that other decoders failed on."""
        found = [one for one in self.records() if one.has_pixels and is_unverified(one)]
        return iter([one for one in found if domain in (None, one.domain)])

    def count_unverified(self, domain: str | None = None) -> int:
        """How many records `unverified` gives."""
        return sum(1 for _ in self.unverified(domain))

    def doubles(self) -> Iterator[list[Record]]:
        """Records of files with pixels that share a SOP Instance UID, together; single ones that no longer do, too."""
        groups: dict[str, list[Record]] = defaultdict(list)
        for one in self.records():
            if one.uid and one.has_pixels:
                groups[one.uid].append(one)
        return (group for group in groups.values() if len(group) > 1 or group[0].double_code)

    def has_doubles(self) -> bool:
        """True if `doubles` gives any."""
        return any(True for _ in self.doubles())

    def directories(self) -> Iterator[Record]:
        """Records of the directories of DICOM file sets."""
        return (one for one in self.records() if one.status == DIRECTORY)

    def descriptions(self) -> Iterator[Record]:
        """Records of files that describe scenes, in the order of their names."""
        found = [one for one in self.records() if one.status == DESCRIPTION]
        return iter(sorted(found, key=lambda one: one.name))


def is_unverified(record: Record) -> bool:
    """True if no one has tried to decode the file's pixels, or other decoders than those installed now failed."""
    return not record.verified_with or (
        record.verified_with.startswith(FAILED) and record.verified_with != FAILED + decoders()
    )


def batches(items: Iterable[Item], size: int = BATCH) -> Iterator[list[Item]]:
    """The items in lists of at most `size`."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
