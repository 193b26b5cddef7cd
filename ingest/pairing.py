"""What is a pair, and what is left when an archive has been paired?"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from ingest.acquisition import Acquisition
from ingest.errors import Refusal

_SECONDS_A_DAY = 86_400.0


def interval_in_days(earlier: datetime, later: datetime) -> float:
    """Days from `earlier` to `later`, with a fraction; negative if they are the wrong way round.

    Where only one of the two records an offset, the local values are compared: no offset is invented.
    """
    if (earlier.tzinfo is None) != (later.tzinfo is None):
        earlier = earlier.replace(tzinfo=None)
        later = later.replace(tzinfo=None)
    return (later - earlier).total_seconds() / _SECONDS_A_DAY


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A prior and a current acquisition of one subject that may be compared, and why this prior.

    Attributes:
        id: First 32 hex digits of a sha256 over both files' hashes and both acquisitions' ids (`pair_id`).
        prior: The earlier acquisition.
        current: The later acquisition.
        interval_days: Days between the two; None where only their order is known.
        reason: A sentence: why this prior was chosen.
        warnings: Sentences a reader must see, such as an AP beside a PA view.
    """

    id: str
    prior: Acquisition
    current: Acquisition
    interval_days: float | None
    reason: str
    warnings: tuple[str, ...] = ()

    @property
    def domain(self) -> str:
        """Domain of both acquisitions."""
        return self.current.domain

    @property
    def subject(self) -> str:
        """Subject of both acquisitions."""
        return self.current.subject


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """What became of every acquisition that was to be paired.

    Every acquisition is accounted for exactly once: as the current of a pair, as the current of a pair that was formed
    and refused (level "pair", item is the pair's id), or by its id (level "acquisition") in `unpaired` or `unused`. So
    len(pairs) + len(unpaired) + len(unused) is the number of acquisitions. Being a prior is not counted.

    Attributes:
        pairs: Ordered by subject, then by time of the current.
        unpaired: Acquisitions without a prior and pairs that were refused, with their reason codes.
        unused: Acquisitions that could have been a current and were passed over for a better image (code NOT_SELECTED).
    """

    pairs: tuple[Pair, ...]
    unpaired: tuple[Refusal, ...]
    unused: tuple[Refusal, ...] = ()


def pair_id(prior: Acquisition, current: Acquisition) -> str:
    """Key of the pair: the same for the same bytes under the same ids, wherever the archive lies."""
    digest = hashlib.sha256()
    for part in (prior.sha256, current.sha256, prior.id, current.id):
        digest.update(part.encode("utf-8"))
        digest.update(b"\n")
    return digest.hexdigest()[:32]


def make_pair(prior: Acquisition, current: Acquisition, *, reason: str, warnings: tuple[str, ...] = ()) -> Pair:
    """Pair of two dated acquisitions, with its id and interval worked out.

    Raises:
        ValueError: One has no time, the subjects or domains differ, or the prior is not strictly earlier.
    """
    if prior.time is None or current.time is None:
        raise ValueError("a pair needs the time of both acquisitions")
    if (prior.subject, prior.domain) != (current.subject, current.domain):
        raise ValueError("a pair needs two acquisitions of one subject")
    days = interval_in_days(prior.time, current.time)
    if days <= 0:
        raise ValueError("a pair needs a prior strictly earlier than its current")
    return Pair(
        id=pair_id(prior, current),
        prior=prior,
        current=current,
        interval_days=days,
        reason=reason,
        warnings=warnings,
    )


def make_ordered_pair(prior: Acquisition, current: Acquisition, *, reason: str, warnings: tuple[str, ...] = ()) -> Pair:
    """Pair of two undated acquisitions whose order the user states; no date is made up for them.

    Raises:
        ValueError: One has a time, or the subjects or domains differ.
    """
    if prior.time is not None or current.time is not None:
        raise ValueError("the order of dated acquisitions is that of their times")
    if (prior.subject, prior.domain) != (current.subject, current.domain):
        raise ValueError("a pair needs two acquisitions of one subject")
    return Pair(
        id=pair_id(prior, current), prior=prior, current=current, interval_days=None, reason=reason, warnings=warnings
    )
