"""Route to the page that a person sees first: the reports, with their images."""

from functools import cache

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from reports.render import interval_words
from services import repository
from services.api.parameters import Cursor, Session

router = APIRouter(include_in_schema=False)

#: Reports on one page; each brings two thumbnails and an evidence map.
PER_PAGE = 20

#: Nothing is loaded from elsewhere and no script runs, whatever a report's text holds.
HEADERS = {"Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'"}


@router.get("/", response_class=HTMLResponse)
def show_reports(request: Request, session: Session, cursor: Cursor = None) -> HTMLResponse:
    """Page of reports, in the order of the pairs."""
    page = repository.list_reports(session, cursor=cursor, limit=PER_PAGE)
    html = _template().render(page=page, is_first=cursor is None, address=request.app.url_path_for)
    return HTMLResponse(html, headers=HEADERS)


@cache
def _template() -> Template:
    environment = Environment(loader=PackageLoader("services.api", "."), autoescape=True, undefined=StrictUndefined)
    environment.filters["interval_words"] = interval_words
    return environment.get_template("reports.html")
