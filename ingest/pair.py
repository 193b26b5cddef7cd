"""Which acquisitions are pairs, in either domain?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ingest.acquisition import Acquisition
from ingest.index import RADIOLOGY, SATELLITE, UnknownDomain
from ingest.pairing import Pair, Pairing, make_pair, pair_id

if TYPE_CHECKING:
    from ingest.rules import Rules

__all__ = ["Pair", "Pairing", "chains", "make_pair", "pair_acquisitions", "pair_id"]


def pair_acquisitions(acquisitions: Sequence[Acquisition], rules: "Rules | None" = None) -> Pairing:
    """Pairs of prior and current, and a reason for every acquisition that is the current of none.

    Radiographs come first, then scenes. The order of the input does not matter.

    Args:
        acquisitions: Of any subjects and domains.
        rules: None for the default ones.

    Raises:
        UnknownDomain: An acquisition is neither a radiograph nor a scene.
    """
    radiographs = [one for one in acquisitions if one.domain == RADIOLOGY]
    scenes = [one for one in acquisitions if one.domain == SATELLITE]
    if len(radiographs) + len(scenes) < len(acquisitions):
        raise UnknownDomain("An acquisition is neither a radiograph nor a satellite scene; index the archive again.")
    parts: list[Pairing] = []
    if radiographs:
        from ingest.dicom.pair import pair_radiographs

        parts.append(pair_radiographs(radiographs, rules.radiology if rules else None))
    if scenes:
        from ingest.geotiff.pair import pair_scenes
        from ingest.geotiff.pictures import is_picture, pair_pictures

        parts.append(pair_scenes([one for one in scenes if not is_picture(one)], rules.scenes if rules else None))
        parts.append(pair_pictures([one for one in scenes if is_picture(one)]))
    return Pairing(
        pairs=tuple(pair for part in parts for pair in part.pairs),
        unpaired=tuple(refusal for part in parts for refusal in part.unpaired),
        unused=tuple(refusal for part in parts for refusal in part.unused),
    )


def chains(pairs: Sequence[Pair]) -> tuple[tuple[Pair, ...], ...]:
    """The pairs as time series: in each, the study of a pair's prior is that of the current of the pair before it.

    A study that is the prior of several later ones begins a chain for each but the first.
    """
    by_time = sorted(pairs, key=lambda pair: (pair.subject, _moment(pair), pair.id))
    found: list[list[Pair]] = []
    last: dict[tuple[str, str], list[Pair]] = {}
    for pair in by_time:
        prior, current = ((pair.subject, one.study or one.id) for one in (pair.prior, pair.current))
        chain = last.pop(prior, None)
        if chain is None:
            chain = []
            found.append(chain)
        chain.append(pair)
        last[current] = chain
    return tuple(tuple(chain) for chain in found)


def _moment(pair: Pair) -> str:
    return pair.current.time.replace(tzinfo=None).isoformat() if pair.current.time else ""
