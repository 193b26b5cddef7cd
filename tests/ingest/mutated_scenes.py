"""Damaged copies of real and generated scenes and their descriptions, and a process that indexes them under a limit.

As a program: `python -m tests.ingest.mutated_scenes FOLDER FIRST LAST WORK` indexes the copies with these numbers, one
a folder below WORK, and prints one line of JSON before and one after each.
"""

import json
import random
import resource
import shutil
import sys
import time
from pathlib import Path

#: Address space, in bytes, that reading any one file may add to a process that has all readers loaded.
ALLOWANCE = 2 * 2**30
#: Real files and made ones, by kind; every kind is as likely as any other.
KINDS = ("small tiff", "tiff", "jp2", "stac", "vrt", "metadata")
_LENGTHS = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff\xff", b"\0\0")
_WORDS = (
    '"/etc/passwd"', '"file:///etc/passwd"', '"../../../../etc/passwd"', '"http://127.0.0.1:9/a.tif"',
    '"/vsicurl/http://127.0.0.1:9/a.tif"', "null", "-1", "1e308", "[]", "{}", '""', "999999999999", "true", "NaN",
    '"2020-13-45T99:99:99Z"', '"\\u0000"', "[" * 500,
)  # fmt: skip


def write_originals(shared: Path, folder: Path) -> None:
    """Undamaged files of each kind: COG and plain layouts with overviews, masks and several types, and real ones."""
    import numpy as np
    import rasterio

    from tests.ingest.scene_files import ground, write_scene
    from tests.ingest.stac_files import write_item

    satellite = shared / "satellite"
    small = folder / "small tiff"
    values = ground(96, 80)
    values[:, :20] = 0
    write_scene(small / "strips_2020-05-01.tif", values, nodata=0, compress="deflate")
    write_scene(
        small / "tiles_2020-05-01.tif", values, nodata=0, tiled=True, blockxsize=32, blockysize=32, compress="lzw"
    )
    write_scene(small / "plain_2020-05-01.tif", values * 100, dtype="uint16", nodata=0)
    write_scene(small / "float_2020-05-01.tif", values, dtype="float32", predictor=3, compress="zstd")
    write_scene(small / "big_2020-05-01.tif", values, BIGTIFF="YES", photometric="ycbcr", compress="jpeg")
    masked = write_scene(small / "mask_2020-05-01.tif", values)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(masked, "r+") as out:
        out.write_mask((values > 0).astype(np.uint8) * 255)
        out.build_overviews([2, 4])
    (folder / "tiff").mkdir()
    (folder / "jp2").mkdir()
    for name in (
        "cbers4_awfi/CBERS-4_AWFI_B16_2017-11-01.tif", "s2_barbellino/S2A2A_20170703_022_Barbellino_BOA_10.tif",
        "landsat_montreal/mosaic_cog3.tif", "landsat_dateline/cog_dateline.tif",
    ):  # fmt: skip
        shutil.copyfile(satellite / name, folder / "tiff" / Path(name).name)
    shutil.copyfile(
        satellite / "s2_t33uuu/T33UUU_20170216T102101_B8A.jp2", folder / "jp2/T33UUU_20170216T102101_B8A.jp2"
    )
    for name in ("stac", "vrt", "metadata"):
        write_item(folder / name, "S2A_33UUU_20200501_0_L2A", size=32, platform="sentinel-2a")
    for path in (satellite / "stac").iterdir():
        shutil.copyfile(path, folder / "stac" / path.name)
    sources = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{number}"><SimpleSource><SourceFilename relativeToVRT="1">'
        f"S2A_33UUU_20200501_0_L2A_{band}.tif</SourceFilename><SourceBand>1</SourceBand>"
        '<SrcRect xOff="0" yOff="0" xSize="32" ySize="32"/><DstRect xOff="0" yOff="0" xSize="32" ySize="32"/>'
        "</SimpleSource></VRTRasterBand>"
        for number, band in enumerate(("B04", "B03", "B02"), start=1)
    )
    (folder / "vrt" / "a.vrt").write_text(
        '<VRTDataset rasterXSize="32" rasterYSize="32"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>400000, 10, 0, 5800000, 0, -10</GeoTransform>{sources}</VRTDataset>"
    )
    (folder / "metadata" / "MTD_MSIL2A.xml").write_text(
        "<a><PRODUCT_START_TIME>2020-05-01T10:00:00Z</PRODUCT_START_TIME><PROCESSING_BASELINE>05.00"
        "</PROCESSING_BASELINE><SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME></a>"
    )
    (folder / "metadata" / "dates.csv").write_text("name,datetime\nS2A_33UUU_20200501_0_L2A_B04.tif,2020-05-01\n")


