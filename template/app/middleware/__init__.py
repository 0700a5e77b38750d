"""Pure ASGI middleware: no task and no buffer between a client and a route."""

from app.middleware.address import AllowedHosts, RootPath
from app.middleware.bounds import Bounds
from app.middleware.headers import ResponseHeaders
from app.middleware.query import HiddenQuery
from app.middleware.requests import RequestLog
from app.middleware.startup import StartupLine

# None of them changes a body, so a cached answer's tag is that of what is sent. With
# any other middleware, but for Starlette's, cached answers have no tag.
KEEP_BODIES = frozenset(
    {
        *(AllowedHosts, Bounds, HiddenQuery, RequestLog),
        *(ResponseHeaders, RootPath, StartupLine),
    }
)

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
