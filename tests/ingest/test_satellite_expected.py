"""Every entry of the expected figures of the real scenes, from files to pairs and shares.

The scores of constant captions are in tests/reports/test_captions.py.
"""

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ingest.acquisition import Acquisition
from ingest.geotiff.align import align_scenes
from ingest.geotiff.errors import TooCloudy
from ingest.geotiff.place import assign_places
from ingest.geotiff.scene import index_scene
from ingest.geotiff.source import read_source
from ingest.geotiff.warp import warp
from ingest.grid import Grid
from ingest.index import index_archive
from ingest.pair import pair_acquisitions
from ingest.pairing import Pair, make_pair

PAIRS = (
    *("s2_t33uuu_full", "s2_t33uuu_crop", "s2_t33uuu_crop_mixed_crs", "same_tile_id_no_overlap", "montreal_seasons"),
    *("montreal_same_image", "barbellino_boa", "cbers_2017-11-01_2017-12-19", "cbers_2017-11-17_2017-12-19"),
    *("cbers_2017-11-01_2017-12-03", "duplicate_bytes", "levir_malformed"),
)


@pytest.fixture(scope="module")
def root(shared_data: Path) -> Path:
    return shared_data / "satellite"


@pytest.fixture(scope="module")
def expected(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "expected.json").read_text())
    return found


def entry(expected: dict[str, Any], key: str) -> dict[str, Any]:
    return next(one for one in expected["pairs"] if one["id"] == key)


def scenes_of(root: Path, expected: dict[str, Any]) -> list[Acquisition]:
    """Prior and current as two files of one archive; the user's order where they state no date."""
    found = []
    for day, role in enumerate(("prior", "current"), start=1):
        scene = index_scene(root / expected[role], root)
        assert isinstance(scene, Acquisition)
        found.append(scene if scene.time else replace(scene, time=datetime(2020, 1, day)))
    return list(assign_places(found))


def pair_of(root: Path, expected: dict[str, Any]) -> Pair:
    prior, current = scenes_of(root, expected)
    return make_pair(prior, replace(current, subject=prior.subject), reason="expected.json")


def test_every_entry_has_a_test(expected: dict[str, Any]) -> None:
    assert [one["id"] for one in expected["pairs"]] == list(PAIRS)
    sections = {"note", "pairs", "levir_cd_changed_fraction", "levir_cc", "antimeridian"}
    assert expected.keys() == sections


@pytest.mark.parametrize("key", [key for key in PAIRS if key not in ("duplicate_bytes", "levir_malformed")])
def test_a_pair_is_found_or_refused_with_its_dates(root: Path, expected: dict[str, Any], key: str) -> None:
    said = entry(expected, key)
    scenes = [index_scene(root / said[role], root) for role in ("prior", "current")]
    dates = [one.time.date().isoformat() if one.time else None for one in scenes if isinstance(one, Acquisition)]
    assert dates == [said["prior_date"], said["current_date"]]

    pairing = pair_acquisitions(scenes_of(root, said))

    names = [(pair.prior.name, pair.current.name) for pair in pairing.pairs]
    share = said.get("both_valid_share_of_prior_valid", 1.0)
    if said["pair"] and share >= 0.5:
        assert names == [(said["prior"], said["current"])]
    else:
        assert not names
        code = "NO_OVERLAP" if said["pair"] else "NO_PRIOR"
        assert {one.code for one in pairing.unpaired if one.item == said["current"]} == {code}


@pytest.mark.parametrize("key", [key for key in PAIRS if key.startswith(("s2_t33uuu", "montreal"))])
def test_the_valid_shares_on_the_priors_grid_are_as_measured(root: Path, expected: dict[str, Any], key: str) -> None:
    said = entry(expected, key)
    prior, current = scenes_of(root, said)

    assert float(prior.attributes["valid_share"]) == pytest.approx(said["valid_share_of_prior"], abs=0.005)
    valid = np.isfinite(warp(read_source(prior, prior.grid), prior.grid)[0])
    both = valid & np.isfinite(warp(read_source(current, prior.grid), prior.grid)[0])
    assert valid.mean() == pytest.approx(said["valid_share_of_prior"], abs=0.005)
    assert both.mean() == pytest.approx(said["both_valid_share_of_prior_grid"], abs=0.005)
    assert both.sum() / valid.sum() == pytest.approx(said["both_valid_share_of_prior_valid"], abs=0.005)


