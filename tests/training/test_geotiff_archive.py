"""Do the files of the sample archive hold what its labels say, on the ground that they say?"""

import csv
import json
import re
from collections import Counter
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from rasterio.errors import RasterioIOError
from rasterio.rio.main import main_group
from rasterio.warp import transform

from reports.labels import read_labels
from training.phantoms.geotiff_archive import AWKWARD_FOLDER, labelled_pairs, write_geotiff_archive
from training.phantoms.scene import ObjectState, Rendered, findings_between
from training.phantoms.scene_geotiff import BANDS, FULL_REFLECTANCE, encode, render_planned, valid_mask
from training.phantoms.scene_plan import MOST_PLACES, plan_archive

PLACES, SEED = 18, 7
METRIC = {"EPSG:4326": "EPSG:32633"}  # the only geographic region lies in zone 33 north


@pytest.fixture(scope="module")
def scenes():
    return plan_archive(places=PLACES, seed=SEED)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes") / "archive"
    assert write_geotiff_archive(root, places=PLACES, seed=SEED) == root / "labels.csv"
    return root


def files_below(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def recorded_time(path: Path) -> datetime:
    """The time as a stranger would read it: from the tags, else from the name."""
    with rasterio.open(path) as source:
        imagery, tags = source.tags(ns="IMAGERY"), source.tags()
    if "ACQUISITIONDATETIME" in imagery:
        return datetime.strptime(imagery["ACQUISITIONDATETIME"], "%Y-%m-%d %H:%M:%S")
    if "TIFFTAG_DATETIME" in tags:
        return datetime.strptime(tags["TIFFTAG_DATETIME"], "%Y:%m:%d %H:%M:%S")
    year, month, day = re.search(r"(20\d\d)-?(\d\d)-?(\d\d)", path.name).groups()
    return datetime(int(year), int(month), int(day))


def ground(path: Path) -> tuple[float, float, float, float]:
    """West, south, east, north in metres, for footprints of one region."""
    with rasterio.open(path) as source:
        crs, (west, south, east, north) = source.crs, source.bounds
    xs, ys = transform(crs, METRIC.get(crs.to_string(), crs), [west, west, east, east], [south, north, south, north])
    return min(xs), min(ys), max(xs), max(ys)


def shared_area(one, other) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0) * max(height, 0)


def metric_points(dataset, mask: np.ndarray) -> np.ndarray:
    """(n, 2) eastings and northings of the centres of the pixels of a mask."""
    rows, columns = np.nonzero(mask)
    xs, ys = rasterio.transform.xy(dataset.transform, rows, columns)
    if dataset.crs.to_string() in METRIC:
        xs, ys = transform(dataset.crs, METRIC[dataset.crs.to_string()], xs, ys)
    return np.stack([xs, ys], axis=1)


def test_every_file_is_a_scene_an_awkward_file_or_a_table(archive, scenes):
    expected = [scene.name for scene in scenes] + ["awkward.csv", "labels.csv"]
    with (archive / "awkward.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["expected_code"] for row in rows] == [
        "TRUNCATED",
        "NO_CRS",
        "DATE_UNKNOWN",
        "NOT_A_RASTER",
        "DUPLICATE",
    ]
    assert files_below(archive) == sorted(expected + [row["name"] for row in rows])


def test_labels_hold_each_scene_with_the_latest_earlier_scene_of_its_footprint(archive, scenes):
    """Regroups the scenes from what stands in the files alone."""
    boxes = {scene.name: ground(archive / scene.name) for scene in scenes}
    times = {name: recorded_time(archive / name) for name in boxes}
    region = {scene.name: scene.crs for scene in scenes}
    groups: list[list[str]] = []
    for name in sorted(boxes, key=lambda name: times[name]):
        own = [
            group
            for group in groups
            if region[group[0]] == region[name] and shared_area(boxes[group[0]], boxes[name]) > 0
        ]
        assert len(own) <= 1
        if own:
            own[0].append(name)
        else:
            groups.append([name])
    assert len(groups) == PLACES
    assert {len(group) for group in groups} == {2, 3, 4}
    labels = read_labels(archive / "labels.csv")
    assert set(labels.by_name) == {pair for group in groups for pair in pairwise(group)}


def test_labelled_findings_are_those_of_the_planned_objects(archive, scenes):
    planned = {scene.name: scene for scene in scenes}
    labels = read_labels(archive / "labels.csv")
    for (prior, current), pair in labels.by_name.items():
        assert pair.findings == findings_between(planned[prior].objects, planned[current].objects)
    assert any(not pair.findings for pair in labels.pairs)


def test_scenes_of_a_place_share_at_least_85_percent_of_their_valid_ground(archive, scenes):
    for prior, current in pairs_of(scenes):
        with rasterio.open(archive / prior.name) as old, rasterio.open(archive / current.name) as new:
            both, _ = overlap(old, new)
            assert both.sum() >= 0.85 * new.width * new.height
            both, _ = overlap(new, old)
            assert both.sum() >= 0.85 * old.width * old.height


def pairs_of(scenes):
    return [
        (one, other) for one, other in combinations(scenes, 2) if one.place == other.place
    ]  # all pairs, not only those labelled


