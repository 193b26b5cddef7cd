"""How does the service listen?"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx2
import pytest

from services.api.server import is_loopback, serve
from services.errors import UsageError
from services.settings import Settings


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def address(filled: Settings) -> Iterator[str]:
    """Address of a real server process on the filled database."""
    port = free_port()
    program = (
        f"from services.api.server import serve; from services.settings import Settings; serve(Settings(), port={port})"
    )
    environment = os.environ | {"INTERVAL_DATABASE_URL": filled.database_url}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment)
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx2.get(f"{address}/health", timeout=5)
                break
            except httpx2.TransportError:
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server did not answer within a minute"
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_a_real_server_answers_and_pages(address: str) -> None:
    with httpx2.Client(base_url=address) as client:
        first = client.get("/reports", params={"limit": 9}).json()
        second = client.get("/reports", params={"limit": 9, "cursor": first["next_cursor"]}).json()
        missing = client.get("/reports/unknown")

    assert (len(first["items"]), len(second["items"]), second["next_cursor"]) == (9, 4, None)
    assert missing.headers["content-type"] == "application/problem+json"
    assert "server" not in missing.headers


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_addresses_of_this_machine_only_are_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "hospital.example", ""])
def test_an_address_that_others_reach_is_refused_without_consent(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(UsageError, match="--allow-unauthenticated"):
        serve(Settings(database_url="sqlite://"), host=host)