@pytest.mark.parametrize("key", ["s2_t33uuu_full", "s2_t33uuu_crop"])
def test_the_displacement_of_19_m_is_found_with_its_sign(root: Path, expected: dict[str, Any], key: str) -> None:
    said = entry(expected, key)["registration"]

    quality = align_scenes(pair_of(root, entry(expected, key))).quality

    # expected.json moves the current onto the prior; here the prior moves
    assert quality["shift_row_px"] == pytest.approx(-said["row_px"], abs=said["tolerance_px"])
    assert quality["shift_col_px"] == pytest.approx(-said["column_px"], abs=said["tolerance_px"])
    metres = 10 * np.hypot(quality["shift_row_px"], quality["shift_col_px"])
    assert metres == pytest.approx(19.4, abs=2)


def test_fewer_pixels_look_changed_once_the_displacement_is_removed(root: Path, expected: dict[str, Any]) -> None:
    pair = pair_of(root, entry(expected, "s2_t33uuu_full"))
    quality = align_scenes(pair).quality
    # SOURCES.md measured in a clear window without saying which; in this one the figures are about the same
    grid = pair.prior.grid.part(slice(1280, 1536), slice(384, 640))
    prior, current = (read_source(one, grid) for one in (pair.prior, pair.current))
    fixed = warp(prior, grid)[0].ravel().astype(np.float64)

    def changed(shift: tuple[float, float]) -> float:
        """Share of pixels that differ by more than 200 after a linear fit."""
        moved = warp(current, grid, shift_px=shift)[0].ravel().astype(np.float64)
        slope, offset = np.polyfit(moved, fixed, 1)
        return float((np.abs(slope * moved + offset - fixed) > 200).mean())

    # what moves the prior onto the current moves the current the other way
    rows, columns = quality["shift_row_px"], quality["shift_col_px"]
    before, after, wrong = changed((0, 0)), changed((-rows, -columns)), changed((rows, columns))
    print(f"changed before {before:.4f}, after {after:.4f}, with the wrong sign {wrong:.4f}")
    assert before == pytest.approx(0.06, abs=0.005)
    assert after < 0.04
    assert wrong > before


def test_the_reservoirs_clouds_are_as_counted(root: Path, expected: dict[str, Any]) -> None:
    import rasterio

    said = entry(expected, "barbellino_boa")
    for role in ("prior", "current"):
        with rasterio.open(root / said[f"{role}_mask"]) as src:
            assert int(np.isin(src.read(1), (8, 9)).sum()) == said[f"{role}_cloud_pixels_scl_8_9"]

    quality = align_scenes(pair_of(root, said)).quality

    # both masks are on a grid of 20 m, 21 x 12 pixels
    assert quality["clear_share_both"] == pytest.approx(1 - 33 / (21 * 12), abs=0.005)


@pytest.mark.parametrize("key", [key for key in PAIRS if key.startswith("cbers")])
def test_the_clear_share_of_both_dates_is_as_measured_and_98_per_cent_cloud_gives_no_report(
    root: Path, expected: dict[str, Any], key: str
) -> None:
    said = entry(expected, key)
    pair = pair_of(root, said)

    if said["clear_in_both"] < 0.2:
        with pytest.raises(TooCloudy):
            align_scenes(pair)
    else:
        assert align_scenes(pair).quality["clear_share_both"] == pytest.approx(said["clear_in_both"], abs=0.005)
    assert _clear(root, said, pair.prior.grid) == pytest.approx(said["clear_in_both"], abs=0.005)


def _picture(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture)


def _clear(root: Path, said: dict[str, Any], grid: Grid) -> float:
    """Share of the grid that the masks of both dates call clear, without widening."""
    from ingest.geotiff.quality_layer import QualityLayer

    seen = [QualityLayer(path=root / said[f"{role}_mask"], kind="CMASK").read(grid)[0] for role in ("prior", "current")]
    return float((seen[0] & seen[1]).mean())


