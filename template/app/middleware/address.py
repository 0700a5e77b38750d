"""Where the service is, as a proxy in front of it shows it."""

from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

PROBES = frozenset({"/livez", "/readyz"})


class AllowedHosts(TrustedHostMiddleware):
    """Refuse requests for other hosts; probes come by address, and pass."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in PROBES:
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


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
