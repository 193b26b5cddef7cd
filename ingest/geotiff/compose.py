"""How do the scenes of several files become one scene?"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from ingest.acquisition import Acquisition, SourceFile
from ingest.errors import IngestError
from ingest.geotiff.bands import choose_bands
from ingest.geotiff.common_bands import common_bands
from ingest.geotiff.crs import same_crs
from ingest.geotiff.footprint import native_footprint, raster_outline, to_geojson, to_wkt
from ingest.geotiff.layout import Layout, Part, is_plain
from ingest.geotiff.scene import with_pass
from ingest.grid import Grid, grid_from_values

#: Common names that are shown, and those that are measured with them.
_SHOWN, _MEASURED = ("red", "green", "blue"), ("nir", "swir16", "swir22")


def stack_bands(single: Mapping[str, Acquisition]) -> Acquisition | None:
    """One scene of single-band scenes; None unless red, green and blue lie on one grid.

    Where the files say nothing of nodata, what their STAC item states of it holds.

    Other bands join them where they cover the same ground, at whatever resolution, by the nearest pixel.

    Args:
        single: By common name, or by the product's name for a band that has no common one.
    """
    if not all(name in single for name in _SHOWN):
        return None
    red = single["red"]
    shown = [single[name] for name in _SHOWN]
    if not all(_fits(one, red) and one.grid == red.grid for one in shown):
        return None
    outline = raster_outline(red.grid)
    names = list(_SHOWN)
    for name in (*_MEASURED, *sorted(single.keys() - {*_SHOWN, *_MEASURED})):
        one = single.get(name)
        if one is not None and _fits(one, red) and _is_same_ground(raster_outline(one.grid), outline):
            names.append(name)
    parts = [single[name] for name in names]
    size = (0, 0, red.grid.width, red.grid.height)
    layout = Layout(
        grid=red.grid,
        dtype=red.attributes["dtype"],
        nodata=_nodata(red) if _nodata(red) is not None else _stated(red),
        names=tuple(names),
        bands=tuple(
            (Part(file=number, band=1, source=(0, 0, one.grid.width, one.grid.height), target=size),)
            for number, one in enumerate(parts)
        ),
    )
    valid: Polygon | MultiPolygon = shapely.intersection_all([native_footprint(one) for one in shown])
    common = [name if name in (*_SHOWN, *_MEASURED) else "" for name in names]
    return composed(parts, layout, shapely.make_valid(valid), role="rgb", display=(1, 2, 3), common=common)


def virtual_scene(mosaic: Mapping[str, Any], parts: Sequence[Acquisition]) -> Acquisition | str:
    """One scene of the rasters that a virtual mosaic lays out, or why they are none.

    Args:
        mosaic: As `ingest.geotiff.virtual.read_virtual` gives it.
        parts: The rasters, in the order in which it first names them.
    """
    grid = grid_from_values(mosaic["grid"])
    if not all(same_crs(one.grid.frame, grid.frame) for one in parts):
        return "Its rasters are in other coordinate reference systems than the mosaic; warp them first (gdalwarp)."
    if not all(is_plain(one) and one.attributes["dtype"] == mosaic["dtype"] for one in parts):
        return "Its rasters have masks, alpha bands or other value types; write it as a GeoTIFF (gdal_translate)."
    number = {one.name: at for at, one in enumerate(parts)}
    nodata = mosaic["nodata"] if mosaic["nodata"] is not None else _nodata(parts[0])
    layout = Layout(
        grid=grid,
        dtype=mosaic["dtype"],
        nodata=nodata,
        names=tuple(mosaic["names"]),
        bands=tuple(
            tuple(
                Part(file=number[name], band=band, source=tuple(source), target=tuple(target))
                for name, band, source, target in band_parts
            )
            for band_parts in mosaic["bands"]
        ),
    )
    try:
        display = choose_bands(parts[0].path.name, mosaic["names"], mosaic["colours"], mosaic["dtype"])
    except IngestError as error:
        return str(error)
    common = common_bands(parts[0].path.name, mosaic["names"], mosaic["colours"])
    shown = {part.file for index in display.indexes for part in layout.bands[index - 1]}
    valid = shapely.union_all([native_footprint(parts[at]) for at in sorted(shown)])
    valid = shapely.make_valid(valid.intersection(raster_outline(grid)))
    if valid.is_empty:
        return "Its rasters lie beside the ground that it states."
    numbered = [""] * len(layout.bands)
    for name, index in common.items():
        numbered[index - 1] = name
    made = composed(parts, layout, valid, role=display.role, display=display.indexes, common=numbered)
    times = {one.time for one in parts}
    return made if len(times) == 1 else with_pass(replace(made, time=None, time_source=""))


def composed(
    scenes: Sequence[Acquisition],
    layout: Layout,
    valid: Polygon | MultiPolygon,
    *,
    role: str,
    display: Sequence[int],
    common: Sequence[str],
) -> Acquisition:
    """A scene of several, with what the first of them says of the product, and the earliest of their times.

    Args:
        scenes: Those that are put together.
        layout: How their files lie; it numbers the files of the first scene, then those of the second, and so on.
        valid: Ground with valid data, in the layout's frame.
        role: As `ingest.geotiff.bands.DisplayBands.role`.
        display: Numbers of the bands that are shown.
        common: Common name of each band; empty where unknown.
    """
    first = scenes[0]
    text = layout.as_text()
    depth = first.group.rsplit(" ", 1)[-1]
    share = valid.area / raster_outline(layout.grid).area
    attributes = {
        **first.attributes,
        "layout": text,
        "driver": "VRT",
        "n_bands": str(len(layout.bands)),
        "bands": role,
        "band_indexes": ",".join(str(index) for index in display),
        "common_bands": ",".join(f"{name}={index}" for index, name in enumerate(common, start=1) if name),
        "nodata": "" if layout.nodata is None else repr(layout.nodata),
        "nodata_origin": _origin(layout, first),
        "valid_share": f"{min(1.0, share):.4f}",
        "footprint": to_wkt(valid, layout.grid),
        "footprint_wgs84": to_geojson(valid, layout.grid.frame),
        "warnings": " ".join(dict.fromkeys(filter(None, (one.attributes["warnings"] for one in scenes)))),
    }
    hashes = [one.sha256 for one in scenes]
    pixel_hashes = [one.pixel_sha256 for one in scenes]
    times = [one.time for one in scenes if one.time is not None]
    identity = _hash([text, *(one.id for one in scenes)])[:32]
    made = replace(
        first,
        id=f"scene:{identity}",
        subject=f"place:{identity}",
        time=min(times) if len(times) == len(scenes) else None,
        sha256=_hash(hashes) if all(hashes) else "",
        pixel_sha256=_hash([text, *pixel_hashes]) if all(pixel_hashes) else "",
        grid=layout.grid,
        group=f"{role} {depth}",
        files=tuple(file for one in scenes for file in files_of(one)),
        attributes=attributes,
    )
    return with_pass(made)


def files_of(scene: Acquisition) -> tuple[SourceFile, ...]:
    """The files that a scene is made of, in the order of its layout."""
    return scene.files or (SourceFile(name=scene.name, path=scene.path, sha256=scene.sha256),)


def _fits(one: Acquisition, other: Acquisition) -> bool:
    """True if two single-band scenes can be bands of one raster."""
    return (
        is_plain(one)
        and one.attributes["bands"].startswith("grey")
        and one.attributes["dtype"] == other.attributes["dtype"]
        and one.attributes["nodata"] == other.attributes["nodata"]
        and one.time == other.time
        and same_crs(one.grid.frame, other.grid.frame)
    )


def _is_same_ground(one: Polygon, other: Polygon) -> bool:
    return bool(one.symmetric_difference(other).area < 0.01 * other.area)


def _nodata(scene: Acquisition) -> float | None:
    return float(scene.attributes["nodata"]) if scene.attributes["nodata"] else None


def _origin(layout: Layout, first: Acquisition) -> str:
    if layout.nodata is None:
        return "none"
    return first.attributes["nodata_origin"] if _nodata(first) is not None else "STAC" if _stated(first) else "tag"


def _stated(scene: Acquisition) -> float | None:
    return float(scene.attributes["stac_nodata"]) if scene.attributes.get("stac_nodata") else None


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def lattice_offset(grid: Grid, other: Grid) -> tuple[int, int] | None:
    """Columns and rows by which `other` begins after `grid`; None if their pixels do not coincide."""
    same = np.allclose([grid.affine[i] for i in (0, 1, 3, 4)], [other.affine[i] for i in (0, 1, 3, 4)], rtol=1e-9)
    if not same or grid.affine[1] or grid.affine[3] or not same_crs(grid.frame, other.frame):
        return None
    offsets = (
        (other.affine[2] - grid.affine[2]) / grid.affine[0],
        (other.affine[5] - grid.affine[5]) / grid.affine[4],
    )
    whole = round(offsets[0]), round(offsets[1])
    return whole if all(abs(x - y) < 1e-3 for x, y in zip(offsets, whole, strict=True)) else None
