"""How does a rendered scene become a GeoTIFF?"""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.phantoms.scene import Rendered, render
from training.phantoms.scene_plan import PlannedScene

#: Reflectance of the brightest display value: a reader that shows 0 to 0.3 gets the rendered picture back.
FULL_REFLECTANCE: Final = 0.3
#: Digital number of reflectance 1.
DN_PER_REFLECTANCE: Final = 10_000
#: Near-infrared reflectance of what stands on the ground, and of the ground.
_NIR: Final = {"building": 0.20, "road": 0.18, "vegetation": 0.44, "water": 0.02, "bare soil": 0.27}
_NIR_GROUND: Final = 0.36
#: Band descriptions by coding.
BANDS: Final = {
    "rgb8": ("red", "green", "blue"),
    "reflectance16": ("blue", "green", "red", "nir"),
    "reflectance-signed": ("blue", "green", "red", "nir"),
}
_DTYPES: Final = {"rgb8": "uint8", "reflectance16": "uint16", "reflectance-signed": "int16"}
#: Width of a missing border and legs of a missing corner in shares of the scene's side; objects begin at 0.06.
_BORDER: Final = 0.012
_CORNER: Final = 0.085


def render_planned(scene: PlannedScene) -> Rendered:
    """The picture of a planned scene, without gaps, and the masks of its objects on its grid."""
    rng = np.random.default_rng(scene.seed)
    return render(scene.background, scene.objects, rng, size=scene.size, offset=scene.offset, window=scene.window)


def valid_mask(scene: PlannedScene) -> NDArray[np.bool_]:
    """(H, W), False where the scene shows no ground: along one border, beyond two opposite corners, or both."""
    height, width = scene.size
    rows = ((np.arange(height) + 0.5) / height)[:, None]
    columns = ((np.arange(width) + 0.5) / width)[None, :]
    # The seed also says which side: north or west, mirrored or not.
    if scene.seed % 2:
        columns = 1 - columns
    valid = np.ones(scene.size, dtype=np.bool_)
    if scene.gap in ("border", "both"):
        valid &= (rows if scene.seed % 4 < 2 else columns) > _BORDER
    if scene.gap in ("corners", "both"):
        valid &= rows + columns > _CORNER
        valid &= rows + columns < 2 - _CORNER
    return valid


def encode(scene: PlannedScene, picture: Rendered) -> NDArray[Any]:
    """Stored values (bands, H, W) of the picture in the scene's coding, nodata filled in where there is no ground."""
    if scene.coding == "rgb8":
        stored = np.rint(picture.values * 255)
        low, high = 0, 255
    else:
        light = picture.values.mean(0)
        nir = np.full(scene.size, _NIR_GROUND, dtype=np.float32)
        for (finding, _), mask in picture.masks.items():
            nir[mask] = _NIR[finding]
        reflectance = np.concatenate([picture.values[::-1] * FULL_REFLECTANCE, (nir * (0.75 + 0.5 * light))[None]])
        stored = np.rint(reflectance * DN_PER_REFLECTANCE)
        low, high = 0, DN_PER_REFLECTANCE
    if scene.nodata is not None:
        # A dark or bright pixel of the ground must not read as nodata.
        low, high = low + (scene.nodata == low), high - (scene.nodata == high)
    stored = np.clip(stored, low, high)
    stored[:, ~valid_mask(scene)] = 0 if scene.nodata is None else scene.nodata
    return stored.astype(_DTYPES[scene.coding])


def write_scene(path: Path, scene: PlannedScene, stored: NDArray[Any], *, crs: bool = True, dated: bool = True) -> None:
    """Writes the stored values as a GeoTIFF; equal arguments give equal bytes.

    Args:
        path: The file; its folder must exist.
        scene: Grid, coding, layout and date.
        stored: (bands, H, W) as `encode` gives them.
        crs: Whether the file says which CRS its coordinates are in.
        dated: Whether a date belonging into the file's tags is written.
    """
    import rasterio
    import rasterio.shutil
    from rasterio.io import MemoryFile

    layout: dict[str, Any] = {"driver": "GTiff", "compress": scene.compress, "predictor": 2, "interleave": "pixel"}
    if scene.layout == "tiles":
        layout |= {"tiled": True, "blockxsize": 128, "blockysize": 128}
    elif scene.layout == "cog":
        layout = {"driver": "COG", "compress": scene.compress, "predictor": "YES", "blocksize": 128}
    profile: dict[str, Any] = {
        "count": len(stored),
        "height": scene.size[0],
        "width": scene.size[1],
        "dtype": _DTYPES[scene.coding],
        "crs": scene.crs if crs else None,
        "transform": rasterio.Affine(*scene.affine),
        "nodata": scene.nodata,
        "photometric": "RGB" if scene.coding == "rgb8" else "MINISBLACK",
    }
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        if scene.layout == "cog":
            with MemoryFile() as memory:
                with memory.open(driver="GTiff", **profile) as target:
                    _fill(target, scene, stored, dated=dated)
                with memory.open() as source:
                    rasterio.shutil.copy(source, path, **layout)
        else:
            with rasterio.open(path, "w", **profile, **layout) as target:
                _fill(target, scene, stored, dated=dated)


def _fill(target: Any, scene: PlannedScene, stored: NDArray[Any], *, dated: bool) -> None:
    target.descriptions = BANDS[scene.coding]
    if dated and scene.date_source == "tag":
        target.update_tags(TIFFTAG_DATETIME=f"{scene.time:%Y:%m:%d %H:%M:%S}")
    if dated and scene.date_source == "imagery":
        target.update_tags(ns="IMAGERY", ACQUISITIONDATETIME=f"{scene.time:%Y-%m-%d %H:%M:%S}")
    target.write(stored)
    if scene.internal_mask:
        target.write_mask(valid_mask(scene))
