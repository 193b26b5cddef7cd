"""Which current has no prior only because the prior's pixels cannot be read?"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ingest.acquisition import Acquisition
from ingest.errors import Refusal
from ingest.pair import pair_acquisitions
from ingest.pairing import Pairing

if TYPE_CHECKING:
    from ingest.rules import Rules


def pair_readable(
    acquisitions: Sequence[Acquisition], unreadable: Sequence[Acquisition], rules: "Rules | None" = None
) -> Pairing:
    """Pairs of the acquisitions, as `pair_acquisitions` gives them, with the reason `PRIOR_UNREADABLE` where it is one.

    What cannot be read is never a prior. A current that has none, and would have one if it could be read, is told so
    instead of what else stands in its way.

    Args:
        acquisitions: What can be used.
        unreadable: What could be used but for its pixels.
        rules: None for the default ones.
    """
    pairing = pair_acquisitions(acquisitions, rules)
    there = {one.id for one in acquisitions}
    lost = [one for one in unreadable if one.id not in there]
    if not lost:
        return pairing
    subjects = {one.subject for one in lost}
    wider = pair_acquisitions([*(one for one in acquisitions if one.subject in subjects), *lost], rules)
    lost_ids = {one.id for one in lost}
    # refusals name radiographs by id and scenes by file
    priors = {
        key: pair.prior
        for pair in wider.pairs
        if pair.prior.id in lost_ids
        for key in (pair.current.id, pair.current.name)
    }
    return replace(pairing, unpaired=tuple(_told(one, priors.get(one.item)) for one in pairing.unpaired))


def _told(refusal: Refusal, prior: Acquisition | None) -> Refusal:
    if prior is None or refusal.level != "acquisition":
        return refusal
    return replace(
        refusal,
        code="PRIOR_UNREADABLE",
        reason=f"The pixels of the only comparable prior, {prior.name}, cannot be read; send that file again.",
    )
