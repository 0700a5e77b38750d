"""Pure ASGI middleware: no task and no buffer between a client and a route."""

from app.middleware.address import AllowedHosts, RootPath
from app.middleware.query import HiddenQuery
from app.middleware.requests import RequestLog
from app.middleware.startup import StartupLine

__all__ = ["AllowedHosts", "HiddenQuery", "RequestLog", "RootPath", "StartupLine"]
