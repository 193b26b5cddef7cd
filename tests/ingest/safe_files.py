"""Small Sentinel-2 products in the folders, names and formats of the real ones (.SAFE, JPEG 2000)."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine

from tests.ingest.scene_files import NORTH, WEST, ground

#: Bands of each resolution folder of a level 2A product, and resolution of each band of a level 1C product.
L2A = {
    10: ("B02", "B03", "B04", "B08"),
    20: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12"),
    60: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B09", "B11", "B12", "B8A"),
}
L1C = {10: ("B02", "B03", "B04", "B08"), 20: ("B05", "B06", "B07", "B8A", "B11", "B12"), 60: ("B01", "B09", "B10")}

_METADATA = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-{level}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{level}.xsd">
<n1:General_Info><Product_Info>
<PRODUCT_START_TIME>{time}.024Z</PRODUCT_START_TIME>
<PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
<GENERATION_TIME>2023-06-01T14:00:00.000000Z</GENERATION_TIME>
<Datatake><SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME></Datatake>
</Product_Info></n1:General_Info>
<n1:Quality_Indicators_Info><Cloud_Coverage_Assessment>4.5</Cloud_Coverage_Assessment></n1:Quality_Indicators_Info>
</n1:Level-{level}_User_Product>
"""


def write_safe(
    root: Path, day: str, *, level: str = "2A", baseline: str = "05.09", seed: int = 0, side: int = 120
) -> dict[str, NDArray[Any]]:
    """Writes a product; gives its bands by name, each at its finest resolution.

    Args:
        root: Folder of the archive.
        day: Such as "20200501".
        level: "2A" or "1C".
        baseline: Of the processing.
        seed: Of the texture.
        side: Pixels of 10 m.
    """
    number = baseline.replace(".", "")
    stamp = f"{day}T101021"
    product = root / f"S2A_MSIL{level}_{stamp}_N{number}_R022_T33UUU_{day}T140000.SAFE"
    granule = product / "GRANULE" / f"L{level}_T33UUU_A025372_{stamp}"
    images = granule / "IMG_DATA"
    time = f"{day[:4]}-{day[4:6]}-{day[6:]}T10:10:21"
    for folder in (images, granule / "QI_DATA", product / "rep_info", product / "DATASTRIP"):
        folder.mkdir(parents=True)
    (product / f"MTD_MSIL{level}.xml").write_text(_METADATA.format(level=level, time=time, baseline=baseline))
    (product / "manifest.safe").write_text('<?xml version="1.0"?><xfdu:XFDU/>')
    (product / "INSPIRE.xml").write_text('<?xml version="1.0"?><gmd:MD_Metadata/>')
    (product / "rep_info" / "S2_User_Product.xsd").write_text('<?xml version="1.0"?><xs:schema/>')
    (granule / "MTD_TL.xml").write_text('<?xml version="1.0"?><n1:Tile_ID/>')
    written: dict[str, NDArray[Any]] = {}
    for pixel, names in (L2A if level == "2A" else L1C).items():
        folder = images / f"R{pixel}m" if level == "2A" else images
        tail = f"_{pixel}m" if level == "2A" else ""
        folder.mkdir(exist_ok=True)
        for name in names:
            shade = 1 + int(name[1:].strip("A")) / 20
            size = side * 10 // pixel
            values = np.round(ground(size, size, seed=seed) * 10 * shade + 1000).astype(np.uint16)
            write_jp2(folder / f"T33UUU_{stamp}_{name}{tail}.jp2", values, pixel)
            written.setdefault(name, values)
        if pixel == 10 or level == "2A":
            colours = np.round(ground(side * 10 // pixel, side * 10 // pixel, seed=seed)).astype(np.uint8)
            write_jp2(folder / f"T33UUU_{stamp}_TCI{tail}.jp2", np.stack([colours] * 3), pixel)
    quality = granule / "QI_DATA"
    clouds = np.zeros((side // 6, side // 6), dtype=np.uint8)
    clouds[:4, :4] = 1
    if level == "2A":
        write_jp2(images / "R20m" / f"T33UUU_{stamp}_SCL_20m.jp2", np.full((side // 2, side // 2), 4, np.uint8), 20)
        write_jp2(images / "R10m" / f"T33UUU_{stamp}_AOT_10m.jp2", np.full((side, side), 90, np.uint16), 10)
    write_jp2(quality / "MSK_CLASSI_B00.jp2", np.stack([clouds, np.zeros_like(clouds), np.zeros_like(clouds)]), 60)
    preview = np.full((3, 20, 20), 9, np.uint8)
    write_jp2(quality / f"T33UUU_{stamp}_PVI.jp2", preview, 320)
    return written


def write_jp2(path: Path, values: NDArray[Any], pixel: float) -> None:
    """A lossless JPEG 2000 of (H, W) or (C, H, W) values; like the real ones without nodata tag."""
    planes = values if values.ndim == 3 else values[None]
    profile: dict[str, Any] = {"QUALITY": 100, "REVERSIBLE": "YES", "YCBCR420": "NO", "YCC": "NO"}
    with rasterio.open(
        path,
        "w",
        driver="JP2OpenJPEG",
        height=planes.shape[1],
        width=planes.shape[2],
        count=planes.shape[0],
        dtype=planes.dtype.name,
        crs="EPSG:32633",
        transform=Affine(pixel, 0, WEST, 0, -pixel, NORTH),
        **profile,
    ) as out:
        out.write(planes)
