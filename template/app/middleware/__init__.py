"""Pure ASGI middleware: no task and no buffer between a client and a route."""

from app.middleware.bounds import AllowedHosts, Bounds, RootPath
from app.middleware.headers import ResponseHeaders
from app.middleware.requests import HiddenQuery, RequestLog
from app.middleware.startup import StartupLine

# None of them changes a body, so a cached answer's tag is that of what is sent.
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
