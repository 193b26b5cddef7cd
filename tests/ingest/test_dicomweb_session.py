"""How a peer is spoken to: addresses, logins, redirects, certificates."""

import ssl
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ingest.dicom.dicomweb import Peer
from ingest.dicom.mirror import mirror_peer
from ingest.dicom.peer_errors import BadAddress, BadLogin, CertificateRefused, RedirectRefused
from ingest.dicom.web_session import Login, check_address, make_login
from tests.ingest.awkward_peer import AwkwardPeer, serve
from tests.ingest.radiograph_files import a_radiograph

NOBODY = Login()


@pytest.fixture
def peer() -> AwkwardPeer:
    return AwkwardPeer([a_radiograph()])


def run(peer: AwkwardPeer, folder: Path, login: Login) -> None:
    with serve(peer) as address, closing(Peer(address, login)) as client:
        assert mirror_peer(client, folder).fetched == 1


def test_a_redirect_is_not_followed_and_the_login_stays_here(peer: AwkwardPeer, tmp_path: Path) -> None:
    other = AwkwardPeer([a_radiograph()])
    with serve(other) as elsewhere:
        for target in (elsewhere, "file:///etc/passwd", "/dicom-web/else"):
            peer.behaviour.redirect = target
            with pytest.raises(RedirectRefused):
                run(peer, tmp_path, make_login(token="secret"))

    assert other.asked == []
    assert peer.authorizations == {"Bearer secret"}


def test_no_login_is_taken_from_a_netrc(peer: AwkwardPeer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    run(peer, tmp_path / "mirror", NOBODY)

    assert peer.authorizations == {None}


def test_a_login_goes_with_every_request(peer: AwkwardPeer, tmp_path: Path) -> None:
    run(peer, tmp_path, make_login(user="reader", password="päss:word"))

    assert peer.authorizations == {"Basic cmVhZGVyOnDDpHNzOndvcmQ="}


@pytest.mark.parametrize(
    "address",
    [
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "127.0.0.1:8042/dicom-web",
        "http://",
        "https://user:secret@pacs.example/dicom-web",
        "https://secret@pacs.example/dicom-web",
        "https://pacs.example/dicom-web?key=secret",
        "https://pacs.example/dicom-web#secret",
        "http://pacs.example/dicom-web",
        "http://127.0.0.1.secret.example/dicom-web",
        "https://pacs.example:99999/dicom-web",
        "https://pacs.example/dicom-web\r\nsecret: 1",
        "https://[::1/dicom-web",
    ],
)
def test_an_address_that_is_unsafe_or_none_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(BadAddress) as caught:
        check_address(address)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "checked"),
    [
        ("https://pacs.example/dicom-web/", "https://pacs.example/dicom-web"),
        ("http://127.0.0.1:8042/dicom-web", "http://127.0.0.1:8042/dicom-web"),
        ("http://[::1]:8042", "http://[::1]:8042"),
        ("http://localhost/rs", "http://localhost/rs"),
    ],
)
def test_an_address_of_a_service_is_taken(address: str, checked: str) -> None:
    assert check_address(address) == checked
    assert Peer(address, NOBODY).address == checked


@pytest.mark.parametrize(
    "given",
    [
        {"user": "reader"},
        {"password": "secret"},
        {"user": "reader", "password": "secret", "token": "secret"},
        {"token": "secret\r\nHost: elsewhere"},
        {"token": "two secrets"},
        {"user": "re:ader", "password": "secret"},
    ],
)
def test_half_a_login_or_one_that_breaks_a_header_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(BadLogin) as caught:
        make_login(**given)

    assert "secret" not in str(caught.value)


def test_a_certificate_that_nobody_vouches_for_is_refused(
    peer: AwkwardPeer, tmp_path: Path, require_program: Callable[[str], Path]
) -> None:
    openssl = require_program("openssl")
    made = [
        str(openssl),
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    subprocess.run(
        [*made, "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key", "-out", "crt"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    with serve(peer, context) as address, closing(Peer(address, make_login(token="secret"))) as client:
        assert address.startswith("https:")
        with pytest.raises(CertificateRefused):
            mirror_peer(client, tmp_path / "mirror")

    assert peer.asked == []
