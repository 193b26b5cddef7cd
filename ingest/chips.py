"""Which parts of an aligned pair are looked at one by one, and what do they show?"""

import itertools
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from ingest.pixels import AlignedPair, Pixels

#: Share of a chip's side that it has in common with its neighbour, so that nothing lies on a seam only.
OVERLAP = 0.125

#: Least share of a chip that must be valid in both dates; below it there is too little to compare.
LEAST_VALID = 0.2

#: Bytes of display values of both dates in one strip where a pair is read in parts; up to three are held.
_STRIP_BYTES = 128 * 2**20


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One part of an aligned pair at native resolution.

    Attributes:
        rows: Rows of the whole grid.
        columns: Columns of the whole grid.
        pair: Prior and current of this part, on its part of the grid.
        valid_share: Share of its pixels that are valid in both dates.
    """

    rows: slice
    columns: slice
    pair: AlignedPair
    valid_share: float

    @property
    def is_clear(self) -> bool:
        """True if enough of it is valid in both dates to be compared."""
        return self.valid_share >= LEAST_VALID


def chip_starts(length: int, *, size: int, overlap: float = OVERLAP) -> tuple[int, ...]:
    """First pixel of each chip along one side; together the chips cover every pixel.

    The last one is moved inward, not cut or dropped; a side shorter than a chip has one that is as short.

    Args:
        length: Pixels of the side.
        size: Pixels of a chip's side.
        overlap: Least share of a chip that its neighbour shows too.

    Raises:
        ValueError: Sizes below 1, or an overlap outside [0, 1).
    """
    if length < 1 or size < 1 or not 0 <= overlap < 1:
        raise ValueError(f"no chips of {size} pixels with overlap {overlap} along {length} pixels")
    if length <= size:
        return (0,)
    stride = max(1, int(size * (1 - overlap)))
    return (*range(0, length - size, stride), length - size)


def iter_chips(aligned: AlignedPair, *, size: int, overlap: float = OVERLAP) -> Iterator[Chip]:
    """Chips of at most `size` by `size` pixels at native resolution, row by row, the same windows for both dates.

    A pair that was reduced to fit into memory is read from disk again in strips, each once, and each strip serves the
    chips of as many rows as it holds. Chips that are not clear are given too: the caller skips and counts them.

    Raises:
        IngestError: A file cannot be read any more.
    """
    grid = aligned.current.grid if aligned.native is None else aligned.native.grid
    tops = chip_starts(grid.height, size=size, overlap=overlap)
    lefts = chip_starts(grid.width, size=size, overlap=overlap)
    rows_a_strip = max(size, _STRIP_BYTES // (grid.width * 2 * 3 * 4))
    strips = list(_strips(tops, min(size, grid.height), rows_a_strip))
    spans = [slice(strip[0], strip[-1] + min(size, grid.height)) for strip in strips]
    with closing(_read(aligned, spans)) as parts:
        for strip, span, part in zip(strips, spans, parts, strict=True):
            for top, left in itertools.product(strip, lefts):
                rows = slice(top, min(top + size, grid.height))
                columns = slice(left, min(left + size, grid.width))
                pair = _crop(part, slice(rows.start - span.start, rows.stop - span.start), columns)
                both = pair.prior.valid & pair.current.valid
                yield Chip(rows=rows, columns=columns, pair=pair, valid_share=float(np.count_nonzero(both) / both.size))


def _read(aligned: AlignedPair, spans: Sequence[slice]) -> Generator[AlignedPair]:
    """Both images in slices of rows at native resolution."""
    if aligned.native is None:
        for rows in spans:
            yield _crop(aligned, rows, slice(0, aligned.current.grid.width))
    else:
        yield from aligned.native.read(spans)


def _strips(tops: tuple[int, ...], size: int, most_rows: int) -> Iterator[tuple[int, ...]]:
    """The chip rows in groups that span at most `most_rows` rows, each of at least one."""
    group: list[int] = []
    for top in tops:
        if group and top + size - group[0] > most_rows:
            yield tuple(group)
            group = []
        group.append(top)
    yield tuple(group)


def _crop(pair: AlignedPair, rows: slice, columns: slice) -> AlignedPair:
    """A part of both images; nothing is copied."""
    return AlignedPair(
        prior=crop(pair.prior, rows, columns),
        current=crop(pair.current, rows, columns),
        quality=pair.quality,
        warnings=pair.warnings,
    )


def crop(pixels: Pixels, rows: slice, columns: slice) -> Pixels:
    """A part of an image, as a view, on its part of the grid."""
    return Pixels(
        values=pixels.values[:, rows, columns],
        valid=pixels.valid[rows, columns],
        grid=pixels.grid.part(rows, columns),
        steps=pixels.steps,
    )
