"""A peer that misbehaves: nothing is lost, nothing is taken twice, and what is missing is listed."""

import errno
import logging
import os
import tracemalloc
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from ingest.dicom import dicomweb
from ingest.dicom.dicomweb import Peer
from ingest.dicom.mirror import MirrorSummary, Selection, mirror_peer
from ingest.dicom.peer_errors import (
    BadAnswer,
    BadSelection,
    PeerUnavailable,
)
from ingest.dicom.web_session import Login, make_login
from ingest.index import index_archive
from ingest.sidecar import MIRROR_WORK
from tests.ingest.awkward_peer import AwkwardPeer, count_by_level, serve
from tests.ingest.radiograph_files import a_radiograph

NOBODY = Login()


def an_image(study: str, series: str, number: int, **tags: Any) -> Dataset:
    made = a_radiograph(StudyInstanceUID=study, SOPInstanceUID=f"{series}.{number}", **tags)
    made.SeriesInstanceUID = series
    return made


def an_archive(*, studies: int = 2, images: int = 3) -> list[Dataset]:
    """Studies 1.1, 1.2, ... of one series each, whose images are 1.1.1.1, 1.1.1.2, ..."""
    return [
        an_image(f"1.{study}", f"1.{study}.1", number)
        for study in range(1, studies + 1)
        for number in range(1, images + 1)
    ]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock's stand-in: what would have been waited, in seconds."""
    waited: list[float] = []
    monkeypatch.setattr(dicomweb, "_sleep", waited.append)
    return waited


@pytest.fixture
def peer() -> AwkwardPeer:
    return AwkwardPeer(an_archive())


def run(peer: AwkwardPeer, folder: Path, *, login: Login = NOBODY, **given: Any) -> MirrorSummary:
    with serve(peer) as address, closing(Peer(address, login, patience=60.0)) as client:
        return mirror_peer(client, folder, **given)


def uids_below(folder: Path) -> list[str]:
    """UIDs of the files in the archive, without what is being gathered."""
    files = [one for one in folder.rglob("*") if one.is_file() and MIRROR_WORK not in one.parts]
    return sorted(str(dcmread(one).SOPInstanceUID) for one in files)


def all_uids(peer: AwkwardPeer) -> list[str]:
    return sorted(one[2] for one in peer.instances)


def test_short_pages_are_followed_to_an_empty_one(tmp_path: Path) -> None:
    peer = AwkwardPeer(an_archive(studies=1, images=250))
    peer.behaviour.most = 100

    summary = run(peer, tmp_path)

    assert uids_below(tmp_path) == all_uids(peer)
    assert (summary.fetched, summary.complete, summary.refusals) == (250, 1, [])


def test_a_peer_that_ignores_the_offset_ends_and_its_short_list_is_noticed(tmp_path: Path) -> None:
    peer = AwkwardPeer(an_archive(studies=1, images=150))
    peer.behaviour.ignores_offset, peer.behaviour.most = True, 100

    summary = run(peer, tmp_path)

    assert count_by_level(summary.refusals) == {("peer", "PAGE_REPEATED"): 1, ("study", "COUNT_MISMATCH"): 1}
    assert (summary.complete, summary.held_back, uids_below(tmp_path)) == (0, 1, [])


def test_a_peer_that_ignores_the_offset_and_gives_all_at_once_loses_nothing(peer: AwkwardPeer, tmp_path: Path) -> None:
    peer.behaviour.ignores_offset = True

    summary = run(peer, tmp_path)

    assert uids_below(tmp_path) == all_uids(peer)
    assert count_by_level(summary.refusals) == {("peer", "PAGE_REPEATED"): 1}


def test_rows_that_come_twice_are_taken_once(peer: AwkwardPeer, tmp_path: Path) -> None:
    peer.behaviour.repeats_rows = True

    summary = run(peer, tmp_path)

    assert uids_below(tmp_path) == all_uids(peer)
    assert (summary.fetched, summary.refusals) == (6, [])


def test_a_busy_peer_is_asked_again_when_it_says(peer: AwkwardPeer, tmp_path: Path, waits: list[float]) -> None:
    peer.behaviour.busy = {r"/series/1\.1\.1/instances\?": 2, r"/studies\?.*StudyInstanceUID=1\.2": 1}

    summary = run(peer, tmp_path)

    assert (summary.fetched, summary.refusals) == (6, [])
    assert waits == [7.0, 7.0, 7.0]


