"""Does a report follow the order of the two images, and does it say that nothing changed where nothing did?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reports.change import MIRRORED, Change
from reports.f1 import CHANGED, has_change, ratio
from reports.finding import Finding

#: What becomes what when prior and current change places, as the two kinds that are counted.
_KINDS = {Change.NEW: "come", Change.RESOLVED: "come", Change.WORSE: "grow", Change.IMPROVED: "grow"}


@dataclass(frozen=True)
class Mirrored:
    """Changed findings of reports, and how many of them turn round when prior and current change places.

    Attributes:
        come: Findings that were said to be new or resolved.
        come_turned: Those that are said to be the other of the two.
        grow: Findings that were said to be worse or improved.
        grow_turned: Those that are said to be the other of the two.
    """

    come: int = 0
    come_turned: int = 0
    grow: int = 0
    grow_turned: int = 0

    @property
    def come_share(self) -> float | None:
        """Share of the new and the resolved that turn round."""
        return ratio(self.come_turned, self.come)

    @property
    def grow_share(self) -> float | None:
        """Share of the worse and the improved that turn round."""
        return ratio(self.grow_turned, self.grow)


def mirrored(as_it_is: Sequence[Iterable[Finding]], swapped: Sequence[Iterable[Finding]]) -> Mirrored:
    """How the reports of pairs turn round, finding by finding at its place, whether the first report was right or not.

    Args:
        as_it_is: Findings of each pair's report.
        swapped: Findings of the report on the same pair with prior and current in each other's place.
    """
    counts = {"come": 0, "come_turned": 0, "grow": 0, "grow_turned": 0}
    for before, after in zip(as_it_is, swapped, strict=True):
        said = {(one.finding, one.place): one.change for one in after}
        for one in before:
            if one.change in CHANGED:
                kind = _KINDS[one.change]
                counts[kind] += 1
                counts[f"{kind}_turned"] += said.get((one.finding, one.place)) is MIRRORED[one.change]
    return Mirrored(**counts)


def unchanged_share(reports: Sequence[Iterable[Finding]]) -> float | None:
    """Share of reports in which nothing is new, worse, improved or resolved."""
    return ratio(sum(not has_change(findings) for findings in reports), len(reports))
