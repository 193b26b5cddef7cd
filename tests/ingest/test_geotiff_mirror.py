import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.geotiff.mirror import FolderTaken, Search, choose_assets, mirror_items, safe_name
from ingest.geotiff.stac import item_assets, parse_item
from ingest.geotiff.stac_session import BadServiceAddress, ServiceUnavailable, Session, host_of, signer
from ingest.index import index_archive
from ingest.pair import pair_acquisitions
from ingest.sidecar import MIRROR_WORK
from tests.ingest.stac_peer import NAMES, StacPeer, serve, serve_two_items


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[StacPeer]:
    """A running service with two items of one place."""
    with serve_two_items(tmp_path / "held") as held:
        yield held


def quick(peer: StacPeer, *allowed: str) -> Session:
    return Session(peer.address, allowed, backoff=0.01)


def test_a_mirror_is_an_archive_whose_scenes_are_the_items(peer: StacPeer, tmp_path: Path) -> None:
    root = tmp_path / "archive"
    search = Search(bbox=(13, 52, 14, 53), datetime="2020-01-01/2022-01-01", collections=("x",))

    summary = mirror_items(peer.address, root, search=search, session=quick(peer))
    found = index_archive(root, workers=0)

    assert (summary.items, summary.complete, summary.fetched, summary.refusals) == (2, 2, 10, [])
    assert peer.bodies[0]["bbox"] == [13, 52, 14, 53]
    assert peer.bodies[0]["datetime"] == "2020-01-01T00:00:00Z/2022-01-01T23:59:59Z"
    assert not found.refusals
    (pair,) = pair_acquisitions(found.acquisitions).pairs
    assert [one.attributes["item"] for one in (pair.prior, pair.current)] == list(NAMES)
    assert pair.current.attributes["cloud_cover"] == "21"


def test_a_second_run_fetches_what_is_new_and_nothing_else(peer: StacPeer, tmp_path: Path) -> None:
    root = tmp_path / "archive"
    mirror_items(peer.address, root, search=Search(limit=1), session=quick(peer))
    before = files_given(peer)

    summary = mirror_items(peer.address, root, session=quick(peer))

    assert (summary.items, summary.kept, summary.fetched) == (2, 1, 5)
    assert files_given(peer) - before == 5


def files_given(peer: StacPeer) -> int:
    return sum(count for path, count in peer.seen.items() if path.startswith("/files/"))


def test_a_server_that_says_not_now_is_asked_again(peer: StacPeer, tmp_path: Path) -> None:
    path = f"/files/{NAMES[0]}_B04.tif"
    peer.failures[path] = [429, 503, 500]

    summary = mirror_items(peer.address, tmp_path / "archive", session=quick(peer))

    assert not summary.refusals
    assert peer.seen[path] == 4


def test_a_file_that_is_not_given_refuses_its_item_only(peer: StacPeer, tmp_path: Path) -> None:
    peer.failures[f"/files/{NAMES[0]}_B04.tif"] = [404]
    root = tmp_path / "archive"

    first = mirror_items(peer.address, root, session=quick(peer))
    shown = {one.name for one in root.iterdir()}
    again = mirror_items(peer.address, root, session=quick(peer))

    assert [(one.item, one.code) for one in first.refusals] == [(NAMES[0], "FETCH_FAILED")]
    assert shown == {NAMES[1], MIRROR_WORK}
    assert (again.refusals, again.complete) == ([], 2)


def test_addresses_are_signed_when_they_are_read_and_signed_anew_when_refused(peer: StacPeer, tmp_path: Path) -> None:
    peer.signature, peer.expired = "s3cret", True
    session = quick(peer)
    root = tmp_path / "archive"

    summary = mirror_items(peer.address, root, session=session, sign=signer(f"{peer.address}/sign", session))

    assert (summary.complete, summary.refusals) == (2, [])
    assert peer.seen["/sign"] == 11
    assert not [one for one in root.rglob("*") if one.is_file() and b"s3cret" in one.read_bytes()]


