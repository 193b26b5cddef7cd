"""How fast are 5,000 small COGs indexed, the first time and again, beside a plain loop of `rasterio.open`?

Ratios are measured in one run. What one process does is also given in processor time, which other work on the machine
changes little.
"""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from ingest.gather import gather
from ingest.index import refresh
from services.catalogue import DatabaseCatalogue
from services.database import Database
from services.schema import upgrade_database
from tests.ingest.scene_files import ground

pytestmark = pytest.mark.benchmark

FILES = 5000
#: Files of one folder, and files that differ by more than their place and date.
A_FOLDER, TEXTURES = 100, 20


def write_cogs(root: Path) -> None:
    """COGs of 512 x 512 x 3 uint16 with a tag for nodata and overviews, on a lattice of places at several dates."""
    blocks = [np.round(ground(512, 512, seed=seed) * 40).astype(np.uint16) for seed in range(TEXTURES)]
    for values in blocks:
        values[:, :40] = 0
    for number in range(FILES):
        place, date = divmod(number, 10)
        folder = root / f"{number // A_FOLDER:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"scene_{place:04d}_20{10 + date}-05-01.tif"
        if number >= TEXTURES:
            # a copy with another place: writing 5,000 COGs would take longer than everything that is measured
            shutil.copyfile(
                root / "000" / f"scene_{(number % TEXTURES) // 10:04d}_20{10 + number % 10}-05-01.tif", path
            )
        else:
            profile = {"crs": "EPSG:32633", "nodata": 0, "compress": "deflate", "overview_resampling": "average"}
            transform = Affine(10, 0, 400_000, 0, -10, 5_800_000)
            size = {"height": 512, "width": 512, "count": 3, "dtype": "uint16", "blocksize": 256}
            with rasterio.open(path, "w", driver="COG", transform=transform, **profile, **size) as out:
                out.write(np.repeat(blocks[number][None], 3, axis=0))
    for number, path in enumerate(sorted(root.rglob("*.tif"))):
        with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as out:
            place = number // 10
            out.transform = Affine(10, 0, 400_000 + 6000 * (place % 25), 0, -10, 5_800_000 - 6000 * (place // 25))


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Time that passed, and processor time of this process."""
    started, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - used


def test_5000_cogs_beside_a_plain_loop_of_rasterio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "archive"
    write_cogs(root)
    # Files that changed a moment ago would be read again by the next index.
    time.sleep(2.1)
    files = sorted(root.rglob("*.tif"))
    assert len(files) == FILES

    def loop() -> None:
        for path in files:
            with rasterio.open(path) as src:
                assert src.crs is not None
                assert src.tags() is not None

    def catalogue(name: str) -> DatabaseCatalogue:
        database = Database(f"sqlite:///{tmp_path / name}")
        upgrade_database(database)
        return DatabaseCatalogue(database, "a")

    def index(into: DatabaseCatalogue, workers: int) -> tuple[float, float]:
        return seconds(lambda: refresh(root, into, domain=None, workers=workers, pixels=False))

    loop()
    alone, alone_used = seconds(loop)
    one, two = catalogue("one"), catalogue("two")
    (first, first_used), (parallel, _) = index(one, 0), index(two, 2)
    again, again_used = index(one, 0)
    changed = files[:: FILES // 50]
    for path in changed:
        path.touch()
    _, some_used = index(one, 0)
    _, gathered = seconds(lambda: list(gather(one, root, domain=None)))

    with capsys.disabled():
        print(f"\n{FILES} COGs, time that passed: rasterio.open alone {FILES / alone:.0f} files/s,")
        print(f"    index in one process {FILES / first:.0f}, in two {FILES / parallel:.0f}, again {FILES / again:.0f}")
        print(f"processor time a file: rasterio.open alone {1000 * alone_used / FILES:.2f} ms,")
        print(f"    index {1000 * first_used / FILES:.2f} ms, {first_used / alone_used:.1f} times as much,")
        print(f"    again {1000 * again_used / FILES:.3f} ms, {alone_used / again_used:.0f} times less than alone,")
        print(f"    {first_used / again_used:.0f} times less than the first")
        print(f"again with {len(changed)} files changed: {some_used:.2f} s, the first {first_used:.2f} s")
        print(f"scenes put together from the database: {gathered:.1f} s")
    assert sum(1 for _ in one.records()) == FILES
