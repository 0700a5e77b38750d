"""Which requests come in: for our hosts, below our path, and not too large."""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import (
    BadRequest,
    BodyTooLarge,
    HeadTooLarge,
    QueryTooLong,
    problem_response,
)
from app.logs import PROBES


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
