import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import box

from ingest.acquisition import Acquisition
from ingest.geotiff.footprint import to_geojson
from ingest.geotiff.pair import pair_scenes
from ingest.geotiff.place import assign_places
from ingest.geotiff.scene import index_scene
from ingest.grid import Grid
from ingest.index import index_archive
from ingest.pairing import Pairing
from ingest.unreadable import pair_readable
from tests.ingest.scene_files import ground, scene, write_scene

START = datetime(2020, 1, 1, 10)


def _frame() -> str:
    from rasterio.crs import CRS

    return str(CRS.from_epsg(32633).to_wkt())


FRAME = _frame()


def _scene(
    number: int,
    *,
    day: float | None,
    east: int = 0,
    group: str = "rgb 8-bit",
    product: str = "",
    pixels: int | None = None,
    by_day: bool = False,
) -> Acquisition:
    """A scene of 100 x 100 pixels of 10 m, `east` pixels to the right of the first one; nothing is on disk."""
    west = 400_000 + 10 * east
    outline = box(west, 5_799_000, west + 1_000, 5_800_000)
    time = None if day is None else START + timedelta(days=day)
    if time is not None and by_day:
        time = time.replace(hour=0)
    return Acquisition(
        id=f"scene:{number:032x}",
        domain="satellite",
        subject=f"place:{number:032x}",
        time=time,
        time_source="" if day is None else "filename",
        path=Path(f"/archive/{number}.tif"),
        name=f"{number:03d}.tif",
        sha256=f"{number:064x}",
        pixel_sha256=f"{number if pixels is None else pixels:064x}",
        grid=Grid(affine=(10, 0, west, 0, -10, 5_800_000), height=100, width=100, frame=FRAME),
        group=group,
        attributes={
            "footprint": shapely.to_wkt(outline),
            "footprint_wgs84": to_geojson(outline, FRAME),
            "gsd_m": "10",
            "platform": "",
            "product": product,
            "baseline": "",
            "time_precision": "day" if by_day else "second",
            "warnings": "",
        },
    )


def _pair(scenes: Sequence[Acquisition]) -> Pairing:
    return pair_scenes(assign_places(scenes))


def _names(pairing: Pairing) -> set[tuple[str, str]]:
    return {(pair.prior.name, pair.current.name) for pair in pairing.pairs}


def _codes(pairing: Pairing) -> dict[str, str]:
    return {refusal.item: refusal.code for refusal in pairing.unpaired}


def _expected(shared_data: Path) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads((shared_data / "satellite/expected.json").read_text())["pairs"]
    return found


def test_the_expected_dated_pairs_are_found_and_no_others(shared_data: Path) -> None:
    root = shared_data / "satellite"
    dated = [pair for pair in _expected(shared_data) if pair["prior_date"]]
    assert len(dated) == 9
    for expected in dated:
        scenes = [index_scene(root / expected[role], root) for role in ("current", "prior")]

        pairing = _pair([one for one in scenes if isinstance(one, Acquisition)])

        assert len(pairing.pairs) + len(pairing.unpaired) == 2
        assert _names(pairing) == ({(expected["prior"], expected["current"])} if expected["pair"] else set())
        for pair in pairing.pairs:
            assert pair.prior.time is not None
            assert pair.prior.time.date().isoformat() == expected["prior_date"]


@pytest.mark.parametrize("pixels", [False, True])
def test_equal_bytes_under_two_dates_are_a_duplicate(shared_data: Path, pixels: bool) -> None:
    index = index_archive(shared_data / "satellite/duplicate_control", workers=0, pixels=pixels)

    assert {one.item: one.code for one in index.refusals} == {"rgbn_20160401.tif": "DUPLICATE"}
    assert "rgbn_20160101.tif, under another date" in index.refusals[0].reason
    assert _codes(_pair(index.acquisitions)) == {"rgbn_20160101.tif": "NO_PRIOR"}


def test_undated_scenes_are_refused_and_never_a_prior(shared_data: Path) -> None:
    pairing = _pair(index_archive(shared_data / "satellite/landsat_montreal", workers=0).acquisitions)

    assert not pairing.pairs
    assert set(_codes(pairing).values()) == {"DATE_UNKNOWN"}
    assert len(pairing.unpaired) == 3