def test_a_peer_that_asks_for_more_time_than_there_is_ends_the_run(peer: AwkwardPeer, tmp_path: Path) -> None:
    peer.behaviour.busy, peer.behaviour.retry_after = {"/studies": -1}, "3600"

    with pytest.raises(PeerUnavailable):
        run(peer, tmp_path)

    assert peer.count_asked("") == 1


@pytest.mark.parametrize(
    ("wrong", "code"), [("busy", "PEER_FAILED"), ("cut", "ANSWER_CUT"), ("hangs_up", "PEER_FAILED")]
)
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_an_instance_that_always_fails_is_listed_and_the_rest_comes(
    peer: AwkwardPeer, tmp_path: Path, wrong: str, code: str, framing: str
) -> None:
    peer.behaviour.framing = framing
    setattr(peer.behaviour, wrong, {r"/series/1\.1\.1$": -1, r"/instances/1\.1\.1\.2$": -1})

    summary = run(peer, tmp_path)
    left = [one.name for one in tmp_path.rglob("*") if one.suffix == ".part"]
    reached = uids_below(tmp_path)
    setattr(peer.behaviour, wrong, {})
    again = run(peer, tmp_path)

    assert [(one.item, one.level, one.code) for one in summary.refusals] == [("1.1.1.2", "instance", code)]
    assert (summary.fetched, summary.complete, left) == (5, 1, [])
    assert reached == [one for one in all_uids(peer) if one != "1.1.1.2"]
    assert (again.fetched, again.kept, again.refusals) == (1, 5, [])
    assert uids_below(tmp_path) == all_uids(peer)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_an_answer_that_is_cut_once_is_asked_for_again(peer: AwkwardPeer, tmp_path: Path, framing: str) -> None:
    peer.behaviour.framing = framing
    peer.behaviour.cut = {r"/series/1\.1\.1$": 1, r"/instances/1\.1\.1\.3$": 2}

    summary = run(peer, tmp_path)

    assert (summary.fetched, summary.refusals) == (6, [])
    assert uids_below(tmp_path) == all_uids(peer)


def test_a_series_is_one_answer_and_only_what_is_missing_is_asked_for_later(peer: AwkwardPeer, tmp_path: Path) -> None:
    run(peer, tmp_path)
    first = peer.count_asked(r"/series/[\d.]+$"), peer.count_asked(r"/instances/")
    peer.asked.clear()
    peer.add(an_image("1.2", "1.2.1", 9))
    run(peer, tmp_path)

    assert first == (2, 0)
    assert (peer.count_asked(r"/series/[\d.]+$"), peer.count_asked(r"/instances/1\.2\.1\.9$")) == (0, 1)
    assert peer.count_asked(r"/instances/") == 1


def test_another_instance_than_the_asked_one_is_refused(peer: AwkwardPeer, tmp_path: Path) -> None:
    peer.add(an_image("1.3", "1.3.1", 1))
    peer.behaviour.swapped = {"1.3": "1.1", "1.3.1": "1.1.1", "1.3.1.1": "1.1.1.2"}

    summary = run(peer, tmp_path)

    assert [(one.item, one.code) for one in summary.refusals] == [("1.3.1.1", "WRONG_INSTANCE")]
    assert uids_below(tmp_path) == [one for one in all_uids(peer) if one != "1.3.1.1"]


def test_what_is_no_dicom_is_refused(peer: AwkwardPeer, tmp_path: Path) -> None:
    peer.instances[("1.1", "1.1.1", "1.1.1.2")] = b"<html>An error page of a proxy</html>"

    summary = run(peer, tmp_path)

    assert [(one.item, one.code) for one in summary.refusals] == [("1.1.1.2", "WRONG_INSTANCE")]
    assert uids_below(tmp_path) == [one for one in all_uids(peer) if one != "1.1.1.2"]


