"""Which codes say how a finding changed between prior and current?"""

from enum import StrEnum


class Change(StrEnum):
    """Interval change of one finding, one list for radiographs and scenes.

    Source: the five-way vocabulary of CheXTemporal; `ABSENT` and `NOT_ASSESSABLE` stand beside it.
    """

    NEW = "new"
    WORSE = "worse"
    STABLE = "stable"
    IMPROVED = "improved"
    RESOLVED = "resolved"
    ABSENT = "absent"
    NOT_ASSESSABLE = "not_assessable"


#: The codes a report can state about a finding that is present in at least one of the two images.
PROGRESSION = (Change.NEW, Change.WORSE, Change.STABLE, Change.IMPROVED, Change.RESOLVED)

#: What a change becomes when prior and current are swapped.
MIRRORED = {
    Change.NEW: Change.RESOLVED,
    Change.WORSE: Change.IMPROVED,
    Change.STABLE: Change.STABLE,
    Change.IMPROVED: Change.WORSE,
    Change.RESOLVED: Change.NEW,
    Change.ABSENT: Change.ABSENT,
    Change.NOT_ASSESSABLE: Change.NOT_ASSESSABLE,
}
