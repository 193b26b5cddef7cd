"""How does a failure look from outside? As a problem document (RFC 9457), always, and without our insides."""

import re
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from services.api.schemas import Problem
from services.errors import DatabaseUnusable, InvalidCursor, InvalidLimit, RecordNotFound, ServicesError

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"

#: Which status an error of ours has at the web edge; the code below never hears of HTTP.
STATUS_OF_ERROR: Final[dict[type[ServicesError], int]] = {
    RecordNotFound: 404,
    InvalidCursor: 400,
    InvalidLimit: 400,
    DatabaseUnusable: 503,
}

#: What every route may answer beside its result, for the OpenAPI document.
PROBLEM_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Problem, "description": "The cursor belongs to no page of this list, or the host is not served."},
    422: {"model": Problem, "description": "A parameter has an impossible value; `errors` names it."},
    500: {"model": Problem, "description": "The service failed; the request id finds the log record."},
    503: {"model": Problem, "description": "The database cannot be reached or has another version."},
}

#: The same for routes that name one record.
RECORD_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    **PROBLEM_RESPONSES,
    404: {"model": Problem, "description": "There is no such record."},
}


def problem_body(
    status: int, detail: str, request_id: str, *, kind: str | None = None, errors: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    """Problem document of a status; `kind` names the error where the status alone says too little."""
    title = HTTPStatus(status).phrase
    slug = re.sub(r"(?<=[a-z])(?=[A-Z])|\W+", "-", kind or title).lower()
    problem = Problem(
        type=f"urn:interval:problem:{slug}",
        title=title,
        status=status,
        detail=detail,
        request_id=request_id,
        errors=errors,
    )
    return problem.model_dump(mode="json", exclude_none=True)


def add_problem_handlers(app: FastAPI) -> None:
    """Makes every error that a route or the routing raises a problem document.

    What none of these handlers knows is answered by `services.api.request_context.RequestContext`.
    """
    for error_class, status in STATUS_OF_ERROR.items():
        app.add_exception_handler(error_class, _service_problem(status))
    app.add_exception_handler(OperationalError, _database_problem)
    app.add_exception_handler(RequestValidationError, _validation_problem)
    app.add_exception_handler(HTTPException, _http_problem)


def document_problems(schema: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with the media type of problems where FastAPI writes plain JSON."""
    for path in schema["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400 and "application/json" in response.get("content", {}):
                    response["content"] = {PROBLEM_MEDIA_TYPE: response["content"]["application/json"]}
    return schema


def _answer(request: Request, status: int, detail: str, **more: Any) -> JSONResponse:
    body = problem_body(status, detail, request.state.request_id, **more)
    return JSONResponse(body, status_code=status, media_type=PROBLEM_MEDIA_TYPE)


def _service_problem(status: int) -> Any:
    def handle(request: Request, error: ServicesError) -> JSONResponse:
        return _answer(request, status, str(error), kind=type(error).__name__)

    return handle


def _database_problem(request: Request, error: Exception) -> JSONResponse:
    # The driver's text names hosts, files and statements: it stays inside.
    detail = "The database cannot be reached or has another version; `interval doctor` tells more."
    return _answer(request, 503, detail, kind=DatabaseUnusable.__name__)


def _validation_problem(request: Request, error: Any) -> JSONResponse:
    errors = [
        {"where": ".".join(str(part) for part in entry["loc"]), "what": str(entry["msg"])} for entry in error.errors()
    ]
    return _answer(request, 422, "A parameter has an impossible value.", errors=errors)


def _http_problem(request: Request, error: Any) -> JSONResponse:
    detail = {
        404: "There is nothing at this address; /openapi.json lists what there is.",
        405: "This address only answers to GET.",
    }.get(error.status_code, str(error.detail))
    answer = _answer(request, error.status_code, detail)
    answer.headers.update(error.headers or {})
    return answer