@pytest.mark.parametrize(
    ("href", "code"),
    [
        ("http://127.0.0.1:9/a.tif", "HOST_NOT_ALLOWED"),
        ("http://169.254.169.254/latest/meta-data", "HOST_NOT_ALLOWED"),
        ("file:///etc/passwd", "HOST_NOT_ALLOWED"),
        ("/etc/passwd", "HOST_NOT_ALLOWED"),
        ("s3://bucket/a.tif", "HOST_NOT_ALLOWED"),
        ("/vsicurl/http://127.0.0.1:9/a.tif", "HOST_NOT_ALLOWED"),
        ("http://127.0.0.1@evil.example/a.tif", "HOST_NOT_ALLOWED"),
    ],
)
def test_an_item_cannot_send_the_reader_elsewhere(peer: StacPeer, tmp_path: Path, href: str, code: str) -> None:
    peer.items[0]["assets"]["B04"]["href"] = href

    summary = mirror_items(peer.address, tmp_path / "archive", session=quick(peer))

    assert [(one.item, one.code) for one in summary.refusals] == [(NAMES[0], code)]
    assert summary.complete == 1


def test_neither_a_redirect_nor_the_next_page_leads_elsewhere(peer: StacPeer, tmp_path: Path) -> None:
    other = StacPeer(tmp_path)
    with serve(other) as elsewhere:
        peer.redirects[f"/files/{NAMES[0]}_B04.tif"] = f"{elsewhere}/files/x"
        summary = mirror_items(peer.address, tmp_path / "one", session=quick(peer))
        peer.next_link = f"{elsewhere}/search"
        stopped = mirror_items(peer.address, tmp_path / "two", session=quick(peer), search=Search(assets=("B03",)))

    assert [(one.item, one.code) for one in stopped.refusals] == [("search", "PEER_UNAVAILABLE")]
    assert stopped.complete == 1
    assert [(one.item, one.code) for one in summary.refusals] == [(NAMES[0], "HOST_NOT_ALLOWED")]
    assert not other.seen


def test_an_allowed_host_may_hold_the_files(peer: StacPeer, tmp_path: Path) -> None:
    other = StacPeer(peer.folder)
    with serve(other) as elsewhere:
        for item in peer.items:
            for asset in item["assets"].values():
                asset["href"] = asset["href"].replace(peer.address, elsewhere)
        host = elsewhere.removeprefix("http://")
        summary = mirror_items(peer.address, tmp_path / "archive", session=quick(peer, host))

    assert (summary.complete, summary.refusals) == (2, [])


def test_clouds_are_looked_at_whatever_the_service_does(peer: StacPeer, tmp_path: Path) -> None:
    summary = mirror_items(peer.address, tmp_path / "a", session=quick(peer), search=Search(cloud_cover=20))

    assert summary.items == 1


@pytest.mark.parametrize("name", ["../../evil", "a/b", "", ".hidden", "x" * 400, "name with blanks"])
def test_no_id_leads_out_of_the_folder(peer: StacPeer, tmp_path: Path, name: str) -> None:
    peer.items[0]["id"] = name
    root = tmp_path / "archive"

    summary = mirror_items(peer.address, root, session=quick(peer), search=Search(limit=1))

    assert summary.complete == 1
    (made,) = [one for one in root.iterdir() if one.name != MIRROR_WORK]
    assert made.name == safe_name(name)
    assert {one.name for one in tmp_path.iterdir()} == {"archive", "held"}


def test_a_folder_mirrors_one_service(peer: StacPeer, tmp_path: Path) -> None:
    mirror_items(peer.address, tmp_path / "a", session=quick(peer))

    with pytest.raises(FolderTaken):
        mirror_items(peer.address + "/", tmp_path / "a", session=quick(peer))


def test_an_address_without_a_service_is_told(peer: StacPeer, tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable):
        mirror_items(peer.address + "/nothing", tmp_path / "a", session=quick(peer))
    with pytest.raises(BadServiceAddress):
        mirror_items("file:///etc", tmp_path / "b")
    assert host_of("https://A.example/x") == "a.example:443"


def test_files_are_chosen_by_common_name_with_the_quality_layer(shared_data: Path) -> None:
    folder = shared_data / "satellite" / "stac"
    chosen = {}
    for name in ("S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531_raster_ext", "S2A_28QCH_20200714_0_L2A",
                 "LC08_L2SP_028030_20200114_20200824_02_T1_SR"):  # fmt: skip
        item = parse_item(json.loads((folder / f"{name}.json").read_text()))
        chosen[name[:4]] = [one.key for one in choose_assets(list(item_assets(item, "")), ())]

    assert sorted(chosen["S2B_"]) == ["B02", "B03", "B04", "B08", "B11", "SCL"]
    assert sorted(chosen["S2A_"]) == ["B02", "B03", "B04", "B08", "B11", "SCL"]
    assert sorted(chosen["LC08"]) == ["blue", "green", "nir08", "qa_pixel", "red", "swir16"]
