"""A pair of 10,000 x 10,000 pixels in neighbouring UTM zones, four bands of 16 bits.

`python -m tests.ingest.large_pair FOLDER` indexes, pairs, aligns and cuts into chips what is there, and prints as JSON
what that took.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import Affine
from rasterio.warp import transform

from tests.ingest.scene_files import ground

SIDE = 10_000
BANDS = ("blue", "green", "red", "nir")
PRIOR, CURRENT = "prior_20200101.tif", "current_20210101.tif"


def write_large_pair(folder: Path, *, side: int = SIDE) -> tuple[Path, Path]:
    """Writes both scenes; their ground is turned by 4.6 degrees against each other, and shared but for the corners."""
    (x,), (y,) = transform("EPSG:32633", "EPSG:32634", [650_000.0 + 2_000], [5_500_000.0 - 3_000])
    prior = Affine(10, 0, 650_000, 0, -10, 5_500_000)
    current = Affine(10, 0, round(x, -1), 0, -10, round(y, -1))
    write_large(folder / PRIOR, "EPSG:32633", prior, seed=1, side=side)
    write_large(folder / CURRENT, "EPSG:32634", current, seed=2, side=side)
    return folder / PRIOR, folder / CURRENT


def write_large(path: Path, crs: str, affine: Affine, *, seed: int, side: int = SIDE) -> None:
    """A scene of one texture, mirrored again and again, with noise, so that it does not compress too well."""
    texture = (ground(1000, 1000, seed=seed) * 12).astype(np.uint16)
    texture = np.block([[texture, texture[:, ::-1]], [texture[::-1], texture[::-1, ::-1]]])
    noise = np.random.default_rng(seed).integers(0, 60, (2000, side), dtype=np.uint16)
    options = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1, "predictor": 2}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=side,
        width=side,
        count=len(BANDS),
        dtype="uint16",
        crs=crs,
        transform=affine,
        nodata=0,
        num_threads=2,
        **options,
    ) as out:
        out.descriptions = BANDS
        for top in range(0, side, 2000):
            rows = min(2000, side - top)
            wide = np.tile(texture, (1, -(-side // 2000)))[:rows, :side]
            for band in range(len(BANDS)):
                values = wide + np.roll(noise[:rows], 97 * band + top, axis=1) + np.uint16(100 * band + 50)
                out.write(values, band + 1, window=((top, top + rows), (0, side)))


def main(folder: Path) -> None:
    """Prints seconds of each step, chips that are clear, and the most memory in bytes."""
    from ingest.align import align_pair
    from ingest.chips import iter_chips
    from ingest.index import index_archive
    from ingest.pair import pair_acquisitions

    started = time.perf_counter()
    index = index_archive(folder, workers=0)
    (pair,) = pair_acquisitions(index.acquisitions).pairs
    indexed = time.perf_counter()
    aligned = align_pair(pair)
    done = time.perf_counter()
    n_clear = sum(chip.is_clear for chip in iter_chips(aligned, size=512))
    print(
        json.dumps(
            {
                "index": indexed - started,
                "align": done - indexed,
                "chips": time.perf_counter() - done,
                "clear": n_clear,
                "shape": aligned.native.grid.shape if aligned.native else aligned.current.grid.shape,
                "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
