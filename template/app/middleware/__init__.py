"""Pure ASGI middleware: no task and no buffer between a client and a route."""

from app.middleware.address import AllowedHosts, RootPath
from app.middleware.bounds import Bounds
from app.middleware.headers import ResponseHeaders
from app.middleware.requests import RequestLog
from app.middleware.startup import StartupLine

__all__ = [
    "AllowedHosts",
    "Bounds",
    "RequestLog",
    "ResponseHeaders",
    "RootPath",
    "StartupLine",
]
