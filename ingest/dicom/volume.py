"""What is a volume in memory: values never without valid mask, and each voxel with its place in the patient."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.grid import Grid

#: Names of the planes by the axis of the patient that their normal is nearest to: left, back, head.
_PLANES = ("SAGITTAL", "CORONAL", "AXIAL")


@dataclass(frozen=True, kw_only=True)
class VolumeGrid:
    """Affine, shape and frame of reference of a volume, without its voxels.

    Attributes:
        affine: Three rows of four: a voxel's index (slice, row, column, 1) to the place of its centre in mm, in DICOM's
            patient coordinates: x to the left, y to the back, z to the head (LPS).
        shape: Slices, rows, columns.
        frame: FrameOfReferenceUID, or "" if there is none.

    Source: DICOM PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1, with the step between slices as third column.
    """

    affine: tuple[tuple[float, float, float, float], ...]
    shape: tuple[int, int, int]
    frame: str

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(4, 4), homogeneous."""
        return np.vstack([np.asarray(self.affine, dtype=np.float64), [0.0, 0.0, 0.0, 1.0]])

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Length of a step along slices, rows and columns."""
        steps = np.linalg.norm(self.matrix[:3, :3], axis=0)
        return float(steps[0]), float(steps[1]), float(steps[2])

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector across the slices, towards the higher indices."""
        across = np.cross(self.matrix[:3, 2], self.matrix[:3, 1])
        across /= np.linalg.norm(across)
        return across if across @ self.matrix[:3, 0] >= 0 else -across

    @property
    def plane(self) -> str:
        """The anatomical plane that the slices are nearest to: "AXIAL", "CORONAL" or "SAGITTAL"."""
        return _PLANES[int(np.argmax(np.abs(self.normal)))]

    @property
    def tilt_deg(self) -> float:
        """Angle between the step from slice to slice and the normal of the slices: 0 but for a tilted gantry."""
        step = self.matrix[:3, 0] / self.spacing_mm[0]
        return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(step, self.normal)), step @ self.normal)))

    @property
    def centre(self) -> NDArray[np.float64]:
        """(3,), the middle of the volume in mm."""
        return self.places((np.array(self.shape, dtype=np.float64) - 1) / 2)

    def places(self, indices: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., 3) indices (slice, row, column) to (..., 3) places in mm."""
        matrix = self.matrix
        return np.asarray(indices, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]

    def indices(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., 3) places in mm to (..., 3) indices, with fractions."""
        matrix = self.matrix
        return (np.asarray(places, dtype=np.float64) - matrix[:3, 3]) @ np.linalg.inv(matrix[:3, :3]).T

    def slab(self, first: int, last: int) -> "VolumeGrid":
        """The grid of slices `first` to `last`, without the last."""
        start = self.places(np.array([first, 0.0, 0.0]))
        rows = zip(self.affine, start, strict=True)
        return VolumeGrid(
            affine=tuple((*row[:3], float(place)) for row, place in rows),
            shape=(last - first, *self.shape[1:]),
            frame=self.frame,
        )

    def slice_grid(self) -> Grid:
        """Grid of one slice in its own plane: mm to the right and down from the slice's corner."""
        _, row, column = self.spacing_mm
        return Grid(
            affine=(column, 0.0, 0.0, 0.0, row, 0.0), height=self.shape[1], width=self.shape[2], frame=self.frame
        )


def grid_from_matrix(matrix: NDArray[np.float64], shape: tuple[int, int, int], frame: str) -> VolumeGrid:
    """A grid with the upper three rows of a (4, 4) or (3, 4) matrix as affine."""
    rows = tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in matrix[:3])
    return VolumeGrid(affine=rows, shape=shape, frame=frame)


@dataclass(frozen=True, kw_only=True)
class Volume:
    """Values of one CT or MR stack on its grid.

    Attributes:
        values: (D, H, W) float32: Hounsfield units for CT, the scanner's own numbers for MR; 0 where not valid.
        valid: (D, H, W) bool, True where the voxel means something.
        grid: Where the voxels lie.
        modality: "CT" or "MR".
        window: Centre and width of the header's window for the middle slice; None if it has none.
        steps: Every transform that was applied, in order, with its parameters, for provenance.
    """

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    grid: VolumeGrid
    modality: str
    window: tuple[float, float] | None = None
    steps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.values.shape != self.grid.shape or self.valid.shape != self.grid.shape:
            raise ValueError(
                f"values {self.values.shape} and valid {self.valid.shape} do not fit the grid's shape {self.grid.shape}"
            )
