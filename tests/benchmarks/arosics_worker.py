"""Displacements by AROSICS, run by an interpreter that has it: `python arosics_worker.py CASES.npz FOUND.json`.

AROSICS (Apache-2.0) needs GDAL's own Python bindings and is no dependency of this project. Of each case its global
method (one window, one displacement) and its local one (median of the tie points that pass its outlier tests).
"""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from osgeo import gdal, osr

gdal.UseExceptions()

PLACE = (400_000, 10, 0, 5_800_000, 0, -10)


@contextlib.contextmanager
def config_options(options: dict[str, Any], thread_local: bool = True) -> Iterator[None]:
    """What GDAL has since 3.7 and AROSICS uses."""
    before = {key: gdal.GetConfigOption(key) for key in options}
    for key, value in options.items():
        gdal.SetConfigOption(key, str(value))
    yield
    for key, value in before.items():
        gdal.SetConfigOption(key, value)


if not hasattr(gdal, "config_options"):
    gdal.config_options = config_options


def main(cases: Path, out: Path) -> None:
    """Writes, for each method, one [rows, columns, seconds] a case; rows and columns are null where it gives none."""
    from arosics import COREG, COREG_LOCAL
    from geoarray import GeoArray

    system = osr.SpatialReference()
    system.ImportFromEPSG(32633)
    wkt = system.ExportToWkt()

    def raster(values: Any) -> Any:
        return GeoArray(values, PLACE, wkt)

    found: dict[str, list[list[float | None]]] = {"global": [], "local": []}
    with np.load(cases) as stored:
        for number in range(len(stored.files) // 4):
            prior, current, clear_prior, clear_current = (
                stored[f"{number}_{name}"] for name in ("prior", "current", "clear_prior", "clear_current")
            )
            given = {
                "im_ref": raster(current),
                "im_tgt": raster(prior),
                "mask_baddata_ref": raster((~clear_current).astype(np.uint8)),
                "mask_baddata_tgt": raster((~clear_prior).astype(np.uint8)),
                "max_shift": 10,
                "q": True,
                "progress": False,
                "CPUs": 1,
            }
            for name, method in (("global", _global), ("local", _local)):
                started = time.perf_counter()
                try:
                    shift = method(COREG if name == "global" else COREG_LOCAL, given)
                except RuntimeError:
                    shift = (None, None)
                found[name].append([*shift, time.perf_counter() - started])
    out.write_text(json.dumps(found), encoding="utf-8")


def _global(kind: Any, given: dict[str, Any]) -> tuple[float | None, float | None]:
    one = kind(**given)
    one.calculate_spatial_shifts()
    return (float(one.y_shift_px), float(one.x_shift_px)) if one.success else (None, None)


def _local(kind: Any, given: dict[str, Any]) -> tuple[float | None, float | None]:
    side = min(given["im_ref"].shape)
    many = kind(**given, grid_res=max(8, side // 8), window_size=(64, 64))
    points = many.CoRegPoints_table
    kept = points[
        (points["X_SHIFT_PX"] != -9999) & ~points.get("OUTLIER", points["X_SHIFT_PX"] != points["X_SHIFT_PX"])
    ]
    return (float(kept["Y_SHIFT_PX"].median()), float(kept["X_SHIFT_PX"].median())) if len(kept) else (None, None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
