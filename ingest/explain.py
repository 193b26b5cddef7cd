"""Why was each acquisition of a subject paired as it was, or not at all?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ingest.acquisition import Acquisition
from ingest.record import RADIOLOGY, SATELLITE
from ingest.unreadable import pair_readable

if TYPE_CHECKING:
    from ingest.rules import Rules


def explain(
    acquisitions: Sequence[Acquisition],
    subject: str,
    rules: "Rules | None" = None,
    unreadable: Sequence[Acquisition] = (),
) -> tuple[str, ...]:
    """Lines that say, for every acquisition of one subject, what its prior is, and of every candidate why it is not.

    Args:
        acquisitions: All of the archive: scenes of other places may share ground with those of this one.
        subject: Key of the patient or place.
        rules: None for the default ones.
        unreadable: What could be used but for its pixels.
    """
    readable, lost = ([one for one in given if one.subject == subject] for given in (acquisitions, unreadable))
    if any(one.domain == RADIOLOGY for one in (*readable, *lost)):
        from ingest.dicom.explain import explain_radiographs
        from ingest.dicom.rules import load_rules

        there = {one.id for one in readable}
        lost = [one for one in lost if one.id not in there]
        chosen = rules.radiology if rules else load_rules("default")
        return explain_radiographs(readable, lost, pair_readable(readable, lost, rules), chosen)
    from ingest.geotiff.pair import explain as explain_scenes
    from ingest.geotiff.pictures import explain_pictures, is_picture

    if any(is_picture(one) for one in readable):
        return explain_pictures(readable)
    scenes = [one for one in acquisitions if one.domain == SATELLITE and not is_picture(one)]
    return explain_scenes(scenes, subject, rules.scenes if rules else None)
