"""Pure ASGI middleware: no task and no buffer between a client and a route.

Here is what the server hears of a start; which requests come in: for our hosts, below
our path, and not too large; and what every answer tells browsers and caches. What is
logged of a request is in `requests.py`.
"""

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import (
    BadRequest,
    BodyTooLarge,
    HeadTooLarge,
    QueryTooLong,
    StartupError,
    problem_response,
)
from app.logs import PROBES
from app.middleware.requests import HiddenQuery, RequestLog

__all__ = [
    "KEEP_BODIES",
    "AllowedHosts",
    "Bounds",
    "HiddenQuery",
    "RequestLog",
    "ResponseHeaders",
    "RootPath",
    "StartupLine",
]


class StartupLine:
    """Tell the server why the start failed: in one line, where it is a StartupError.

    Starlette would send a traceback, which the server logs before it exits.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return

        failure: Message | None = None

        async def hold_failure(message: Message) -> None:
            nonlocal failure
            if message["type"] == "lifespan.startup.failed":
                failure = message
            else:
                await send(message)

        try:
            await self.app(scope, receive, hold_failure)
        except StartupError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
        except BaseException:
            if failure is not None:
                await send(failure)
            raise


class AllowedHosts:
    """Refuse requests for other hosts; probes come by address, and pass."""

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self.app = app
        self.names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._allows(scope):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            refusal = BadRequest("The service has another host name.")
            await problem_response(refusal)(scope, receive, send)

    def _allows(self, scope: Scope) -> bool:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        host = Headers(scope=scope).get("host", "").partition(":")[0].lower()
        return path in PROBES or any(
            host == name or (name[0] == "*" and host.endswith(name[1:]))
            for name in self.names
        )


class RootPath:
    """Put the prefix into each request's path, also if the proxy took it off.

    ASGI wants it there; without it, redirects lead to paths that the proxy lacks.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self.app = app
        self.root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            path, root_path = scope["path"], self.root_path
            if not f"{path}/".startswith(f"{root_path}/"):
                path = root_path + path
            scope = {**scope, "path": path, "root_path": root_path}
        await self.app(scope, receive, send)


# Bytes.
MAX_QUERY_SIZE = 8_192
MAX_HEADERS_SIZE = 32_768


class Bounds:
    """Refuse a long query, large headers, and a body that its route does not take.

    `max_body_size` is for routes that name none of their own in their decorator.
    """

    def __init__(self, app: ASGIApp, max_body_size: int) -> None:
        self.app = RequestBodyLimitMiddleware(app, max_body_size)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif len(scope["query_string"]) > MAX_QUERY_SIZE:
            await problem_response(QueryTooLong())(scope, receive, send)
        elif sum(len(n) + len(v) for n, v in scope["headers"]) > MAX_HEADERS_SIZE:
            await problem_response(HeadTooLarge())(scope, receive, send)
        else:
            await self.app(scope, receive, _in_our_shape(scope, receive, send))


def _in_our_shape(scope: Scope, receive: Receive, send: Send) -> Send:
    """Send a problem document in place of Starlette's line of text."""
    replaced = False

    async def send_problem(message: Message) -> None:
        nonlocal replaced
        if message["type"] == "http.response.start" and message["status"] == 413:
            media_type = Headers(raw=message["headers"]).get("content-type", "")
            if media_type.startswith("text/plain"):
                replaced = True
                await problem_response(BodyTooLarge())(scope, receive, send)
        if not replaced:
            await send(message)

    return send_problem


SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}
CREDENTIALS = ("Authorization", "Cookie", "X-Api-Key")


class ResponseHeaders:
    """Add the headers that an answer does not set itself.

    The answer to a write may hold tokens or keys, so nobody stores it. The answer to a
    request with credentials is for that client alone, and so is one without a date.
    """

    def __init__(self, app: ASGIApp, hsts_max_age: int = 0) -> None:
        self.app = app
        self.hsts = f"max-age={hsts_max_age}" if hsts_max_age else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
                if self.hsts and scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", self.hsts)
                _restrict_caches(scope, headers)
            await send(message)

        await self.app(scope, receive, send_with_headers)


def _restrict_caches(scope: Scope, headers: MutableHeaders) -> None:
    if scope["method"] not in ("GET", "HEAD"):
        headers.setdefault("Cache-Control", "no-store")
        return
    request = Headers(scope=scope)
    if any(name in request for name in CREDENTIALS) or not (
        "Last-Modified" in headers or "Cache-Control" in headers
    ):
        headers.setdefault("Cache-Control", "private, no-cache")
        named = {name.strip().lower() for name in headers.get("Vary", "").split(",")}
        for name in CREDENTIALS:
            if name.lower() not in named:
                headers.add_vary_header(name)


# None of them changes a body, so a cached answer's tag is that of what is sent. With
# any other middleware, but for Starlette's, cached answers have no tag.
KEEP_BODIES = frozenset(
    {
        *(AllowedHosts, Bounds, HiddenQuery, RequestLog),
        *(ResponseHeaders, RootPath, StartupLine),
    }
)
