"""Pure ASGI middleware: no task and no buffer between a client and a route.

`bounds.py` has which requests come in, `requests.py` what is logged of them. Here is
what the server hears of a start, and what every answer tells browsers and caches.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import StartupError
from app.middleware.bounds import AllowedHosts, Bounds, RootPath
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
