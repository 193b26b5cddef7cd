"""How do the scenes of an index become a TorchGeo dataset, for its samplers?"""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from ingest.acquisition import Acquisition
from ingest.grid import Grid

if TYPE_CHECKING:
    from torchgeo.datasets import GeoDataset


def make_geodataset(
    scenes: Sequence[Acquisition], *, frame: str | None = None, gsd: tuple[float, float] | None = None
) -> "GeoDataset":
    """A TorchGeo dataset of dated scenes that the index has accepted, and of nothing else.

    It finds no files and reads no dates by itself: rows, footprints of valid data and times are those of the index,
    pixels come through the same reader as those of pairs, with quality layers applied. A sample holds "image" (C, H, W)
    float32 as stored, "valid" (H, W) bool, "scenes" (ids), "crs" and "bounds". Scenes of one pass are mosaicked, the
    first by time and name on top; a query over several passes is refused, where TorchGeo's own would mix their dates.

    Args:
        scenes: Scenes with the same number of display bands.
        frame: CRS as WKT that queries are in; the first scene's if None.
        gsd: Width and height of a pixel in that CRS; the first scene's if None.

    Raises:
        ValueError: There are no scenes, one has no date, or they differ in the number of display bands.
    """
    import pandas as pd
    import torch
    from geopandas import GeoDataFrame, GeoSeries
    from torchgeo.datasets import GeoDataset

    from ingest.geotiff.crs import crs_of, same_crs
    from ingest.geotiff.footprint import native_footprint, project
    from ingest.geotiff.scene import display_indexes
    from ingest.geotiff.source import read_source
    from ingest.geotiff.warp import warp

    if not scenes or any(scene.time is None for scene in scenes):
        raise ValueError("a dataset needs scenes, and each of them needs a date")
    if len({len(display_indexes(scene)) for scene in scenes}) > 1:
        raise ValueError("scenes of one dataset need the same number of display bands")
    ordered = sorted(scenes, key=lambda scene: (str(scene.time), scene.name))
    target = frame or ordered[0].grid.frame
    steps = gsd or (abs(ordered[0].grid.affine[0]), abs(ordered[0].grid.affine[4]))

    class SceneDataset(GeoDataset):
        """Scenes of an index; see `make_geodataset`."""

        def __init__(self) -> None:
            spans = []
            for scene in ordered:
                start = pd.Timestamp(str(scene.time))
                length = timedelta(days=1) if scene.attributes["time_precision"] == "day" else timedelta(seconds=1)
                spans.append((start, start + length - timedelta(microseconds=1)))
            outlines = [
                native_footprint(scene)
                if same_crs(scene.grid.frame, target)
                else project(native_footprint(scene), scene.grid.frame, crs_of(target))
                for scene in ordered
            ]
            index = pd.IntervalIndex.from_tuples(spans, closed="both", name="datetime")
            self.paths = [str(scene.path) for scene in ordered]
            columns = {"scene": range(len(ordered)), "filepath": self.paths}
            self.index = GeoDataFrame(columns, index=index, geometry=GeoSeries(outlines, index=index), crs=target)
            self._res = steps

        def __getitem__(self, query: Any) -> dict[str, Any]:
            """The sample of a spatio-temporal slice.

            Raises:
                IndexError: No scene, or scenes of several passes, lie in it.
            """
            x, y, t = self._disambiguate_slice(query)
            rows = self.index.iloc[self.index.index.overlaps(pd.Interval(t.start, t.stop, closed="both"))]
            found = [ordered[row] for row in rows.cx[x.start : x.stop, y.start : y.stop]["scene"]]
            if len({scene.study for scene in found}) != 1:
                raise IndexError(f"{len(found)} scenes of no or several passes lie in the query; ask for one pass")
            grid = Grid(
                affine=(steps[0], 0.0, x.start, 0.0, -steps[1], y.stop),
                height=round((y.stop - y.start) / steps[1]),
                width=round((x.stop - x.start) / steps[0]),
                frame=target,
            )
            image = np.full((len(display_indexes(found[0])), *grid.shape), np.nan, dtype=np.float32)
            for scene in found:
                values = warp(read_source(scene, grid), grid)
                image = np.where(np.isfinite(image), image, values)
            valid = np.isfinite(image).all(axis=0)
            return {
                "image": torch.from_numpy(np.where(valid, image, np.float32(0))),
                "valid": torch.from_numpy(valid),
                "scenes": [scene.id for scene in found],
                "crs": self.crs,
                "bounds": query,
            }

    return SceneDataset()
