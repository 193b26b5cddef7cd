"""A DICOMweb peer over real sockets that misbehaves as told."""

import io
import json
import re
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

Key = tuple[str, str, str]
BOUNDARY = "a-boundary"


def dicom_bytes(dataset: Dataset) -> bytes:
    """The dataset as a file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    target = io.BytesIO()
    dataset.save_as(target, enforce_file_format=True)
    return target.getvalue()


@dataclass
class Behaviour:
    """What the peer does wrong; without any, it is a good one.

    `busy`, `cut` and `hangs_up` count down the times by a pattern of the path; -1 is always.
    """

    most: int = 10**9
    ignores_offset: bool = False
    counts_more: int = 0
    miscounts: int = -1
    has_counts: bool = True
    repeats_rows: bool = False
    swapped: dict[str, str] = field(default_factory=dict)
    busy: dict[str, int] = field(default_factory=dict)
    retry_after: str = "7"
    cut: dict[str, int] = field(default_factory=dict)
    hangs_up: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    redirect: str = ""
    framing: str = "length"
    multipart: bool = True
    garbage: bytes = b""
    renamed: dict[str, str] = field(default_factory=dict)


class AwkwardPeer:
    """Holds instances, answers QIDO-RS and WADO-RS, and remembers what it was asked."""

    def __init__(self, datasets: list[Dataset]):
        self.instances: dict[Key, bytes] = {}
        self.headers: dict[Key, Dataset] = {}
        self.behaviour = Behaviour()
        self.port = 0
        self.asked: list[str] = []
        self.authorizations: set[str | None] = set()
        for one in datasets:
            self.add(one)

    def add(self, dataset: Dataset) -> None:
        key = (str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID))
        self.instances[key] = dicom_bytes(dataset)
        self.headers[key] = dataset

    def count_asked(self, pattern: str) -> int:
        return sum(re.search(pattern, one) is not None for one in self.asked)

    def rows(self, path: list[str]) -> list[dict[str, Any]]:
        """Entries of a search in the DICOM JSON model."""
        depth = len(path) // 2
        inside = [one for one in self.instances if list(one[:depth]) == path[1::2]]
        counted = self._counted()
        found: dict[str, dict[str, Any]] = {}
        for key in inside:
            header = self.headers[key]
            uid = key[depth]
            row = {
                ("0020000D", "0020000E", "00080018")[depth]: self.behaviour.renamed.get(uid, uid),
                "00100020": str(header.PatientID),
                "00100010": str(header.PatientName),
                "00080020": str(header.StudyDate),
                "00080060": str(header.Modality),
            }
            if self.behaviour.has_counts and depth == 0:
                row["00201206"] = len({one[1] for one in inside if one[0] == uid})
                row["00201208"] = sum(one[0] == uid for one in inside) + counted
            if self.behaviour.has_counts and depth == 1:
                row["00201209"] = sum(one[1] == uid for one in inside)
            found[uid] = {tag: {"vr": "LO", "Value": [value]} for tag, value in row.items()}
        rows = list(found.values())
        return [*rows, *rows[:1]] if self.behaviour.repeats_rows else rows

    def _counted(self) -> int:
        if self.behaviour.miscounts == 0:
            return 0
        self.behaviour.miscounts -= 1
        return self.behaviour.counts_more


@contextmanager
def serve(peer: AwkwardPeer, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serves the peer on a loopback port, the same one each time, and gives its address."""

    class Handler(_Handler):
        held = peer

    server = ThreadingHTTPServer(("127.0.0.1", peer.port), Handler)
    peer.port = server.server_port
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http{'s' if context else ''}://127.0.0.1:{server.server_port}/dicom-web"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _takes_turn(turns: dict[str, int], path: str) -> bool:
    for pattern, left in turns.items():
        if left != 0 and re.search(pattern, path):
            turns[pattern] = left - 1
            return True
    return False


class _Handler(BaseHTTPRequestHandler):
    held: AwkwardPeer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        peer, wrong = self.held, self.held.behaviour
        peer.asked.append(self.path)
        peer.authorizations.add(self.headers["Authorization"])
        parts = urlsplit(self.path)
        path = parts.path.split("/")[2:]
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if _takes_turn(wrong.hangs_up, self.path):
            return
        if _takes_turn(wrong.busy, self.path):
            self._answer(503, b"", {"Retry-After": wrong.retry_after})
        elif status := next((code for pattern, code in wrong.statuses.items() if re.search(pattern, self.path)), 0):
            self._answer(status, b"patient Canary^Yellow is not to be quoted", {})
        elif wrong.redirect:
            self._answer(302, b"", {"Location": wrong.redirect})
        elif len(path) % 2:
            self._search(path, query)
        else:
            self._retrieve(path)

    def _search(self, path: list[str], query: dict[str, str]) -> None:
        wrong = self.held.behaviour
        rows = self.held.rows(path)
        if (study := query.get("StudyInstanceUID")) is not None:
            rows = [one for one in rows if one["0020000D"]["Value"] == [study]]
        start = 0 if wrong.ignores_offset else int(query.get("offset", 0))
        page = rows[start : start + min(int(query.get("limit", 10**9)), wrong.most)]
        self._answer(200, wrong.garbage or json.dumps(page).encode(), {"Content-Type": "application/dicom+json"})

    def _retrieve(self, path: list[str]) -> None:
        peer, wrong = self.held, self.held.behaviour
        uids = path[1::2]
        uids = [wrong.swapped.get(one, one) for one in uids]
        found = [content for key, content in sorted(peer.instances.items()) if list(key[: len(uids)]) == uids]
        if not found:
            self._answer(404, b"", {})
        elif wrong.multipart:
            pieces: list[bytes] = []
            for content in found:
                pieces += [f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode(), content, b"\r\n"]
            pieces.append(f"--{BOUNDARY}--\r\n".encode())
            kind = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'
            self._answer(200, pieces, {"Content-Type": kind})
        else:
            self._answer(200, found[0], {"Content-Type": "application/dicom"})

    def _answer(self, status: int, body: bytes | list[bytes], headers: dict[str, str]) -> None:
        pieces = [body] if isinstance(body, bytes) else body
        wrong = self.held.behaviour
        total = sum(map(len, pieces))
        left = total * 2 // 3 if _takes_turn(wrong.cut, self.path) else total
        whole = left == total
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if wrong.framing == "length":
            self.send_header("Content-Length", str(total))
        elif wrong.framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        for piece in pieces:
            for start in range(0, min(len(piece), left), 2**16):
                chunk = memoryview(piece)[start : min(start + 2**16, left)]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if wrong.framing == "chunked" else chunk)
            left -= min(len(piece), left)
        if wrong.framing == "chunked" and whole:
            self.wfile.write(b"0\r\n\r\n")


def count_by_level(refusals: Any) -> Counter[tuple[str, str]]:
    """How often each reason was given at each level."""
    return Counter((one.level, one.code) for one in refusals)