def overlap(prior, current) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of the current that are valid in both, and the metric box (2, 2) of their centres."""
    valid = current.dataset_mask() > 0
    rows, columns = np.indices(valid.shape)
    xs, ys = rasterio.transform.xy(current.transform, rows.ravel(), columns.ravel())
    where = np.array(rasterio.transform.rowcol(prior.transform, xs, ys)).astype(int)
    inside = (where >= 0).all(0) & (where[0] < prior.height) & (where[1] < prior.width)
    seen = np.zeros(valid.size, dtype=bool)
    seen[inside] = (prior.dataset_mask() > 0)[where[0][inside], where[1][inside]]
    both = valid & seen.reshape(valid.shape)
    points = metric_points(current, both)
    return both, np.array([points.min(0), points.max(0)])


def test_every_object_lies_in_its_labelled_quadrant_of_the_common_valid_ground(archive, scenes):
    checked = 0
    for prior, current in pairs_of(scenes):
        with rasterio.open(archive / prior.name) as old, rasterio.open(archive / current.name) as new:
            _, box = overlap(old, new)
            middle, side = box.mean(0), box[1] - box[0]
            for dataset, scene in ((old, prior), (new, current)):
                for (_, place), mask in render_planned(scene).masks.items():
                    offsets = (metric_points(dataset, mask) - middle) / side
                    northern, western = place.startswith("north"), place.endswith("west")
                    assert (offsets[:, 1] > 0).all() == northern
                    assert (offsets[:, 1] < 0).all() == (not northern)
                    assert (offsets[:, 0] < 0).all() == western
                    assert (offsets[:, 0] > 0).all() == (not western)
                    assert np.abs(offsets).max() < 0.49
                    checked += 1
    assert checked > 100


def test_object_that_stays_is_at_the_same_coordinates_at_both_dates(archive, scenes):
    """To a pixel of the coarser scene: the planned registration error is smaller."""
    resolutions = set()
    for prior, current in pairs_of(scenes):
        with rasterio.open(archive / prior.name) as old, rasterio.open(archive / current.name) as new:
            before, after = render_planned(prior).masks, render_planned(current).masks
            kept = {(state.finding, state.place) for state in set(prior.objects) & set(current.objects)}
            for key in kept:
                ends = [
                    np.array([points.min(0), points.max(0)])
                    for points in (metric_points(old, before[key]), metric_points(new, after[key]))
                ]
                coarse = max(
                    (box[2] - box[0]) / dataset.width
                    for box, dataset in ((ground(archive / prior.name), old), (ground(archive / current.name), new))
                )
                assert np.abs(ends[0] - ends[1]).max() <= 1.9 * coarse
                resolutions.add(round(prior.affine[0] / current.affine[0], 2))
    assert len(resolutions) > 1


@pytest.mark.parametrize("nodata", [0.0, 255.0])
def test_darkest_and_brightest_ground_never_reads_as_nodata(scenes, nodata):
    scene = replace(next(scene for scene in scenes if scene.coding == "rgb8"), nodata=nodata, gap="corners")
    values = np.zeros((3, *scene.size), dtype=np.float32)
    values[:, ::2] = 1
    stored = encode(scene, Rendered(values=values, masks={}))
    valid = valid_mask(scene)
    assert not (stored[:, valid] == nodata).any()
    assert (stored[:, ~valid] == nodata).all()
    assert (~valid).any()


def test_reading_back_gives_the_rendered_picture_where_the_scene_is_valid(archive, scenes):
    for scene in scenes:
        picture = render_planned(scene).values
        with rasterio.open(archive / scene.name) as source:
            stored, valid = source.read(), source.dataset_mask() > 0
            assert source.descriptions == BANDS[scene.coding]
            assert source.crs.to_string() == scene.crs
            assert tuple(source.transform)[:6] == pytest.approx(scene.affine, rel=1e-12)
        expected = valid_mask(scene) if scene.gap != "none" else np.ones(scene.size, dtype=bool)
        np.testing.assert_array_equal(valid, expected)
        if scene.coding == "rgb8":
            shown, step = stored / 255, 1 / 255
        else:
            shown, step = stored[2::-1] / (10_000 * FULL_REFLECTANCE), 1 / 3000
        assert np.abs(shown - picture)[:, valid].max() <= 1.01 * step


@pytest.mark.parametrize("coding", ["reflectance16", "reflectance-signed"])
def test_near_infrared_is_high_over_vegetation_and_low_over_water(scenes, coding):
    objects = tuple(
        ObjectState(finding=kind, place=place, grade=3, slot="whole", seed=1)
        for kind, place in (("vegetation", "north-west"), ("water", "south-east"))
    )
    scene = replace(scenes[0], coding=coding, nodata=None, gap="none", objects=objects)
    picture = render_planned(scene)
    stored = encode(scene, picture).astype(float)
    red, nir = (stored[BANDS[coding].index(name)] for name in ("red", "nir"))
    index = (nir - red) / (nir + red)
    assert np.median(index[picture.masks["vegetation", "north-west"]]) > 0.6
    assert np.median(index[picture.masks["water", "south-east"]]) < 0


def test_rio_info_reads_every_scene(archive, scenes):
    runner = CliRunner()
    for scene in scenes:
        result = runner.invoke(main_group, ["info", str(archive / scene.name)])
        assert result.exit_code == 0, result.output
        info = json.loads(result.output)
        assert info["crs"] == scene.crs
        assert tuple(info["shape"]) == scene.size
        assert info["nodata"] == scene.nodata
        assert info["compress"] == scene.compress.lower()
        assert info["tiled"] == (scene.layout != "strips")


def test_recorded_time_is_the_planned_one_to_the_precision_of_its_source(archive, scenes):
    for scene in scenes:
        found = recorded_time(archive / scene.name)
        if scene.date_source == "name":
            assert found.date() == scene.time.date()
        else:
            assert found == scene.time
            assert not re.search(r"20\d\d", Path(scene.name).name)


def test_awkward_files_are_what_they_are_listed_as(archive, scenes):
    with (archive / "awkward.csv").open(newline="") as file:
        by_code = {row["expected_code"]: archive / row["name"] for row in csv.DictReader(file)}
    with rasterio.open(by_code["TRUNCATED"]) as source, pytest.raises(RasterioIOError):
        source.read()
    with rasterio.open(by_code["NO_CRS"]) as source:
        assert source.crs is None
        assert source.tags()["TIFFTAG_DATETIME"]
        source.read()
    with rasterio.open(by_code["DATE_UNKNOWN"]) as source:
        assert source.crs
        assert "TIFFTAG_DATETIME" not in source.tags()
        assert not source.tags(ns="IMAGERY")
        source.read()
    assert not re.search(r"\d", by_code["DATE_UNKNOWN"].name)
    with pytest.raises(RasterioIOError):
        rasterio.open(by_code["NOT_A_RASTER"])
    copy = by_code["DUPLICATE"]
    equal = [scene for scene in scenes if (archive / scene.name).read_bytes() == copy.read_bytes()]
    assert len(equal) == 1
    assert equal[0].time.strftime("%Y-%m-%d") not in copy.name
    assert all(path.parent.name == AWKWARD_FOLDER for path in by_code.values())


def test_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    def hashes(name: str, seed: int) -> dict[str, str]:
        root = tmp_path / name
        write_geotiff_archive(root, places=6, seed=seed)
        return {file: sha256((root / file).read_bytes()).hexdigest() for file in files_below(root)}

    first = hashes("first", 11)
    assert hashes("again", 11) == first
    assert not set(hashes("other", 12).values()) & set(first.values()) - {
        first[f"{AWKWARD_FOLDER}/readme.tif"],
        first["awkward.csv"],
    }


def test_forty_places_bring_every_variation():
    scenes = plan_archive(places=40, seed=1)
    for field in ("coding", "layout", "compress", "gap", "date_source", "crs", "internal_mask", "nodata"):
        share = Counter(getattr(scene, field) for scene in scenes)
        assert len(share) == {"crs": 6, "gap": 4, "internal_mask": 2, "nodata": 4, "compress": 2}.get(field, 3), share
    assert Counter(scene.coding for scene in scenes)["rgb8"] > 0.5 * len(scenes)
    assert all(100 < side < 300 for scene in scenes for side in scene.size)
    pairs = list(pairs_of(scenes))
    assert any(one.affine[0] != other.affine[0] for one, other in pairs)
    on_lattice = [
        (one.affine[2] - other.affine[2]) / one.affine[0] for one, other in pairs if one.affine[0] == other.affine[0]
    ]
    assert any(abs(shift - round(shift)) < 1e-6 for shift in on_lattice)
    assert any(abs(shift - round(shift)) > 1e-2 for shift in on_lattice)
    for one, other in pairs:
        finest = min(scene.affine[0] for scene in scenes if scene.place == one.place)
        error = np.subtract(
            np.array(one.offset) * one.affine[0] / finest, np.array(other.offset) * other.affine[0] / finest
        )
        assert np.hypot(*error) <= 0.8
    folders = [{Path(scene.name).parent for scene in scenes if scene.place == place} for place in range(40)]
    assert any(len(group) > 1 for group in folders)
    assert any(one & other for one, other in combinations(folders, 2))


def test_forty_places_label_every_change_and_kind():
    findings = [item for pair in labelled_pairs(plan_archive(places=40, seed=1)) for item in pair.findings]
    assert len(Counter(item.change for item in findings)) == 5
    assert len(Counter(item.finding for item in findings)) == 5
    assert len(Counter(item.place for item in findings)) == 4


def test_folder_that_holds_something_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="is not empty"):
        write_geotiff_archive(tmp_path, places=1, seed=0)
    assert files_below(tmp_path) == ["mine.txt"]


@pytest.mark.parametrize("places", [0, -1, MOST_PLACES + 1])
def test_impossible_number_of_places_is_refused(tmp_path, places):
    with pytest.raises(ValueError, match=str(places)):
        write_geotiff_archive(tmp_path / "new", places=places, seed=0)
    assert not (tmp_path / "new").exists()
