"""What happened to each request."""

import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import AppError, problem_response
from app.logs import REQUESTS, SERVER

HEADER = "X-Request-ID"
QUIET = {"/livez"}  # asked every few seconds; only what is no 200 is logged
PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestLog:
    """Give every request an id, log its end, and answer 500 to what nobody caught.

    Neither query strings nor headers are logged: they may hold credentials.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        request_id = _request_id(Headers(scope=scope).get(HEADER))
        scope.setdefault("state", {})["request_id"] = request_id
        start = time.perf_counter()
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception:
            if status is not None:
                raise  # The answer has begun: all that is left is to break it off.
            method, path = scope["method"], scope["path"]
            SERVER.exception("%s %s failed, %s", method, path, request_id)
            await problem_response(AppError())(scope, receive, send_with_id)
        finally:
            if status != 200 or scope["path"] not in QUIET:
                REQUESTS.info(
                    "%s %s %s (%.2fms) %s",
                    scope["method"],
                    scope["path"],
                    status or "cancelled",
                    (time.perf_counter() - start) * 1000,
                    request_id,
                )


def _request_id(given: str | None) -> str:
    """Keep the id that the caller gave, if it is a plain one: it joins our logs."""
    if given is not None and PLAIN_ID.fullmatch(given):
        return given
    return secrets.token_hex(8)
