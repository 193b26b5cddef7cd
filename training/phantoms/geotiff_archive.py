"""Which files make up the sample archive of scenes, and what is known about them?"""

import csv
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Final

from reports.labels import LabelledPair, write_labels
from reports.vocabulary import Domain
from training.phantoms.scene import findings_between
from training.phantoms.scene_geotiff import encode, render_planned, write_scene
from training.phantoms.scene_plan import PlannedScene, plan_archive

#: Folder of the files that give no scene; it comes after the regions in the order of names.
AWKWARD_FOLDER: Final = "unsorted"


def write_geotiff_archive(root: Path, *, places: int = 40, seed: int) -> Path:
    """Writes a sample archive of GeoTIFF scenes and gives the path of its labels, `root/labels.csv`.

    Scenes of a place are found by their footprints alone: names and folders do not tell. `root/awkward.csv` lists, as
    (name, expected_code), further files that an index must refuse. The same seed gives the same bytes.

    Args:
        root: Folder of the archive; made when missing, must be empty.
        places: Number of places, each with two to four scenes.
        seed: Seed of everything.

    Raises:
        FileExistsError: `root` already holds something.
        ValueError: `places` is below 1 or beyond what the lattices hold.
    """
    scenes = plan_archive(places=places, seed=seed)
    root.mkdir(parents=True, exist_ok=True)
    if any(root.iterdir()):
        raise FileExistsError(f"{root.name} is not empty; give a new folder for the archive.")
    for scene in scenes:
        path = root / scene.name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_scene(path, scene, encode(scene, render_planned(scene)))
    with (root / "awkward.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "expected_code"))
        writer.writerows(_write_awkward(root, scenes))
    labels = root / "labels.csv"
    write_labels(labels, labelled_pairs(scenes))
    return labels


def labelled_pairs(scenes: Sequence[PlannedScene]) -> Iterator[LabelledPair]:
    """Each scene that has an earlier one of its place, with the latest such one and what changed between them."""
    for prior, current in pairwise(scenes):
        if prior.place == current.place:
            yield LabelledPair(
                domain=Domain.SATELLITE,
                prior_name=prior.name,
                current_name=current.name,
                findings=findings_between(prior.objects, current.objects),
            )


def _write_awkward(root: Path, scenes: Sequence[PlannedScene]) -> Iterator[tuple[str, str]]:
    """Writes files that no index may take for a scene; gives name and reason code of each."""
    folder = root / AWKWARD_FOLDER
    folder.mkdir()
    # A picture of its own for each, so that none of them is a duplicate of another.
    model = replace(scenes[0], date_source="tag", layout="strips", gap="none", nodata=None, internal_mask=False)

    whole = replace(model, seed=model.seed + 1)
    path = folder / "img_cut_short.tif"
    write_scene(path, whole, encode(whole, render_planned(whole)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    yield f"{AWKWARD_FOLDER}/{path.name}", "TRUNCATED"

    nowhere = replace(model, seed=model.seed + 2)
    path = folder / "img_nowhere.tif"
    write_scene(path, nowhere, encode(nowhere, render_planned(nowhere)), crs=False)
    yield f"{AWKWARD_FOLDER}/{path.name}", "NO_CRS"

    undated = replace(model, seed=model.seed + 3)
    path = folder / "img_undated.tif"
    write_scene(path, undated, encode(undated, render_planned(undated)), dated=False)
    yield f"{AWKWARD_FOLDER}/{path.name}", "DATE_UNKNOWN"

    path = folder / "readme.tif"
    path.write_text("The scenes of this delivery are in the folders of their regions.\n", encoding="utf-8")
    yield f"{AWKWARD_FOLDER}/{path.name}", "NOT_A_RASTER"

    # The date of the original stands in its tags, where there is such a scene: then the copy's name is plainly wrong.
    original = next((scene for scene in scenes if scene.date_source != "name"), scenes[0])
    path = folder / f"ortho_copy_{original.time.replace(year=original.time.year + 1, day=1):%Y-%m-%d}.tif"
    shutil.copyfile(root / original.name, path)
    yield f"{AWKWARD_FOLDER}/{path.name}", "DUPLICATE"