def test_products_and_bands_of_one_date_pair_with_their_like(shared_data: Path) -> None:
    reservoir = _pair(index_archive(shared_data / "satellite/s2_barbellino", workers=0).acquisitions)
    clouds = _pair(index_archive(shared_data / "satellite/cbers4_awfi", workers=0).acquisitions)

    assert len(reservoir.pairs) == 3
    for pair in reservoir.pairs:
        assert pair.prior.attributes["product"] == pair.current.attributes["product"]
    assert [pair.interval_days for pair in clouds.pairs] == [16, 16, 16]
    assert {pair.current.attributes["bands"] for pair in clouds.pairs} == {"grey:B16"}
    lonely = {name: code for name, code in _codes(clouds).items() if "B16" not in name}
    assert set(lonely.values()) == {"NO_COMPARABLE_VIEW"}
    assert len(lonely) == 3


def test_the_prior_is_of_the_most_recent_pass_and_covers_most(shared_data: Path) -> None:
    pairing = _pair(index_archive(shared_data / "satellite/s2_t33uuu", workers=0).acquisitions)

    whole = "tgt_S2A_20160529T153631_T33UUU_sub.jp2"
    assert _names(pairing) == {
        (whole, "T33UUU_20160608_crop_utm33n.tif"),
        (whole, "ref_S2A_20160608T153121_T33UUU_sub.jp2"),
    }
    # a tile id is no place: the 2017 files of the same tile share no ground with the others
    subjects = {acquisition.subject for acquisition in (pairing.pairs[0].current, pairing.pairs[1].current)}
    assert len(subjects) == 1
    assert _codes(pairing)["T33UUU_20170216T102101_B04.jp2"] == "NO_PRIOR"


def test_two_scenes_of_one_pass_are_not_a_pair() -> None:
    same_hour = _pair([_scene(1, day=0), _scene(2, day=0.01)])
    same_day = _pair([_scene(1, day=0), _scene(2, day=0.2, by_day=True)])
    next_day = _pair([_scene(1, day=0), _scene(2, day=1)])

    assert not same_hour.pairs
    assert not same_day.pairs
    assert _names(next_day) == {("001.tif", "002.tif")}


def test_too_little_overlap_is_told_from_no_prior() -> None:
    pairing = _pair([_scene(1, day=0), _scene(2, day=9, east=70), _scene(3, day=20, east=500)])

    assert _codes(pairing) == {"001.tif": "NO_PRIOR", "002.tif": "NO_OVERLAP", "003.tif": "NO_PRIOR"}


def test_equal_pixels_elsewhere_are_no_duplicate() -> None:
    pairing = _pair([_scene(1, day=0, pixels=7), _scene(2, day=9, east=500, pixels=7)])

    assert set(_codes(pairing).values()) == {"NO_PRIOR"}


def test_a_duplicate_is_nobodys_prior() -> None:
    pairing = _pair([_scene(1, day=0), _scene(2, day=9, pixels=1), _scene(3, day=20)])

    assert _names(pairing) == {("001.tif", "003.tif")}
    assert _codes(pairing)["002.tif"] == "DUPLICATE"


def test_a_scene_without_a_stated_product_fits_any_and_two_products_do_not_fit() -> None:
    boa, toa = "S2 L2A BOA", "S2 L1C TOA"

    assert _pair([_scene(1, day=0, product=boa), _scene(2, day=9)]).pairs[0].warnings
    assert (
        _codes(_pair([_scene(1, day=0, product=boa), _scene(2, day=9, product=toa)]))["002.tif"] == "NO_COMPARABLE_VIEW"
    )
    assert not _pair([_scene(1, day=0), _scene(2, day=9, group="rgb integer")]).pairs


def test_a_place_keeps_its_key_when_later_scenes_arrive() -> None:
    early, late = _scene(1, day=0), _scene(2, day=9, east=20)

    assert assign_places([early])[0].subject == assign_places([late, early])[1].subject
    assert len({one.subject for one in assign_places([early, late])}) == 1
    assert len({one.subject for one in assign_places([early, _scene(3, day=9, east=60)])}) == 2


