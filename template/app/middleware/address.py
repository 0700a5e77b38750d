"""Where the service is, as a proxy in front of it shows it."""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import BadRequest, problem_response

PROBES = frozenset({"/livez", "/readyz"})


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
