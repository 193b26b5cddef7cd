"""Which scenes show the same place?"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from ingest.acquisition import Acquisition

#: Least shared valid ground of two scenes of one place, as a share of the smaller footprint: neighbouring tiles
#: overlap by a tenth, and a chain of them is not one place.
LEAST_OVERLAP = 0.5


def assign_places(acquisitions: Sequence[Acquisition]) -> tuple[Acquisition, ...]:
    """The same acquisitions in the same order, scenes with the subject of their place; others unchanged.

    Scenes belong to one place if their valid footprints share at least half of the smaller one, directly or through
    scenes in between. The key is a hash of the place's earliest scene, so later scenes leave it as it is.
    """
    from ingest.geotiff.footprint import Footprints

    scenes = [acquisition for acquisition in acquisitions if acquisition.domain == "satellite"]
    # the order of the input must not decide which of two borderline chains is followed
    scenes.sort(key=lambda scene: (scene.time is None, scene.time or datetime.min, scene.id, scene.name))
    footprints = Footprints(tuple(scenes))
    root = list(range(len(scenes)))

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = root[root[index]]
            index = root[index]
        return index

    for index in range(len(scenes)):
        for other in footprints.near(index):
            if other < index and find(other) != find(index) and footprints.overlap(index, other) >= LEAST_OVERLAP:
                # the smaller root is the earlier scene
                first, second = sorted((find(index), find(other)))
                root[second] = first
    places = {
        (scene.id, scene.name): "place:" + hashlib.sha256(scenes[find(i)].id.encode()).hexdigest()[:32]
        for i, scene in enumerate(scenes)
    }
    return tuple(
        replace(acquisition, subject=places[acquisition.id, acquisition.name])
        if acquisition.domain == "satellite"
        else acquisition
        for acquisition in acquisitions
    )
