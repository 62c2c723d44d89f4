"""Everything that goes wrong, as RFC 9457 problem documents: one form for a mistyped field and a lost database.

What is wrong with the address is 400, what is wrong with a field of the body 422; a problem names the fields.
Nothing of our own insides is ever answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tocsin.catalog.access import TooManyFailures
from tocsin.catalog.errors import Conflict, FieldError, Invalid, NotFound
from tocsin.lib.log import get_logger
from tocsin.lib.vault import VaultError
from tocsin.store.engine import StoreError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2

log = get_logger("api")


class ApiProblem(Exception):
    """Answered as it is."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


def bad_parameter(name: str, message: str) -> ApiProblem:
    return ApiProblem(400, f"{name}: {message}", errors=[FieldError(name, message)])


def problem(
    status: int,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    document = {
        "type": "about:blank",
        "title": _title(status),
        "status": status,
        "detail": detail,
        "errors": [_field(error) for error in errors],
    }
    return Response(msgspec.json.encode(document), status, headers, MEDIA_TYPE)


def _title(status: int) -> str:
    # Python 3.11 still has the names of RFC 7231.
    match status:
        case 413:
            return "Content Too Large"
        case 422:
            return "Unprocessable Content"
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _field(error: FieldError) -> dict[str, Any]:
    place = {"line": error.line, "column": error.column}
    return {"field": error.field, "message": error.message} | {k: v for k, v in place.items() if v is not None}


def answer_problems(app: FastAPI) -> None:
    """Gives ``app`` a handler for every exception that may reach it."""

    def api_problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, ApiProblem)
        return problem(error.status, error.detail, errors=error.errors, headers=error.headers)

    def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail = error.detail
        if error.status_code == 404:
            detail = f"There is nothing at {request.url.path}."
        elif error.status_code == 405:
            detail = f"{request.method} is not possible at {request.url.path}."
        return problem(error.status_code, detail, headers=error.headers)

    def request_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = error.errors()
        # A body of another type is not looked into, so whatever is said of it would mislead.
        if any(item["loc"] == ("body",) for item in found) and not _is_json(request.headers.get("content-type", "")):
            return problem(400, "The body must be JSON, sent with the header Content-Type: application/json.")
        return _unreadable(found)

    def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, Invalid)
        return problem(422, str(error), errors=error.errors)

    def not_found(_: Request, error: Exception) -> Response:
        return problem(404, str(error))

    def conflict(_: Request, error: Exception) -> Response:
        assert isinstance(error, Conflict)
        return problem(409, str(error), errors=error.errors)

    def too_many(_: Request, error: Exception) -> Response:
        assert isinstance(error, TooManyFailures)
        return problem(429, str(error), headers={"Retry-After": str(error.retry_after_s)})

    def store(_: Request, error: Exception) -> Response:
        assert isinstance(error, StoreError)
        log.warning("api.store_unavailable", error=str(error))
        return problem(503, f"{error.outward} Try again shortly.", headers={"Retry-After": str(RETRY_AFTER_S)})

    def vault(_: Request, error: Exception) -> Response:
        log.error("api.secret_unreadable", error=str(error))
        return problem(500, str(error))

    def ours(request: Request, error: Exception) -> Response:
        log.error("api.failed", path=request.url.path, method=request.method, exc_info=error)
        return problem(500, "This is our fault. The server's log has the cause.")

    app.add_exception_handler(ApiProblem, api_problem)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, request_invalid)
    app.add_exception_handler(Invalid, invalid)
    app.add_exception_handler(NotFound, not_found)
    app.add_exception_handler(Conflict, conflict)
    app.add_exception_handler(TooManyFailures, too_many)
    app.add_exception_handler(StoreError, store)
    app.add_exception_handler(VaultError, vault)
    app.add_exception_handler(Exception, ours)


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _unreadable(found: Sequence[Any]) -> Response:
    """FastAPI's own findings: parameters of the address, and bodies that are not JSON or do not fit."""
    errors: list[FieldError] = []
    status = 400
    for item in found:
        where, *path = item["loc"]
        message = str(item["msg"]).removeprefix("Value error, ")
        match item["type"]:
            case "json_invalid":
                position = path[0] if path else 0
                return problem(400, f"The body is not JSON: {item['ctx']['error']} at character {position}.")
            case "extra_forbidden":
                message = "unknown field"
            case "missing":
                message = "required"
        if where == "body":
            status = 422
        errors.append(FieldError(".".join(str(part) for part in path), message))
    detail = "; ".join(f"{error.field}: {error.message}" if error.field else error.message for error in errors)
    return problem(status, detail, errors=errors)
