"""How is the REST service put together?"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from services.api import routes_audits, routes_health, routes_page, routes_pairs, routes_reports
from services.api.errors import add_problem_handlers, document_problems
from services.api.request_context import LOOPBACK_HOSTS, RequestContext
from services.database import Database
from services.schema import upgrade_database
from services.settings import Settings

DESCRIPTION = """What changed between a prior and a current acquisition, as Interval reported it.

Every list is a page: pass `next_cursor` as `cursor` to get the next one. Every failure is a problem document.
Each answer has the header `X-Request-ID`; send one to find the request in the log."""


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = document_problems(super().openapi())
        return self.openapi_schema


def create_app(settings: Settings, *, hosts: frozenset[str] | None = LOOPBACK_HOSTS) -> FastAPI:
    """The service on the database of the settings; it migrates the tables when it starts and only reads from then on.

    The interactive pages of FastAPI are left out: they load scripts from a stranger's host.

    Args:
        settings: Which database.
        hosts: Values of the Host header that are served, without port; None serves all.
    """
    database = Database(settings.database_url)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(upgrade_database, database)
        yield
        database.dispose()

    app = _App(
        title="Interval",
        version=version("interval-change"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.state.database = database
    add_problem_handlers(app)
    for routes in (routes_page, routes_health, routes_pairs, routes_reports, routes_audits):
        app.include_router(routes.router)
    app.add_middleware(RequestContext, hosts=hosts)
    return app