def test_a_study_whose_counts_disagree_is_held_back_unless_allowed(peer: AwkwardPeer, tmp_path: Path) -> None:
    peer.behaviour.counts_more = 1

    summary = run(peer, tmp_path)
    index = index_archive(tmp_path, workers=0)
    allowed = run(peer, tmp_path, releases_mismatched=True)

    assert count_by_level(summary.refusals) == {("study", "COUNT_MISMATCH"): 2}
    assert (summary.fetched, summary.complete, summary.held_back) == (6, 0, 2)
    assert (index.acquisitions, index.refusals) == ((), ())
    assert (allowed.fetched, allowed.held_back, uids_below(tmp_path)) == (0, 0, all_uids(peer))
    assert count_by_level(allowed.refusals) == {("study", "COUNT_MISMATCH"): 2}


def test_a_count_that_settles_while_a_study_is_being_sent_is_no_fault(peer: AwkwardPeer, tmp_path: Path) -> None:
    peer.behaviour.counts_more, peer.behaviour.miscounts = 1, 4

    summary = run(peer, tmp_path)

    assert (summary.complete, summary.refusals, uids_below(tmp_path)) == (2, [], all_uids(peer))


def test_without_any_count_nothing_vouches_for_a_study(peer: AwkwardPeer, tmp_path: Path) -> None:
    peer.behaviour.has_counts = False

    summary = run(peer, tmp_path)

    assert count_by_level(summary.refusals) == {("study", "COUNT_UNKNOWN"): 2}
    assert summary.held_back == 2


def test_a_study_that_cannot_be_listed_does_not_block_the_rest(peer: AwkwardPeer, tmp_path: Path) -> None:
    peer.behaviour.statuses = {r"/studies/1\.1/series": 500}

    summary = run(peer, tmp_path)

    assert [(one.item, one.level, one.code) for one in summary.refusals] == [("1.1", "study", "PEER_FAILED")]
    assert uids_below(tmp_path) == [one for one in all_uids(peer) if one.startswith("1.2.")]


def test_an_answer_without_parts_is_taken_if_its_end_can_be_told(peer: AwkwardPeer, tmp_path: Path) -> None:
    peer.behaviour.multipart = False

    whole = run(peer, tmp_path / "whole")
    peer.behaviour.framing = "close"
    endless = run(peer, tmp_path / "endless")

    assert (whole.refusals, uids_below(tmp_path / "whole")) == ([], all_uids(peer))
    assert count_by_level(endless.refusals) == {("instance", "BAD_ANSWER"): 6}
    assert uids_below(tmp_path / "endless") == []


@pytest.mark.parametrize("garbage", [b"<html>", b"[1, 2]", b'"text"', b"[", b"\xff\xfe"])
def test_an_answer_that_is_no_list_is_said(peer: AwkwardPeer, tmp_path: Path, garbage: bytes) -> None:
    peer.behaviour.garbage = garbage

    with pytest.raises(BadAnswer):
        run(peer, tmp_path)


@pytest.mark.parametrize("uid", ["../../../tmp/x", "1.2/../..", "", "x" * 65, "1.2?limit=1", "1.2%2f..", "..", "1.2\n"])
def test_a_uid_that_is_none_becomes_no_path(peer: AwkwardPeer, tmp_path: Path, uid: str) -> None:
    peer.behaviour.renamed = {"1.1": uid}

    summary = run(peer, tmp_path / "inside" / "mirror")

    assert count_by_level(summary.refusals) == {("peer", "BAD_ANSWER"): 1}
    assert uids_below(tmp_path / "inside" / "mirror") == [one for one in all_uids(peer) if one.startswith("1.2.")]
    assert [one.name for one in tmp_path.iterdir()] == ["inside"]
    assert peer.count_asked(r"/studies/(?!1\.2/)") == 0


def test_neither_records_nor_refusals_hold_a_patient_or_a_login(
    peer: AwkwardPeer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="ingest")
    peer.behaviour.statuses = {r"/instances/1\.1\.1\.2$": 400, r"/series/1\.1\.1$": 500}
    peer.behaviour.hangs_up = {r"/instances/1\.1\.1\.3$": -1}

    login = make_login(token="s3cret-token")
    summary = run(peer, tmp_path, login=login, selection=Selection(patient_ids=frozenset({"00417"})))

    said = [repr(login), repr(summary), *(repr(vars(one)) for one in caplog.records if one.name.startswith("ingest"))]
    assert count_by_level(summary.refusals) == {("instance", "BAD_ANSWER"): 1, ("instance", "PEER_FAILED"): 1}
    for secret in ("Canary", "00417", "s3cret", str(tmp_path)):
        assert secret not in "".join(said)
        assert peer.count_asked(secret) == 0


