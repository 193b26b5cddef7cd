"""`interval mirror` as a process: exit codes, what it prints, and that a kill at any moment does no harm."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from ingest.index import index_archive
from ingest.sidecar import MIRROR_WORK
from tests.ingest.awkward_peer import AwkwardPeer, serve
from tests.ingest.radiograph_files import a_radiograph

TOKEN = {"INTERVAL_DICOMWEB_TOKEN": "s3cret-token"}
NAME = "Canary^Yellow"


def an_archive(studies: int) -> list[Dataset]:
    return [
        a_radiograph(StudyInstanceUID=f"1.{study}", SOPInstanceUID=f"1.{study}.{number}", PatientID=f"00{study}")
        for study in range(studies)
        for number in range(2)
    ]


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from services.cli import main; main()", "mirror", *map(str, arguments)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: object, **environment: str) -> tuple[int, str, str]:
    process = start(*arguments, **environment)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def contents_below(folder: Path) -> Counter[bytes]:
    files = [one for one in folder.rglob("*.dcm") if MIRROR_WORK not in one.parts]
    return Counter(one.read_bytes() for one in files)


def test_a_whole_mirror_ends_with_zero_and_says_what_it_did(tmp_path: Path) -> None:
    peer = AwkwardPeer(an_archive(3))
    with serve(peer) as address:
        code, out, err = run(address, tmp_path / "mirror", "--json", **TOKEN)
        plain = run(address, tmp_path / "mirror", **TOKEN)

    counts = {
        "studies": 3,
        "complete": 3,
        "held back": 0,
        "instances fetched now": 6,
        "instances kept": 0,
        "refused": 0,
    }
    assert code == 0, err
    assert json.loads(out) == {"counts": counts, "refusals": []}
    assert "Studies: 100%" in err
    assert plain[0] == 0
    assert "instances kept         6" in plain[1]
    assert contents_below(tmp_path / "mirror") == Counter(peer.instances.values())
    assert peer.authorizations == {"Bearer s3cret-token"}


def test_refusals_end_with_one_and_neither_secret_nor_patient_is_printed(tmp_path: Path) -> None:
    peer = AwkwardPeer(an_archive(3))
    peer.behaviour.statuses = {r"/instances/1\.1\.0$": 400}
    peer.behaviour.swapped = {"1.1.1": "1.2.1"}
    ids = tmp_path / "ids.txt"
    ids.write_text("001\n\n002\r\n")

    with serve(peer) as address:
        peer.behaviour.statuses[r"/studies/1\.1/series/[\d.]+$"] = 400
        peer.behaviour.hangs_up = {r"/studies\?.*StudyInstanceUID=1\.2$": 1, r"/series/.*/instances\?": 1}
        code, out, err = run(address, tmp_path / "mirror", "--patient-ids", ids, INTERVAL_LOG_LEVEL="DEBUG", **TOKEN)

    assert code == 1
    assert "BAD_ANSWER  instance  1.1.0" in out
    assert "NOT_THERE  instance  1.1.1" in out
    for secret in ("s3cret", NAME, "Canary", "001\n", str(tmp_path)):
        assert secret not in out + err
    assert contents_below(tmp_path / "mirror") == Counter(
        content for key, content in peer.instances.items() if key[0] == "1.2"
    )


@pytest.mark.parametrize(
    ("address", "environment", "options"),
    [
        ("https://user:s3cret@pacs.example/dicom-web", {}, []),
        ("https://pacs.example/dicom-web", {"INTERVAL_DICOMWEB_TOKEN": "s3cret\n"}, []),
        ("https://pacs.example/dicom-web", {}, ["--study-date", "yesterday"]),
    ],
)
def test_what_cannot_be_meant_ends_with_two(
    tmp_path: Path, address: str, environment: dict[str, str], options: list[str]
) -> None:
    code, out, err = run(address, tmp_path / "mirror", *options, **environment)

    assert (code, out) == (2, "")
    assert "s3cret" not in err
    assert not (tmp_path / "mirror").exists()


def test_a_peer_that_is_not_there_ends_with_one_and_a_sentence(tmp_path: Path) -> None:
    with serve(AwkwardPeer([])) as address:
        pass

    code, _, err = run(address, tmp_path / "mirror")

    assert code == 1
    assert err.strip() == "PeerUnavailable: The peer does not answer; check the address and that it runs."


def test_a_mirror_killed_again_and_again_is_whole_in_the_end(tmp_path: Path) -> None:
    peer = AwkwardPeer(an_archive(60))
    reached: list[int] = []
    with serve(peer) as address:
        for more in (1, 10, 25):
            process = start(address, tmp_path / "mirror")
            try:
                wait_for_files(tmp_path / "mirror", sum(reached[-1:]) + more, process)
            finally:
                process.send_signal(signal.SIGKILL)
                process.communicate()
            reached.append(contents_below(tmp_path / "mirror").total())
            index = index_archive(tmp_path / "mirror", workers=0)
            assert len(index.acquisitions) + len(index.refusals) == reached[-1]
            assert reached[-1] % 2 == 0
        code, out, err = run(address, tmp_path / "mirror", "--json")

    counts: dict[str, Any] = json.loads(out)["counts"]
    assert code == 0, err
    assert reached == sorted(set(reached))
    assert 0 < reached[0] < reached[-1] < 120
    assert contents_below(tmp_path / "mirror") == Counter(peer.instances.values())
    assert counts["instances fetched now"] + counts["instances kept"] == 120
    assert counts["instances kept"] >= reached[-1]
    assert not list((tmp_path / "mirror").rglob("*.part"))


def wait_for_files(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        # Only below folders of released studies: those of the others go away while one looks.
        if sum(1 for _ in folder.glob("[0-9a-f]*/*/*.dcm")) >= count:
            return
        time.sleep(0.005)
    pytest.fail(f"the run ended before it could be killed: {process.returncode}")