def damage(content: bytes, chance: random.Random, *, is_text: bool) -> bytes:
    """A damaged copy; where the content is text, some damages leave it well formed."""
    mutable = bytearray(content)
    header = min(len(mutable) - 4, 3000)
    kind = chance.choice(("bytes", "bits", "cut", "length", "moved", "ends") + ("words",) * 6 * is_text)
    if kind == "words":
        text = content.decode("utf-8", "replace")
        for _ in range(chance.choice((1, 2, 5))):
            spots = [at for at, letter in enumerate(text) if letter in ':>",']
            at = chance.choice(spots)
            end = min((spot for spot in (text.find(stop, at + 2) for stop in ',}<"\n') if spot > 0), default=at + 5)
            text = text[: at + 1] + chance.choice(_WORDS) + text[end:]
        return text.encode("utf-8")
    if kind == "bytes":
        for _ in range(chance.choice((1, 3, 10, 100))):
            mutable[chance.randrange(len(mutable))] = chance.randrange(256)
    elif kind == "bits":
        for _ in range(chance.choice((1, 2, 5))):
            mutable[chance.randrange(header)] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del mutable[chance.randrange(len(mutable)) :]
    elif kind == "length":
        length, at = chance.choice(_LENGTHS), chance.randrange(header)
        mutable[at : at + len(length)] = length
    elif kind == "moved":
        at, count = chance.randrange(len(mutable)), chance.randrange(1, 500)
        if chance.random() < 0.5:
            del mutable[at : at + count]
        else:
            mutable[at:at] = chance.randbytes(count)
    else:
        # GDAL writes the directory of some layouts behind the pixels.
        for _ in range(chance.choice((1, 2, 5))):
            mutable[-1 - chance.randrange(min(len(mutable), 3000))] = chance.randrange(256)
    return bytes(mutable)


def main(originals: Path, first: int, last: int, work: Path) -> None:
    import pystac
    import rasterio

    from ingest.geotiff.environment import gdal_environment
    from ingest.geotiff.layout import open_scene
    from ingest.index import index_archive

    loaded = (pystac, rasterio)
    index_archive(originals / "stac", workers=0)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ALLOWANCE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for number in range(first, last):
        chance = random.Random(number)
        kind = KINDS[number % len(KINDS)]
        root = work / str(number)
        shutil.copytree(originals / kind, root) if kind in ("vrt", "metadata") else root.mkdir(parents=True)
        is_text = kind in ("stac", "vrt", "metadata")
        choices = [one for one in (originals / kind).iterdir() if not is_text or one.suffix != ".tif"]
        chosen = chance.choice(sorted(choices))
        content = damage(chosen.read_bytes(), chance, is_text=is_text)
        (root / chosen.name).write_bytes(content)
        if kind == "stac":
            for path in (originals / kind).glob("*_B0*.tif"):
                if not (root / path.name).exists():
                    shutil.copyfile(path, root / path.name)
        print(json.dumps({"number": number, "name": chosen.name, "readers": len(loaded)}), flush=True)
        started = time.perf_counter()
        outcomes = set()
        found = index_archive(root, workers=0)
        accounted = found.files_used + len(found.sidecars) + sum(one.level == "file" for one in found.refusals)
        outcomes |= {one.code for one in found.refusals}
        unforeseen = [one.reason for one in found.refusals if "unforeseen" in one.reason]
        for scene in found.acquisitions:
            outside = [path for path in (scene.path, *(file.path for file in scene.files)) if root not in path.parents]
            if outside:
                outcomes.add("OUTSIDE")
            with gdal_environment():
                try:
                    with open_scene(scene) as src:
                        src.read(1, out_shape=(8, 8))
                except rasterio.errors.RasterioError:
                    outcomes.add("NOT_READ")
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        line = {
            "number": number, "name": chosen.name, "kind": kind, "outcomes": sorted(outcomes), "seconds": seconds,
            "peak_kb": peak, "scenes": len(found.acquisitions), "lost": found.files_seen - accounted,
            "unforeseen": unforeseen,
        }  # fmt: skip
        print(json.dumps(line), flush=True)
        shutil.rmtree(root)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
