"""Where does each pixel of an image lie?"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Affine, shape and frame of an image, without its pixels.

    Attributes:
        affine: (a, b, c, d, e, f): x = a * column + b * row + c, y = d * column + e * row + f, at pixel corners
            (the order of rasterio's `Affine`). Metres or degrees for scenes, millimetres on the
            detector for radiographs.
        height: Rows.
        width: Columns.
        frame: CRS as WKT, FrameOfReferenceUID, or "detector:<SOP Instance UID>" for a radiograph, which has none.
    """

    affine: tuple[float, float, float, float, float, float]
    height: int
    width: int
    frame: str

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.height, self.width

    def part(self, rows: slice, columns: slice) -> "Grid":
        """The part of the grid in these rows and columns, whichever way it is turned."""
        a, b, c, d, e, f = self.affine
        row, column = rows.start, columns.start
        return Grid(
            affine=(a, b, a * column + b * row + c, d, e, d * column + e * row + f),
            height=rows.stop - row,
            width=columns.stop - column,
            frame=self.frame,
        )

    def refined(self, factor: int) -> "Grid":
        """The grid with `factor` by `factor` pixels in the place of each."""
        a, b, c, d, e, f = self.affine
        return Grid(
            affine=(a / factor, b / factor, c, d / factor, e / factor, f),
            height=self.height * factor,
            width=self.width * factor,
            frame=self.frame,
        )


def grid_values(grid: Grid) -> dict[str, Any]:
    """A grid as JSON values."""
    return {"affine": list(grid.affine), "height": grid.height, "width": grid.width, "frame": grid.frame}


def grid_from_values(values: dict[str, Any]) -> Grid:
    """The grid that `grid_values` wrote."""
    return Grid(**{**values, "affine": tuple(values["affine"])})
