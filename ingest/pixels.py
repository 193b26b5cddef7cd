"""What is an image in memory: values never without valid mask and grid."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ingest.grid import Grid


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """Display values of one acquisition on one grid.

    Attributes:
        values: (C, H, W) float32 in [0, 1]; C is 1 for radiographs (air dark, bone bright), 3 (red, green, blue) for
            scenes.
        valid: (H, W) bool, True where the pixel means something.
        grid: Where the pixels lie.
        steps: Every transform that was applied, in order, with its parameters, for provenance.
    """

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    grid: Grid
    steps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.values.shape[1:] != self.grid.shape or self.valid.shape != self.grid.shape:
            raise ValueError(
                f"values {self.values.shape} and valid {self.valid.shape} do not fit the grid's shape {self.grid.shape}"
            )


class NativeParts(Protocol):
    """A pair at native resolution that is too large to be held at once."""

    @property
    def grid(self) -> Grid:
        """Where the whole of it lies."""

    def read(self, parts: Sequence[slice]) -> Iterator["AlignedPair"]:
        """Prior and current in each of these slices of rows, aligned and shown like the whole, read from disk.

        What several parts show is read once if they go from top to bottom. Close the iterator to end before its end.

        Raises:
            IngestError: A file cannot be read any more.
        """


@dataclass(frozen=True, kw_only=True)
class AlignedPair:
    """Prior and current on the current's grid.

    Attributes:
        prior: The earlier acquisition, resampled.
        current: The later one, (for scenes: cropped to the overlap); never resampled unless the grids' CRS forces it.
        quality: Measured figures of the alignment: valid shares, residual shift in pixels, correlation.
        warnings: Sentences a reader must see.
        slices: For two volumes, pairs of slices at equal places, from one end to the other; the pair itself is then the
            middle one. Empty for two images.
        native: Where the pair was reduced to be held at once, the way to its parts at native resolution; else None.
    """

    prior: Pixels
    current: Pixels
    quality: dict[str, float]
    warnings: tuple[str, ...] = ()
    slices: tuple["AlignedPair", ...] = ()
    native: NativeParts | None = None
