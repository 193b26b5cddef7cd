"""What surrounds every request: its id, the hosts that are served, and the answer to an unexpected failure."""

import logging
import re
from typing import Final
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api.errors import PROBLEM_MEDIA_TYPE, problem_body

logger = logging.getLogger(__name__)

#: Names under which a service is reached that only its own machine reaches.
LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

_ACCEPTED_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestContext:
    """Middleware that gives each request an id and turns what nothing else caught into a problem document.

    Args:
        app: The application inside.
        hosts: Values of the Host header that are served, without port; None serves all. Without users, this keeps a
            web page of a stranger from reading the service through a name that it points at this machine.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on; answers 400 for a foreign host and 500 for an unexpected failure."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        offered = headers.get("x-request-id", "")
        request_id = offered if _ACCEPTED_ID.fullmatch(offered) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        host = re.sub(r":\d+$", "", headers.get("host", ""))
        if self.hosts is not None and host not in self.hosts:
            detail = "This service answers on this machine's own address only."
            await _problem(400, detail, request_id)(scope, receive, send_with_id)
            return
        try:
            await self.app(scope, receive, send_with_id)
        except Exception:
            logger.exception(
                "A request failed unexpectedly", extra={"action": "request_failed", "request_id": request_id}
            )
            if started:
                raise
            detail = "The service failed; ask its operator with this request id."
            await _problem(500, detail, request_id)(scope, receive, send_with_id)


def _problem(status: int, detail: str, request_id: str) -> JSONResponse:
    body = problem_body(status, detail, request_id)
    return JSONResponse(body, status_code=status, media_type=PROBLEM_MEDIA_TYPE)
