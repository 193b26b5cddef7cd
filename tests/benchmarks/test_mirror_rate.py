"""How fast is a mirror beside dicomweb-client and its datasets saved?

Both ask one Orthanc on this machine, in turns. The mirror also syncs each file to the disk, which the other does not.
"""

import hashlib
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import requests
from dicomweb_client.web import DICOMwebClient

from ingest.dicom.dicomweb import Peer
from ingest.dicom.mirror import mirror_peer
from ingest.dicom.web_session import make_login
from tests.ingest.awkward_peer import dicom_bytes
from tests.ingest.orthanc_peer import PASSWORD, USER, OrthancPeer, require_orthanc
from tests.ingest.volume_files import a_slice

pytestmark = pytest.mark.benchmark

SERIES, SLICES, ROUNDS = 6, 40, 3


def test_mirror_rate(tmp_path: Path, require_program: Callable[[str], Path]) -> None:
    peer = OrthancPeer(require_orthanc(require_program), tmp_path)
    peer.start()
    try:
        contents = a_ct_archive()
        peer.store(*contents)
        stored = {hashlib.sha256(one).hexdigest() for one in contents}
        times: dict[str, list[float]] = {"mirror": [], "client": []}
        for number in range(ROUNDS):
            for name, fetch in (("mirror", by_mirror), ("client", by_client)):
                folder = tmp_path / f"{name}{number}"
                start = time.perf_counter()
                fetch(peer.address, folder)
                times[name].append(time.perf_counter() - start)
                files = list(folder.rglob("*.dcm"))
                assert {hashlib.sha256(one.read_bytes()).hexdigest() for one in files} == stored
        start = time.perf_counter()
        by_mirror(peer.address, tmp_path / "mirror0")
        again = time.perf_counter() - start
    finally:
        peer.stop()
    rates = {name: len(contents) / min(values) for name, values in times.items()}
    print(
        f"\n{len(contents)} CT slices of {len(contents[0]) / 2**20:.2f} MiB, best of {ROUNDS}: mirror "
        f"{rates['mirror']:.0f}/s, dicomweb-client with save_as {rates['client']:.0f}/s, "
        f"ratio {rates['mirror'] / rates['client']:.2f}; a run with nothing new takes {again:.2f} s"
    )


def a_ct_archive() -> list[bytes]:
    rng = np.random.default_rng(0)
    made = []
    for series in range(SERIES):
        uid = f"2.25.31.{series}"
        for number in range(SLICES):
            pixels = rng.integers(0, 2000, (512, 512), dtype=np.uint16)
            uids = {"StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.1", "SOPInstanceUID": f"{uid}.1.{number}"}
            made.append(dicom_bytes(a_slice(number, (0.0, 0.0, float(number)), pixels, **uids)))
    return made


def by_mirror(address: str, folder: Path) -> None:
    with closing(Peer(address, make_login(user=USER, password=PASSWORD))) as peer:
        assert mirror_peer(peer, folder).refusals == []


def by_client(address: str, folder: Path) -> None:
    folder.mkdir()
    with requests.Session() as session:
        session.auth = (USER.encode(), PASSWORD.encode())
        client = DICOMwebClient(address, session=session)
        for entry in client.search_for_series(get_remaining=True):
            study, series = (entry[tag]["Value"][0] for tag in ("0020000D", "0020000E"))
            for dataset in client.iter_series(study, series, media_types=(("application/dicom", "*"),)):
                dataset.save_as(folder / f"{dataset.SOPInstanceUID}.dcm")