def test_a_pair_across_the_antimeridian_is_found(tmp_path: Path) -> None:
    from rasterio.transform import Affine

    east = write_scene(
        tmp_path / "east.tif", ground(64, 64), crs="EPSG:32660", transform=Affine(100, 0, 705_500, 0, -100, 5_700_000)
    )
    west = write_scene(
        tmp_path / "west.tif",
        ground(64, 64, seed=1),
        crs="EPSG:32601",
        transform=Affine(100, 0, 288_300, 0, -100, 5_700_000),
        time="2020:06:01 10:00:00",
    )
    scenes = [scene(west), scene(east)]
    assert {json.loads(one.attributes["footprint_wgs84"])["type"] for one in scenes} == {"MultiPolygon"}

    pairing = _pair(scenes)

    assert _names(pairing) == {("east.tif", "west.tif")}


@st.composite
def _archives(draw: st.DrawFn) -> list[Acquisition]:
    count = draw(st.integers(1, 8))
    return [
        _scene(
            number,
            day=draw(st.sampled_from([None, 0, 0.01, 1, 2, 2, 30])),
            east=draw(st.sampled_from([0, 0, 10, 40, 70, 500])),
            group=draw(st.sampled_from(["rgb 8-bit", "rgb 8-bit", "grey:B04 integer"])),
            product=draw(st.sampled_from(["", "S2 L2A", "S2 L1C"])),
            pixels=draw(st.sampled_from([number, number, 99])),
            by_day=draw(st.booleans()),
        )
        for number in range(count)
    ]


@settings(max_examples=60, deadline=None)
@given(archive=_archives(), seed=st.integers(0, 1000))
def test_pairing_accounts_for_every_scene_in_any_order(archive: list[Acquisition], seed: int) -> None:
    shuffled = random.Random(seed).sample(archive, len(archive))

    pairing = _pair(archive)

    assert _pair(shuffled) == pairing
    currents = [pair.current.name for pair in pairing.pairs]
    assert sorted([*currents, *(refusal.item for refusal in pairing.unpaired)]) == sorted(one.name for one in archive)
    for pair in pairing.pairs:
        assert pair.interval_days > 0
        assert pair.prior.subject == pair.current.subject
        assert pair.prior.group == pair.current.group
        assert pair.prior.pixel_sha256 != pair.current.pixel_sha256
        assert replace(pair.prior, subject="") in [replace(one, subject="") for one in archive]


def test_every_pair_of_the_sample_archive_is_found_and_every_awkward_file_refused(tmp_path: Path) -> None:
    import csv

    from training.phantoms.geotiff_archive import write_geotiff_archive

    root = tmp_path / "archive"
    labels = write_geotiff_archive(root, places=8, seed=11)
    index = index_archive(root, workers=0)

    pairing = pair_scenes(index.acquisitions)

    with labels.open(encoding="utf-8", newline="") as file:
        assert _names(pairing) == {(row["prior_name"], row["current_name"]) for row in csv.DictReader(file)}
    codes = {refusal.item: refusal.code for refusal in (*index.refusals, *pairing.unpaired)}
    with (root / "awkward.csv").open(encoding="utf-8", newline="") as file:
        awkward = {row["name"]: row["expected_code"] for row in csv.DictReader(file)}
    assert awkward
    assert {name: codes[name] for name in awkward} == awkward


def test_a_scene_whose_only_prior_has_a_broken_block_is_told_so(tmp_path: Path) -> None:
    broken = write_scene(tmp_path / "a.tif", ground(), compress="deflate")
    write_scene(tmp_path / "b.tif", ground(seed=1), time="2021:05:01 10:00:00")
    content = bytearray(broken.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    broken.write_bytes(content)

    found = index_archive(tmp_path, workers=0)
    pairing = pair_readable(found.acquisitions, found.unreadable)

    assert [(one.item, one.code) for one in found.refusals] == [("a.tif", "TRUNCATED")]
    assert _codes(pairing) == {"b.tif": "PRIOR_UNREADABLE"}
