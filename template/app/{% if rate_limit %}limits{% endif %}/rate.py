"""`Depends(RateLimit("10/minute"))`: a limit on a route of yours."""

import re
from collections.abc import Callable
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from app.cache import check
from app.config.limits import check_limits
from app.limits.counting import Limits

NAME = re.compile(r"[A-Za-z0-9_-]*")  # it is shown in headers


class RateLimit:
    """A dependency that counts a route's requests, hits of the cache among them.

    `limit` is as in "10/minute" or "10/minute; 100/day". `by` says who is counted: each
    "address", each "principal" (after an `AuthManager`, which has to stand before it),
    or whatever a function of yours makes of the request. Routes with the same `name`
    count together; without one, each counts for itself.

    Declare it in `dependencies`, where it gives the handler nothing: the answers of a
    cached route are shared as before, and each has the fields of its own caller.
    """

    def __init__(
        self,
        limit: str,
        *,
        by: Literal["address", "principal"] | Callable[[Request], str] = "address",
        name: str = "",
    ) -> None:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} should have letters, digits, - and _ only")
        self._limit = check_limits(limit)
        self.by = by
        self._name = name

    @check
    async def __call__(self, request: Request, response: Response) -> None:
        limits: Limits = request.app.state.limits
        if not limits.settings.rate_limit_enabled:
            return
        who = self._who(request, limits)
        if not who:
            return
        name = self._name or ("default" if callable(self.by) else self.by)
        what = f"own/{self._name or _route(request)}"
        await limits.count(self._limit, name, what, who, response.headers)

    def _who(self, request: Request, limits: Limits) -> str:
        if callable(self.by):
            return self.by(request)
        if self.by == "address":
            return limits.address_of(request)
        return f"user {request.state.principal.user_id}"


def _route(request: Request) -> str:
    endpoint = request.scope["endpoint"]
    name = getattr(endpoint, "__qualname__", type(endpoint).__qualname__)
    return (
        f"{request.method} {request.scope['route'].path} {endpoint.__module__}.{name}"
    )
