"""A STAC API on this machine: search in pages, files that fail for a while or need a signature."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.ingest.stac_files import write_item

NAMES = ("S2A_33UUU_20200501_0_L2A", "S2A_33UUU_20210501_0_L2A")
CONFORMS = [
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/item-search",
]


class StacPeer:
    """What the server holds and how it misbehaves.

    Attributes:
        items: Items in the order of the search.
        folder: Where the files lie that are given below /files/.
        failures: Statuses that a path is answered with before it is given.
        signature: What has to stand behind a file's address; empty for nothing.
        expired: True lets the next signature be refused once.
        redirects: Address that a path is redirected to.
        seen: Requests by path.
        authorizations: What requests had as Authorization; empty for none.
    """

    def __init__(self, folder: Path) -> None:
        self.items: list[dict[str, Any]] = []
        self.folder = folder
        self.failures: dict[str, list[int]] = {}
        self.signature = ""
        self.expired = False
        self.redirects: dict[str, str] = {}
        self.seen: Counter[str] = Counter()
        self.authorizations: set[str] = set()
        self.bodies: list[dict[str, Any]] = []
        self.next_link = ""
        self.address = ""

    def landing(self) -> dict[str, Any]:
        links = [{"rel": rel, "href": self.address} for rel in ("self", "root")]
        links.append(
            {"rel": "search", "href": f"{self.address}/search", "method": "POST", "type": "application/geo+json"}
        )
        return {
            "type": "Catalog", "stac_version": "1.0.0", "id": "peer", "description": "x",
            "conformsTo": CONFORMS, "links": links,
        }  # fmt: skip

    def page(self, body: dict[str, Any]) -> dict[str, Any]:
        """One item a page."""
        self.bodies.append(body)
        at = int(body.get("token", 0))
        links = []
        if at + 1 < len(self.items):
            href = self.next_link or f"{self.address}/search"
            links.append({"rel": "next", "href": href, "method": "POST", "body": {**body, "token": at + 1}})
        return {"type": "FeatureCollection", "features": self.items[at : at + 1], "links": links}


@contextmanager
def serve(peer: StacPeer) -> Iterator[str]:
    """The peer's address while it answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

        def answer(self, status: int, content: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            peer.seen[self.path] += 1
            peer.authorizations.add(self.headers.get("Authorization", ""))
            self.answer(200, json.dumps(peer.page(body)).encode())

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            peer.seen[parts.path] += 1
            peer.authorizations.add(self.headers.get("Authorization", ""))
            if peer.failures.get(parts.path):
                self.answer(peer.failures[parts.path].pop(0), b"", Retry_After="0")
            elif parts.path in peer.redirects:
                self.answer(302, b"", Location=peer.redirects[parts.path])
            elif parts.path in ("", "/"):
                self.answer(200, json.dumps(peer.landing()).encode())
            elif parts.path == "/sign":
                self.answer(200, json.dumps({"href": f"{query['href']}?sig={peer.signature}"}).encode())
            elif parts.path.startswith("/files/"):
                if peer.signature and (query.get("sig") != peer.signature or peer.expired):
                    peer.expired = False
                    self.answer(403, b"")
                else:
                    self.answer(200, (peer.folder / parts.path.removeprefix("/files/")).read_bytes())
            else:
                self.answer(404, b"")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    peer.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield peer.address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serve_two_items(folder: Path) -> Iterator[StacPeer]:
    """A running service with two items of one place, `NAMES`, a year apart."""
    held = StacPeer(folder)
    with serve(held) as address:
        for year, name in zip((2020, 2021), NAMES, strict=True):
            write_item(
                held.folder, name, time=f"{year}-05-01T10:00:00Z", seed=year, platform="sentinel-2a", nodata=0,
                **{"eo:cloud_cover": year - 2000},
            )  # fmt: skip
            values = json.loads((held.folder / f"{name}.json").read_text())
            for asset in values["assets"].values():
                asset["href"] = f"{address}/files/{asset['href'][2:]}"
            held.items.append(values)
        yield held