def test_a_peer_that_never_was_there_is_said_without_a_long_wait(tmp_path: Path, waits: list[float]) -> None:
    with serve(AwkwardPeer([])) as address:
        pass
    with closing(Peer(address, NOBODY)) as client, pytest.raises(PeerUnavailable):
        mirror_peer(client, tmp_path)

    assert sum(waits) < 5


def test_a_large_instance_is_not_held_in_memory(tmp_path: Path) -> None:
    size = 48 * 2**20
    peer = AwkwardPeer([an_image("1.1", "1.1.1", 1)])
    large = an_image("1.2", "1.2.1", 1)
    large.PixelData = bytes(size)
    large["PixelData"].VR = "OW"
    peer.add(large)
    with serve(peer) as address, closing(Peer(address, NOBODY)) as client:
        tracemalloc.start()
        try:
            summary = mirror_peer(client, tmp_path)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert summary.fetched == 2
    assert peak < size / 4
    assert max(one.stat().st_size for one in tmp_path.rglob("*.dcm")) > size


def test_a_full_disk_ends_the_run_and_the_next_one_goes_on(
    peer: AwkwardPeer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    sync = os.fsync

    def fail(handle: int) -> None:
        synced.append(handle)
        if len(synced) == 5:
            raise OSError(errno.ENOSPC, "a message", f"{tmp_path}/Canary^Yellow")
        sync(handle)

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", fail)
        summary = run(peer, tmp_path)
    again = run(peer, tmp_path)

    assert [(one.level, one.code) for one in summary.refusals] == [("folder", "FOLDER_UNUSABLE")]
    assert "No space left" in summary.refusals[0].reason
    assert "Canary" not in summary.refusals[0].reason
    assert 0 < summary.fetched < 6
    assert summary.fetched + again.fetched == 6
    assert uids_below(tmp_path) == all_uids(peer)


def test_what_a_kill_left_behind_is_removed_and_does_no_harm(peer: AwkwardPeer, tmp_path: Path) -> None:
    peer.behaviour.counts_more = 1
    run(peer, tmp_path)
    peer.behaviour.counts_more = 0
    series = next(one for one in tmp_path.rglob("*.dcm")).parent
    (series / "incoming.part").write_bytes(b"half")

    summary = run(peer, tmp_path)

    assert (summary.fetched, summary.kept, summary.held_back) == (0, 6, 0)
    assert uids_below(tmp_path) == all_uids(peer)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("date", ["2020", "-", "20200101-2021", "20200101-20210101-", "x" * 8])
def test_a_date_that_is_none_is_refused(date: str) -> None:
    with pytest.raises(BadSelection):
        Selection(study_date=date)


@pytest.mark.parametrize(
    ("date", "taken"),
    [
        ("20200101", {"20200101"}),
        ("20200101-20200630", {"20200101", "20200630"}),
        ("-20200630", {"19991231", "20200101", "20200630"}),
        ("20200630-", {"20200630", "20210101"}),
        ("", {"", "19991231", "20200101", "20200630", "20210101"}),
    ],
)
def test_dates_are_checked_here_too_since_peers_ignore_what_they_do_not_know(
    tmp_path: Path, date: str, taken: set[str]
) -> None:
    dates = ("", "19991231", "20200101", "20200630", "20210101")
    peer = AwkwardPeer([an_image(f"1.{at}", f"1.{at}.1", 1, StudyDate=one) for at, one in enumerate(dates)])

    run(peer, tmp_path, selection=Selection(study_date=date))

    assert {str(dcmread(one).StudyDate) for one in tmp_path.rglob("*.dcm")} == taken


def test_names_of_files_say_nothing_and_contents_are_the_peers(peer: AwkwardPeer, tmp_path: Path) -> None:
    run(peer, tmp_path)

    files = list(tmp_path.rglob("*.dcm"))
    assert Counter(one.read_bytes() for one in files) == Counter(peer.instances.values())
    assert all(len(one.stem) == 32 and int(one.stem, 16) for one in files)
