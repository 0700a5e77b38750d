"""Pure ASGI middleware: no task and no buffer between a client and a route."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import StartupError
from app.middleware.bounds import AllowedHosts, Bounds, RootPath
from app.middleware.headers import ResponseHeaders
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


# None of them changes a body, so a cached answer's tag is that of what is sent. With
# any other middleware, but for Starlette's, cached answers have no tag.
KEEP_BODIES = frozenset(
    {
        *(AllowedHosts, Bounds, HiddenQuery, RequestLog),
        *(ResponseHeaders, RootPath, StartupLine),
    }
)