def test_equal_bytes_under_two_dates_are_refused(root: Path, expected: dict[str, Any]) -> None:
    said = entry(expected, "duplicate_bytes")

    found = index_archive(root / "duplicate_control", workers=0, pixels=False)

    assert [(one.item, one.code) for one in found.refusals] == [(Path(said["current"]).name, "DUPLICATE")]
    assert not pair_acquisitions(found.acquisitions).pairs


def test_a_malformed_pair_of_pictures_is_refused(root: Path, expected: dict[str, Any]) -> None:
    said = entry(expected, "levir_malformed")
    sizes = [_picture(root / said[role]).shape[1::-1] for role in ("prior", "current")]
    assert f"{sizes[0][0]}x{sizes[0][1]}, {sizes[1][0]}x{sizes[1][1]}" in said["reason"]

    found = index_archive(root / "levir_cd", workers=0, pixels=False)

    pairing = pair_acquisitions(found.acquisitions)

    assert not found.refusals
    assert len(pairing.pairs) == len(expected["levir_cd_changed_fraction"])
    (refusal,) = [one for one in pairing.unpaired if one.item == "B/test_113_0256.png"]
    assert refusal.code == "ALIGNMENT_FAILED"
    assert refusal.reason.lower().startswith(said["reason"].split(" and ")[0])


def test_undated_scenes_are_refused_until_the_user_states_their_order(root: Path, tmp_path: Path) -> None:
    import shutil

    for name in ("mosaic_cog2.tif", "mosaic_cog3.tif"):
        shutil.copyfile(root / "landsat_montreal" / name, tmp_path / name)
    undated = pair_acquisitions(index_archive(tmp_path, workers=0, pixels=False).acquisitions)
    (tmp_path / "dates.csv").write_text("name,datetime\nmosaic_cog2.tif,2020-01-01\nmosaic_cog3.tif,2020-06-01\n")

    (pair,) = pair_acquisitions(index_archive(tmp_path, workers=0, pixels=False).acquisitions).pairs

    assert {one.code for one in undated.unpaired} == {"DATE_UNKNOWN"}
    assert (pair.prior.name, pair.current.name) == ("mosaic_cog2.tif", "mosaic_cog3.tif")
    assert pair.prior.time_source == "sidecar"


def test_the_labels_change_share_is_as_measured(root: Path, expected: dict[str, Any]) -> None:
    for name, share in expected["levir_cd_changed_fraction"].items():
        label = _picture(root / "levir_cd" / "label" / name)
        assert (label > 0).mean() == pytest.approx(share, abs=5e-5)


#: What annotators wrote of pairs without change (SOURCES.md, section 7).
UNCHANGED = {
    *("the scene is the same as before", "there is no difference", "the two scenes seem identical"),
    *("no change has occurred", "almost nothing has changed"),
}


def test_the_caption_set_has_the_expected_size_and_unchanged_half(root: Path, expected: dict[str, Any]) -> None:
    said = expected["levir_cc"]
    images = json.loads((root / "levir_cc" / "levir_cc_sentences.json").read_text())["images"]
    assert len(images) == said["pairs"]
    assert sum(len(one["sentences"]) for one in images) == said["sentences"]
    for split, count in said["split"].items():
        of_split = [one for one in images if one["split"] == split]
        assert len(of_split) == count
        assert sum(set(one["sentences"]) <= UNCHANGED for one in of_split) == said["unchanged"][split]


def test_the_antimeridian_scene_has_its_corners(root: Path, expected: dict[str, Any]) -> None:
    from shapely.geometry import shape

    said = expected["antimeridian"]
    (scene,) = index_archive((root / said["file"]).parent, workers=0, pixels=False).acquisitions
    parts = sorted(shape(json.loads(scene.attributes["footprint_wgs84"])).geoms, key=lambda part: part.bounds[0])

    assert parts[0].bounds[2] == pytest.approx(said["lon_east"], abs=1e-3)
    assert parts[1].bounds[0] == pytest.approx(said["lon_west"], abs=1e-3)
    latitudes = [min(one.bounds[1] for one in parts), max(one.bounds[3] for one in parts)]
    assert latitudes == pytest.approx(said["lat"], abs=2e-3)
