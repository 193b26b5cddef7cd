"""How is a DICOMweb peer spoken to: at which address, as whom, and what does each failure mean?"""

import base64
import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from ingest.dicom.peer_errors import (
    AccessRefused,
    AnswerCut,
    BadAddress,
    BadAnswer,
    BadLogin,
    CertificateRefused,
    LoginRefused,
    NotThere,
    Passing,
    RedirectRefused,
)
from ingest.errors import IngestError

#: Seconds to connect, and between two pieces of an answer: a PACS may fetch a study from tape first.
TIMEOUT = (10.0, 120.0)
#: Statuses that say "not now": request timeout, too early, too many requests, and the server's own failures.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Login(AuthBase):
    """Who asks: the value of the Authorization header, which is never shown; empty for nobody."""

    authorization: str = field(default="", repr=False)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Puts the header on a request."""
        if self.authorization:
            request.headers["Authorization"] = self.authorization
        return request


def make_login(*, user: str = "", password: str = "", token: str = "") -> Login:
    """Login by user and password, or by a bearer token, or none if all are empty.

    Raises:
        BadLogin: Both kinds are given, half of one, or characters that a header cannot hold.

    Source: RFC 7617 (basic), RFC 6750 (bearer).
    """
    if bool(user) != bool(password) or (user and token) or ":" in user:
        raise BadLogin("The login is incomplete or given twice; set user and password, or the token alone.")
    if not all(one.isprintable() for one in (user, password, token)) or not token.isascii() or " " in token:
        raise BadLogin()
    if user:
        return Login("Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii"))
    return Login(f"Bearer {token}" if token else "")


def check_address(address: str, *, allow_http: bool = False) -> str:
    """The address of a DICOMweb service without a slash at its end.

    Args:
        address: Scheme, host, port, path.
        allow_http: True lets it be without TLS on another machine too.

    Raises:
        BadAddress: It is none, holds a login, or patients' data would travel in the clear.
    """
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadAddress() from error
    if parts.scheme not in ("http", "https") or not host or not address.isprintable() or " " in address:
        raise BadAddress()
    if "@" in parts.netloc:
        raise BadAddress("The address holds a login, which would end up in logs; set it in the environment instead.")
    if parts.query or parts.fragment:
        raise BadAddress("The address has a query or a fragment; give the service's address alone.")
    if parts.scheme == "http" and not allow_http and not _is_this_machine(host):
        raise BadAddress("Without TLS patients' data travel in the clear; give an https address, or --allow-http.")
    return address.rstrip("/")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class PeerSession(requests.Session):
    """Connections to one peer: certificates are verified, redirects are errors, no login but the given one is sent."""

    def __init__(self, login: Login):
        super().__init__()
        # Also where it is empty: without any, requests looks for a password in the user's .netrc.
        self.auth = login

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """The request as it is sent; dicomweb-client's Host header lacks the port, so the right one takes its place."""
        if request.headers is not None:
            request.headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        return super().prepare_request(request)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """None for an answer that is no redirect.

        Raises:
            RedirectRefused: It is one; a peer must not send a login or a reader elsewhere.
        """
        if super().get_redirect_target(resp) is not None:
            resp.close()
            raise RedirectRefused()
        return None


@contextmanager
def translated_failures() -> Iterator[None]:
    """Turns what requests and dicomweb-client raise into errors of ours; theirs quote addresses and answers.

    Raises:
        Passing: The failure may pass by itself.
        IngestError: It will not.
    """
    try:
        yield
    except IngestError:
        raise
    except requests.HTTPError as error:
        raise (failure_of(error.response) if error.response is not None else BadAnswer()) from error
    except requests.exceptions.SSLError as error:
        raise CertificateRefused() from error
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError) as error:
        raise AnswerCut() from error
    except (requests.ConnectionError, requests.Timeout) as error:
        raise Passing() from error
    except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError) as error:
        # Besides requests' own, what reading a garbled answer raises in dicomweb-client.
        raise BadAnswer() from error


def failure_of(response: requests.Response) -> IngestError:
    """The error that an answer with a status other than success stands for."""
    status = response.status_code
    if status in _PASSING:
        return Passing(wait_seconds=_asked_wait(response.headers.get("Retry-After", "")))
    if status == requests.codes.unauthorized:
        return LoginRefused()
    if status == requests.codes.forbidden:
        return AccessRefused()
    if status in (404, 410):
        return NotThere()
    return BadAnswer(f"The peer answers with status {status}; check the address and the peer's log.")


def _asked_wait(value: str) -> float:
    """Seconds of a Retry-After header, 0 if it has none.  Source: RFC 9110, 10.2.3."""
    if value.strip().isdigit():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def first_value(entry: dict[str, Any], tag: str) -> str:
    """The first value of an element of the DICOM JSON model as text; empty if there is none.

    Source: DICOM PS3.18, F.2.
    """
    element = entry.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return str(values[0]).strip(" \0") if isinstance(values, list) and values and values[0] is not None else ""
