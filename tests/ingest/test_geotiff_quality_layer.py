"""What a quality layer hides is not compared, and too much of it gives no report."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine

from ingest.geotiff.align import align_scenes
from ingest.geotiff.errors import TooCloudy, TruncatedRaster
from ingest.geotiff.quality_layer import QualityLayer, find_quality_layer, find_quality_layers
from ingest.grid import Grid
from ingest.index import index_archive
from ingest.pair import pair_acquisitions
from tests.ingest.scene_files import NORTH, WEST, ground, paired, write_scene
from tests.ingest.stac_files import write_item

LATER = "2021:05:01 10:00:00"
UTM_33 = CRS.from_epsg(32633).to_wkt()


def cbers(shared_data: Path, day: str) -> Path:
    return shared_data / f"satellite/cbers4_awfi/CBERS-4_AWFI_B16_{day}.tif"


@pytest.mark.parametrize(
    ("prior", "current", "clear"),
    [
        ("2017-11-01", "2017-12-19", 1.0),
        ("2017-11-17", "2017-12-19", 0.6786),
    ],
)
def test_the_clear_share_of_real_pairs_is_as_expected(
    shared_data: Path, prior: str, current: str, clear: float
) -> None:
    aligned = align_scenes(paired(cbers(shared_data, prior), cbers(shared_data, current)))

    assert aligned.quality["clear_share_both"] == pytest.approx(clear, abs=0.005)
    assert aligned.prior.valid.mean() <= clear + 0.005


def test_a_pair_under_cloud_is_refused(shared_data: Path) -> None:
    with pytest.raises(TooCloudy, match="2%"):
        align_scenes(paired(cbers(shared_data, "2017-11-01"), cbers(shared_data, "2017-12-03")))


@pytest.mark.parametrize(
    ("scene", "layer", "kind"),
    [
        ("S2A2A_20170703_022_Barbellino_BOA_10.tif", "S2A2A_20170703_022_Barbellino_SCL_10.tif", "SCL"),
        ("T35MNM_20200731T080611_B04_10m.jp2", "T35MNM_20200731T080611_SCL_20m.jp2", "SCL"),
        (
            "LC08_L2SP_028030_20200114_20200824_02_T1_SR_B4.TIF",
            "LC08_L2SP_028030_20200114_20200824_02_T1_QA_PIXEL.TIF",
            "QA_PIXEL",
        ),
        ("HLS.L30.T13REN.2018013T172747.v2.0.B04.tif", "HLS.L30.T13REN.2018013T172747.v2.0.Fmask.tif", "HLS Fmask"),
        ("CBERS-4_AWFI_B16_2017-11-01.tif", "CBERS-4_AWFI_CMASK_2017-11-01.tif", "CMASK"),
        ("T35MNM_20200731T080611_B04.tif", "T35MNM_20200731T080611_QA60.tif", "QA60"),
        ("CBERS-4_AWFI_B16_2017-11-01.tif", "CBERS-4_AWFI_CMASK_2017-11-17.tif", None),
        ("scene_20200101.tif", "mask.tif", None),
        ("scene_20200101.tif", "SCL.tif", None),
        ("S2A1C_20170703_022_Barbellino_TOA_10.tif", "S2A2A_20170703_022_Barbellino_SCL_10.tif", None),
    ],
)
def test_a_layer_belongs_to_the_scene_of_its_name(tmp_path: Path, scene: str, layer: str, kind: str | None) -> None:
    (tmp_path / scene).touch()
    (tmp_path / layer).touch()

    found = find_quality_layer(tmp_path / scene, None)

    assert (found and found.kind) == kind
    assert found is None or found.path == tmp_path / layer


def test_the_empty_qa60_of_later_scenes_says_nothing(tmp_path: Path) -> None:
    for name in ("T35MNM_20230731T080611_B04.tif", "T35MNM_20230731T080611_QA60.tif"):
        (tmp_path / name).touch()

    assert find_quality_layer(tmp_path / "T35MNM_20230731T080611_B04.tif", datetime(2023, 7, 31)) is None


def test_a_layer_in_a_sentinel_2_folder_of_another_resolution_is_found(tmp_path: Path) -> None:
    for folder, name in (
        ("R10m", "T35MNM_20200731T080611_B04_10m.jp2"),
        ("R20m", "T35MNM_20200731T080611_SCL_20m.jp2"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()

    found = find_quality_layer(tmp_path / "R10m/T35MNM_20200731T080611_B04_10m.jp2", None)

    assert found is not None
    assert found.path.name == "T35MNM_20200731T080611_SCL_20m.jp2"


@pytest.mark.parametrize(
    ("kind", "bands", "seen", "hidden"),
    [
        ("SCL", 1, (2, 4, 5, 6, 7, 11), (0, 1, 3, 8, 9, 10)),
        ("QA_PIXEL", 1, (64, 128, 21824), (1, 2, 4, 8, 16, 22280)),
        ("HLS Fmask", 1, (0, 16, 32, 64), (2, 4, 8, 255)),
        ("Fmask", 1, (0, 1, 3), (2, 4, 255)),
        ("CMASK", 1, (0, 1, 3), (2, 4, 255)),
        ("QA60", 1, (0, 1), (1024, 2048)),
    ],
)
def test_each_value_of_a_layer_means_what_its_product_says(
    tmp_path: Path, kind: str, bands: int, seen: tuple[int, ...], hidden: tuple[int, ...]
) -> None:
    values = np.array([[*seen, *hidden]], dtype=np.uint16)
    path = write_scene(tmp_path / "layer.tif", np.repeat(values, 3, axis=0), dtype="uint16", pixel=20.0, count=1)
    grid = Grid(affine=(20.0, 0.0, WEST, 0.0, -20.0, NORTH), height=3, width=values.shape[1], frame=UTM_33)

    is_seen, _ = QualityLayer(path=path, kind=kind).read(grid)

    assert is_seen[1].tolist() == [True] * len(seen) + [False] * len(hidden)


def test_beyond_the_end_of_a_layer_nothing_is_seen(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "layer.tif", np.full((4, 4), 4), pixel=20.0, count=1)
    grid = Grid(affine=(10.0, 0.0, WEST, 0.0, -10.0, NORTH), height=8, width=12, frame=UTM_33)

    is_seen, _ = QualityLayer(path=path, kind="SCL").read(grid)

    assert is_seen[:, :8].all()
    assert not is_seen[:, 8:].any()


def test_clouds_are_widened_and_left_out_of_stretch_and_registration(tmp_path: Path) -> None:
    shift = (1.0, -1.0)
    prior = write_scene(tmp_path / "S_20200501_A.tif", ground())
    bright = np.round(ground(shift=shift))
    bright[100:160, 100:160] = 255
    current = write_scene(tmp_path / "S_20210501_A.tif", bright, time=LATER)
    clouds = np.full((128, 128), 4)
    clouds[50:80, 50:80] = 9
    write_scene(tmp_path / "S_20210501_SCL_A.tif", clouds, pixel=20.0, count=1)

    aligned = align_scenes(paired(prior, current))

    assert not aligned.current.valid[98:162, 98:162].any()
    assert aligned.current.valid.mean() == pytest.approx(1 - 64 * 64 / 256**2)
    assert aligned.quality["clear_share_both"] == pytest.approx(1 - 60 * 60 / 256**2, abs=0.02)
    assert aligned.quality["shift_row_px"] == pytest.approx(1, abs=0.08)
    assert aligned.quality["shift_col_px"] == pytest.approx(-1, abs=0.08)
    assert any("SCL" in step for step in aligned.current.steps)
    assert not any("SCL" in step for step in aligned.prior.steps)


def test_a_layer_that_cannot_be_read_is_named_and_not_passed_over(tmp_path: Path) -> None:
    prior = write_scene(tmp_path / "S_20200501_A.tif", ground())
    current = write_scene(tmp_path / "S_20210501_A.tif", ground(), time=LATER)
    layer = write_scene(tmp_path / "S_20210501_SCL_A.tif", np.full((128, 128), 4), pixel=20.0, count=1)
    layer.write_bytes(layer.read_bytes()[:2000])

    with pytest.raises(TruncatedRaster, match=r"S_20210501_SCL_A\.tif"):
        align_scenes(paired(prior, current))


def test_a_layer_in_another_coordinate_system_lies_where_it_belongs(tmp_path: Path) -> None:
    from rasterio.warp import transform

    (west,), (north,) = transform("EPSG:32633", "EPSG:32632", [WEST + 1000], [NORTH - 1000])
    values = np.full((60, 60), 4)
    values[20:40, 20:40] = 9
    path = tmp_path / "layer.tif"
    write_scene(path, values, crs="EPSG:32632", transform=Affine(20, 0, west, 0, -20, north), count=1)
    (x,), (y,) = transform("EPSG:32632", "EPSG:32633", [west + 600], [north - 600])
    with rasterio.open(path) as src:
        assert src.crs.to_epsg() == 32632

    column, row = round((x - WEST) / 10), round((NORTH - y) / 10)
    grid = Grid(affine=(10.0, 0.0, WEST, 0.0, -10.0, NORTH), height=400, width=400, frame=UTM_33)
    is_seen, is_clear = QualityLayer(path=path, kind="SCL").read(grid)

    assert not is_seen[row - 15 : row + 15, column - 15 : column + 15].any()
    assert is_seen[row - 28, column] or is_seen[row - 30, column]
    assert not (is_clear & ~is_seen).any()


@pytest.mark.parametrize("has_second", [True, False])
def test_each_tile_of_a_pass_is_looked_at_through_its_own_layer(tmp_path: Path, has_second: bool) -> None:
    for year in (2020, 2021):
        for tile, east in (("UU", 0), ("UV", 90)):
            name = f"S2A_MSIL2A_{year}0501T101021_N0214_R022_T33{tile}U_{year}0501T140000.tif"
            transform = Affine(10, 0, WEST + 10 * east, 0, -10, NORTH)
            write_scene(
                tmp_path / name, ground(100, 100, seed=east) + year - 2020, transform=transform, nodata=0, time=None
            )
    clouds = {"UU": np.full((50, 50), 4), "UV": np.full((50, 50), 4)}
    clouds["UU"][10:20, 10:20] = 9
    clouds["UV"][30:40, 30:40] = 9
    for tile, east in (("UU", 0), ("UV", 90))[: 1 + has_second]:
        transform = Affine(20, 0, WEST + 10 * east, 0, -20, NORTH)
        path = tmp_path / f"T33{tile}U_20210501T101021_SCL_20m.tif"
        write_scene(path, clouds[tile], transform=transform, count=1, time=None)

    (pair,) = pair_acquisitions(index_archive(tmp_path, workers=0).acquisitions).pairs
    aligned = align_scenes(pair)

    assert len(pair.current.files) == 2
    assert aligned.current.valid.shape == (100, 190)
    assert not aligned.current.valid[18:42, 18:42].any()
    # the second tile begins at column 90
    assert bool(aligned.current.valid[60:80, 150:170].any()) is not has_second
    assert aligned.current.valid[45:55].all()
    assert aligned.quality["clear_share_both"] == pytest.approx(1 - (1 + has_second) * 400 / 19_000, abs=0.001)
    assert sum("SCL" in step for step in aligned.current.steps) == 1 + has_second


def test_bands_of_one_item_share_its_layer(tmp_path: Path) -> None:
    write_item(tmp_path, "S2A_33UUU_20210501_0_L2A", platform="sentinel-2a")
    write_scene(tmp_path / "S2A_33UUU_20210501_0_L2A_SCL.tif", np.full((32, 32), 4), pixel=20.0, count=1, time=None)

    (scene,) = index_archive(tmp_path, workers=0).acquisitions
    layers = find_quality_layers(scene)

    assert layers is not None
    assert [layer.kind for layer in layers.layers] == ["SCL"]
    assert not layers.bare
