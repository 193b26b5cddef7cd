"""Where in a picture does text stand? A classical detector: strokes, characters, lines."""

import numpy as np
from numpy.typing import NDArray

#: Left, top, right, bottom in pixels; right and bottom are outside.
Box = tuple[int, int, int, int]

#: Side in pixels of the window that a stroke must be narrower than, for small and for large print.
_WINDOWS = (7, 15)
#: Contrast of a stroke against its surroundings, as a share of the picture's range.
_CONTRAST = 0.2
#: Heights in pixels that a character can have.
_HEIGHTS = (5, 96)
#: Widest character, in heights: two that touch.
_WIDEST = 3.0
#: Characters of a line: how much their heights, their middles and the gaps between them may differ, in heights.
_HEIGHT_RATIO, _OFF_MIDDLE, _GAP = 2.0, 0.4, 1.2
#: Fewest characters that make a line.
_LEAST_CHARACTERS = 2
#: Space around a line that is masked with it, in heights, for marks that are smaller than characters.
_MARGIN = 0.35


def find_text(image: NDArray[np.float32]) -> list[Box]:
    """Boxes around what looks like printed text, bright on dark or dark on bright; more rather than fewer.

    It finds rows of shapes of like height, drawn in strokes that stand out sharply. Handwriting, slanted lines, single
    characters and print that touches a line or a frame are beyond it.

    Args:
        image: (H, W), any range.

    Source: the method of top-hat and connected components, Serra, Image Analysis and Mathematical Morphology, 1982.
    """
    from scipy import ndimage

    low, high = np.percentile(image, (0.1, 99.9))
    if high <= low:
        low, high = float(image.min()), float(image.max())
    if high <= low:
        return []
    scaled = np.clip((image - low) / (high - low), 0.0, 1.0)
    boxes: list[Box] = []
    for window in _WINDOWS:
        for strokes in (
            ndimage.white_tophat(scaled, size=window, mode="nearest"),
            ndimage.black_tophat(scaled, size=window, mode="nearest"),
        ):
            boxes += _lines(_characters(strokes > _CONTRAST))
    return merge([_grown(box, image.shape[0], image.shape[1]) for box in boxes])


def merge(boxes: list[Box]) -> list[Box]:
    """Boxes that overlap, joined until none do; in the order of rows, then columns."""
    left = sorted(set(boxes))
    joined = True
    while joined:
        joined = False
        kept: list[Box] = []
        for box in left:
            for number, other in enumerate(kept):
                if box[0] <= other[2] and other[0] <= box[2] and box[1] <= other[3] and other[1] <= box[3]:
                    kept[number] = (
                        min(box[0], other[0]),
                        min(box[1], other[1]),
                        max(box[2], other[2]),
                        max(box[3], other[3]),
                    )
                    joined = True
                    break
            else:
                kept.append(box)
        left = kept
    return sorted(left, key=lambda box: (box[1], box[0]))


def _characters(strokes: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Boxes of connected strokes of the size of characters, (N, 4)."""
    from scipy import ndimage

    labels, _ = ndimage.label(strokes, structure=np.ones((3, 3)))
    found = []
    for rows, columns in ndimage.find_objects(labels):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if _HEIGHTS[0] <= height <= _HEIGHTS[1] and width <= _WIDEST * height:
            found.append((columns.start, rows.start, columns.stop, rows.stop))
    return np.array(found, dtype=np.int64).reshape(-1, 4)


def _lines(characters: NDArray[np.int64]) -> list[Box]:
    """Boxes of rows of characters."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    if len(characters) < _LEAST_CHARACTERS:
        return []
    left, top, right, bottom = characters.T
    height = bottom - top
    middle = np.stack(((left + right) / 2, (top + bottom) / 2), axis=1)
    reach = (_GAP + _WIDEST) * float(height.max())
    pairs = KDTree(middle).query_pairs(reach, output_type="ndarray")
    if not len(pairs):
        return []
    one, other = pairs.T
    tall, small = np.maximum(height[one], height[other]), np.minimum(height[one], height[other])
    gap = np.maximum(left[one], left[other]) - np.minimum(right[one], right[other])
    beside = (
        (tall <= _HEIGHT_RATIO * small)
        & (np.abs(middle[one, 1] - middle[other, 1]) <= _OFF_MIDDLE * tall)
        & (gap <= _GAP * tall)
    )
    count = len(characters)
    graph = coo_array((np.ones(beside.sum()), (one[beside], other[beside])), shape=(count, count))
    _, line = connected_components(graph, directed=False)
    found: list[Box] = []
    for number in np.flatnonzero(np.bincount(line) >= _LEAST_CHARACTERS):
        inside = line == number
        found.append(
            (int(left[inside].min()), int(top[inside].min()), int(right[inside].max()), int(bottom[inside].max()))
        )
    return found


def _grown(box: Box, height: int, width: int) -> Box:
    margin = max(2, round(_MARGIN * (box[3] - box[1])))
    return (
        max(0, box[0] - margin),
        max(0, box[1] - margin),
        min(width, box[2] + margin),
        min(height, box[3] + margin),
    )
