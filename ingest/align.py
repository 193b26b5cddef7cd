"""How do prior and current come to lie on one grid, in either domain?"""

from ingest.index import RADIOLOGY, SATELLITE, UnknownDomain
from ingest.pairing import Pair
from ingest.pixels import AlignedPair


def align_pair(pair: Pair, *, normalise: bool = False) -> AlignedPair:
    """Both images of a pair, read from disk, on the current's grid, with what was measured of the fit.

    Of two volumes matched slices.

    Args:
        pair: Both acquisitions.
        normalise: Show the prior of two scenes in the light of the current; radiographs are shown as they are.

    Raises:
        IngestError: One of the two cannot be read any more, or they do not fit together; the subclass says which.
    """
    if pair.domain == RADIOLOGY and pair.current.files:
        from ingest.dicom.volume_align import align_volume_pair

        return align_volume_pair(pair)
    if pair.domain == RADIOLOGY:
        from ingest.dicom.align import align_radiographs

        return align_radiographs(pair)
    if pair.domain == SATELLITE:
        from ingest.geotiff.align import align_scenes
        from ingest.geotiff.picture_align import align_pictures
        from ingest.geotiff.pictures import is_picture

        if is_picture(pair.current):
            return align_pictures(pair, normalise=normalise)
        return align_scenes(pair, normalise=normalise)
    raise UnknownDomain("The pair is neither of radiographs nor of satellite scenes; index the archive again.")
