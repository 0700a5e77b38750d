"""What can go wrong, in one tree, and how a client is told (RFC 9457).

StartupError            the service cannot start; a person reads it
AppError                a request is refused; a client reads it
    BadRequest          400
    NotAuthenticated    401
    Forbidden           403
    NotFound            404
    TooSlow             408
    Conflict            409
    BodyTooLarge        413
    QueryTooLong        414
    Invalid             422
    HeadTooLarge        431
    Unavailable         503
"""

from collections.abc import Mapping
from http import HTTPStatus
from itertools import islice
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from app.logs import DATABASE

PROBLEM_MEDIA_TYPE = "application/problem+json"
# A body can be wrong in more places than anybody wants to read about, or to send.
MAX_ERRORS = 20


class StartupError(SystemExit):
    """The service cannot start, for the reason in this one line.

    Where nothing catches it, Python prints the line and exits with 1: no traceback
    for what the operator, not the programmer, has to mend.
    """

    def __init__(self, line: str) -> None:
        super().__init__(line)


class AppError(Exception):
    """A refusal. `code` is what a program branches on, `detail` what a person reads."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    code = "internal_error"
    detail = "The service failed to answer this request."

    def __init__(
        self,
        detail: str | None = None,
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.detail = detail or self.detail
        self.code = code or self.code
        self.headers = dict(headers or {})
        super().__init__(self.detail)


class BadRequest(AppError):
    status = HTTPStatus.BAD_REQUEST
    code = "bad_request"
    detail = "The request makes no sense."


class NotAuthenticated(AppError):
    """RFC 9110 11.6.1: a 401 says how to authenticate."""

    status = HTTPStatus.UNAUTHORIZED
    code = "not_authenticated"
    detail = "Valid credentials are needed."

    def __init__(self, detail: str | None = None, *, code: str | None = None) -> None:
        super().__init__(detail, code=code, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(AppError):
    status = HTTPStatus.FORBIDDEN
    code = "forbidden"
    detail = "These credentials do not allow this."


class NotFound(AppError):
    status = HTTPStatus.NOT_FOUND
    code = "not_found"
    detail = "There is no such thing."


class TooSlow(AppError):
    status = HTTPStatus.REQUEST_TIMEOUT
    code = "request_timeout"
    detail = "The request did not arrive in time."


class Conflict(AppError):
    status = HTTPStatus.CONFLICT
    code = "conflict"
    detail = "The current state does not allow this."


class BodyTooLarge(AppError):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "content_too_large"
    detail = "The request's body has more bytes than this route takes."


class QueryTooLong(AppError):
    status = HTTPStatus.REQUEST_URI_TOO_LONG
    code = "uri_too_long"
    detail = "The request's query is too long."


class HeadTooLarge(AppError):
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    code = "request_header_fields_too_large"
    detail = "The request's headers are too large."


class Invalid(AppError):
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "invalid"
    detail = "The request has invalid values."


class Unavailable(AppError):
    """Something that the request needs does not answer; it may soon."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "unavailable"
    detail = "The service cannot answer now; try again soon."

    def __init__(self, detail: str | None = None, *, code: str | None = None) -> None:
        super().__init__(detail, code=code, headers={"Retry-After": "1"})


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error with the same JSON shape."""
    app.exception_handler(AppError)(_app_error)
    app.exception_handler(HTTPException)(_http_error)
    app.exception_handler(RequestValidationError)(_validation_error)
    app.exception_handler(DBAPIError)(_database_error)
    app.exception_handler(PoolTimeoutError)(_database_error)


def reason(error: Exception) -> str:
    """Return what a database's driver said, in one line."""
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0] or type(cause).__name__


def problem_response(
    error: AppError, errors: list[dict[str, Any]] | None = None
) -> JSONResponse:
    """Return the problem document of an error."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": error.status.phrase,
        "status": int(error.status),
        "detail": error.detail,
        "code": error.code,
    }
    if errors is not None:
        document["errors"] = errors
    return JSONResponse(
        document,
        status_code=error.status,
        headers=error.headers,
        media_type=PROBLEM_MEDIA_TYPE,
    )


async def _app_error(_: Request, error: AppError) -> JSONResponse:
    return problem_response(error)


async def _http_error(_: Request, error: HTTPException) -> JSONResponse:
    """What Starlette and FastAPI refuse: unknown paths, methods, broken bodies."""
    status = HTTPStatus(error.status_code)
    if status == BodyTooLarge.status and error.detail == "Content Too Large":
        return problem_response(BodyTooLarge())  # a body of unknown length
    refusal = AppError(error.detail, code=status.name.lower(), headers=error.headers)
    refusal.status = status
    return problem_response(refusal)


async def _validation_error(_: Request, error: RequestValidationError) -> JSONResponse:
    """Say where and why, but not what was sent: it may be a password."""
    errors = [
        {"loc": list(item["loc"]), "msg": item["msg"], "type": item["type"]}
        for item in islice(error.errors(), MAX_ERRORS)
    ]
    return problem_response(Invalid(), errors)


async def _database_error(
    request: Request, error: DBAPIError | PoolTimeoutError
) -> JSONResponse:
    """The database is away or busy: that will pass. Anything else is our mistake."""
    passing = isinstance(error, OperationalError | InterfaceError | PoolTimeoutError)
    if not passing and not getattr(error, "connection_invalidated", False):
        raise error
    DATABASE.error("%s %s: %s", request.method, request.url.path, reason(error))
    locked = getattr(getattr(error, "orig", None), "sqlite_errorname", "")
    if request.method in ("GET", "HEAD") and locked.startswith("SQLITE_BUSY"):
        return problem_response(
            Unavailable(
                f"A {request.method} that reads and then writes has met another writer:"
                " on SQLite, only POST, PUT, PATCH and DELETE wait for their turn."
            )
        )
    return problem_response(Unavailable("The database does not answer now."))
