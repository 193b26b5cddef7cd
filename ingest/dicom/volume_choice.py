"""Which of several volumes of one study is compared, and with which of another study's?"""

from ingest.acquisition import Acquisition

#: What should be alike in prior and current, most telling first: it changes how tissue looks, or how finely.
_ALIKE = ("plane", "contrast_agent", "kernel", "stack")


def volume_rank(volume: Acquisition) -> tuple[int, ...]:
    """Lower is better: axial slices before reformatted ones, originals before derived ones, many slices before few.

    The same for all radiographs, which have a rank of their own.
    """
    if not volume.files:
        return ()
    taken = volume.attributes
    is_derived = taken.get("image_type", "").startswith("DERIVED\\SECONDARY")
    return (taken.get("plane") != "AXIAL", is_derived, -int(taken.get("slices", "0")))


def unlikeness(volume: Acquisition, current: Acquisition) -> tuple[bool, ...]:
    """Lower is better: what was taken in the same plane, with the same contrast agent and the same kernel."""
    if not volume.files:
        return ()
    return tuple(volume.attributes.get(key) != current.attributes.get(key) for key in _ALIKE)
