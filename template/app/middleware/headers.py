"""What every answer tells browsers, and caches between them and the service."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
