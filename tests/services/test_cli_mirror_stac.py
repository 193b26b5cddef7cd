"""`interval mirror-stac` as a process: exit codes, what it prints, and an archive that `interval index` pairs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ingest.stac_peer import NAMES, StacPeer, serve_two_items

TOKEN = {"INTERVAL_STAC_TOKEN": "s3cret-token"}


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[StacPeer]:
    """A running service with two items of one place."""
    with serve_two_items(tmp_path / "held") as held:
        yield held


def run(*arguments: object, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", "from services.cli import main; main()", *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_mirror_ends_with_zero_and_is_an_archive_that_gives_a_pair(peer: StacPeer, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    options = ("--bbox", "13,52,14,53", "--datetime", "2020-01-01/2022-01-01", "--collection", "x", "--json")

    code, out, err = run("mirror-stac", peer.address, archive, *options, **TOKEN)
    plain = run("mirror-stac", peer.address, archive, **TOKEN)
    _, indexed, _ = run("index", archive, "--json", "--db", tmp_path / "interval.sqlite")

    counts = {"items": 2, "complete": 2, "items kept": 0, "files fetched now": 10, "refused": 0}
    assert code == 0, err
    assert json.loads(out) == {"counts": counts, "refusals": []}
    assert "Items: 100%" in err
    assert plain[0] == 0
    assert "items kept         2" in plain[1]
    assert peer.bodies[0]["collections"] == ["x"]
    assert peer.authorizations == {"Bearer s3cret-token"}
    assert [(one["prior"][:24], one["current"][:24]) for one in json.loads(indexed)["pairs"]] == [NAMES]


def test_a_file_elsewhere_ends_with_one_and_no_secret_is_printed(peer: StacPeer, tmp_path: Path) -> None:
    peer.items[0]["assets"]["B04"]["href"] = "http://127.0.0.1:9/a.tif?sig=s3cret-signature"

    code, out, err = run("mirror-stac", peer.address, tmp_path / "archive", **TOKEN)

    assert code == 1
    assert "HOST_NOT_ALLOWED" in out
    assert NAMES[0] in out
    assert "s3cret" not in out + err
    assert {one.name for one in (tmp_path / "archive").iterdir() if one.name[0] != "."} == {NAMES[1]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--bbox", "13,52,14"), "four numbers"),
        (("--bbox", "a,b,c,d"), "four numbers"),
        (("--cloud-cover", "101"), "less than or equal to 100"),
    ],
)
def test_a_wrong_option_ends_with_two_before_anything_is_asked(
    peer: StacPeer, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    code, _, err = run("mirror-stac", peer.address, tmp_path / "archive", *arguments)

    assert code == 2
    assert said in err
    assert not peer.seen
    assert not (tmp_path / "archive").exists()


def test_an_address_that_is_none_ends_with_two_and_says_so(tmp_path: Path) -> None:
    code, _, err = run("mirror-stac", "file:///etc", tmp_path / "archive")

    assert code == 2
    assert "Traceback" not in err
    assert not (tmp_path / "archive").exists()
