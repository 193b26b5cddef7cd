"""Which acquisitions are pairs, in either domain?"""

from collections.abc import Sequence

from ingest.acquisition import Acquisition
from ingest.index import RADIOLOGY, SATELLITE, UnknownDomain
from ingest.pairing import Pair, Pairing, make_pair, pair_id

__all__ = ["Pair", "Pairing", "explain", "make_pair", "pair_acquisitions", "pair_id"]


def pair_acquisitions(acquisitions: Sequence[Acquisition]) -> Pairing:
    """Pairs of prior and current, and a reason for every acquisition that is the current of none.

    Radiographs come first, then scenes. The order of the input does not matter.

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

        parts.append(pair_radiographs(radiographs))
    if scenes:
        from ingest.geotiff.pair import pair_scenes

        parts.append(pair_scenes(scenes))
    return Pairing(
        pairs=tuple(pair for part in parts for pair in part.pairs),
        unpaired=tuple(refusal for part in parts for refusal in part.unpaired),
        unused=tuple(refusal for part in parts for refusal in part.unused),
    )


def explain(acquisitions: Sequence[Acquisition], subject: str) -> tuple[str, ...]:
    """Lines that say, for every acquisition of one subject, what was chosen as its prior and why.

    For radiographs every candidate has its verdict; for scenes the chosen prior or the reason code is given.
    """
    of_subject = [one for one in acquisitions if one.subject == subject]
    if any(one.domain == RADIOLOGY for one in of_subject):
        from ingest.dicom.pair import explain as explain_radiographs

        return explain_radiographs(of_subject, subject)
    pairing = pair_acquisitions(of_subject)
    taken = [f"{pair.current.name}: paired with {pair.prior.name}. {pair.reason}" for pair in pairing.pairs]
    left = [f"{refusal.item}: {refusal.code}. {refusal.reason}" for refusal in (*pairing.unpaired, *pairing.unused)]
    return tuple(sorted((*taken, *left)))
