"""How is a STAC service spoken to, so that its answers lead nowhere but where the user allows?"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from ingest.errors import IngestError

if TYPE_CHECKING:
    from pystac_client import Client

#: Seconds to connect, and between two pieces of an answer.
TIMEOUT = (10.0, 60.0)
#: Answers that say "not now": too early, too many requests, and the server's own failures.
_PASSING = (425, 429, 500, 502, 503, 504)
#: Times that a request is repeated, and seconds before the first repetition; the wait doubles each time. These are the
#: figures that odc-stac sets for GDAL.
TRIES, BACKOFF = 10, 0.5
_PORTS = {"http": 80, "https": 443}


class HostNotAllowed(IngestError):
    """An address lies on a host that was not allowed."""

    code: ClassVar[str] = "HOST_NOT_ALLOWED"


class ServiceUnavailable(IngestError):
    """The STAC service does not answer as it should; check the address, or try again later."""

    code: ClassVar[str] = "PEER_UNAVAILABLE"


class BadServiceAddress(IngestError):
    """The address is no http or https address of a STAC service."""

    code: ClassVar[str] = "BAD_ADDRESS"


class Session(requests.Session):
    """Connections that are made to allowed hosts only, redirects included, and repeated while a server says "not now".

    Args:
        address: Address of the service; its host is allowed.
        allowed: Further hosts, as "name" (its https port) or "name:port".
        token: Bearer token for the service's own host; empty for none.
        backoff: Seconds before the first repetition.

    Raises:
        BadServiceAddress: The address is none.
    """

    def __init__(self, address: str, allowed: Iterable[str] = (), *, token: str = "", backoff: float = BACKOFF):
        super().__init__()
        host = host_of(address)
        if not host:
            raise BadServiceAddress()
        self._host, self._token = host, token
        self.allowed = {host, *(one if ":" in one else f"{one}:443" for one in allowed)}
        again = Retry(
            total=TRIES,
            backoff_factor=backoff,
            status_forcelist=_PASSING,
            allowed_methods=None,
            respect_retry_after_header=True,
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self.mount(scheme, HTTPAdapter(max_retries=again))

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """The answer to one request; also called for each redirect.

        Raises:
            HostNotAllowed: It would go to another host.
        """
        host = host_of(request.url or "")
        if host not in self.allowed:
            shown = host.removesuffix(":443") or "that address"
            raise HostNotAllowed(f"{shown} was not allowed; if you trust it, allow it (--allow-host {shown}).")
        if self._token and host == self._host:
            request.headers["Authorization"] = f"Bearer {self._token}"
        options["timeout"] = options.get("timeout") or TIMEOUT
        return super().send(request, **options)


def signer(address: str, session: Session) -> Callable[[str], str]:
    """A function that asks a signing service for the address under which a file may be read now.

    The service answers `?href=ADDRESS` with a JSON object whose `href` is the signed address, as the Planetary
    Computer's does; its host is allowed by being named here.

    Raises:
        BadServiceAddress: The address is none.
    """
    host = host_of(address)
    if not host:
        raise BadServiceAddress()
    session.allowed.add(host)

    def sign(href: str) -> str:
        try:
            answer = session.get(address, params={"href": href})
            answer.raise_for_status()
            return str(answer.json()["href"])
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            raise ServiceUnavailable("The signing service does not answer as it should; try again later.") from error

    return sign


def host_of(address: str) -> str:
    """Host and port of an http or https address, lower case; empty for anything else, and for one with a login."""
    try:
        parts = urlsplit(address)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return ""
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        return ""
    return f"{parts.hostname.lower()}:{port}"


def open_client(address: str, session: Session) -> "Client":
    """The client of a STAC API.

    Raises:
        ServiceUnavailable: There is none, or it cannot be searched.
    """
    from pystac_client import Client
    from pystac_client.exceptions import APIError
    from pystac_client.stac_api_io import StacApiIO

    class ConfinedIO(StacApiIO):
        """Reads through the session only; never a local file, whatever a link says."""

        def read_text(self, source: Any, *rest: Any, **more: Any) -> str:
            href = getattr(source, "href", source)
            if not host_of(str(href)):
                raise HostNotAllowed("The service links to something that is no web address; it is not read.")
            return super().read_text(source, *rest, **more)

    reader = ConfinedIO(max_retries=None, timeout=TIMEOUT)
    reader.session = session
    try:
        return Client.open(address, stac_io=reader)
    except (APIError, requests.RequestException, ValueError, KeyError, TypeError, AttributeError) as error:
        # The text of these errors quotes addresses, which may hold tokens.
        raise ServiceUnavailable() from error
