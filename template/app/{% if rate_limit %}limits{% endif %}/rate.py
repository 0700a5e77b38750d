"""Limits of routes: `Depends(RateLimit("10/minute"))` on yours, settings for ours."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from app.cache import check
from app.config.limits import check_limits
from app.limits.counting import Limits, Lock

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


What = Literal["login", "register", "refresh", "password", "keys"]


class Limited:
    """One request, whose address was counted. The handler says which account it is."""

    def __init__(self, what: What, request: Request, response: Response) -> None:
        self._what = what
        self._limits: Limits = request.app.state.limits
        self._headers = response.headers
        self._address = self._limits.address_of(request)
        self._limit = self._limits.settings.rate_limit_of(what)

    async def count_address(self) -> None:
        if self._address:
            await self._count("address", self._address)

    async def count(self, account: object) -> None:
        """Count for an account, from wherever; raises TooManyRequests."""
        await self._count("account", str(account).lower())

    @asynccontextmanager
    async def password_attempt(self, account: str) -> AsyncIterator[None]:
        """Check a password of the account, inside: what it raises says how it went.

        Raises TooManyRequests before, if it has to wait: see `Lock`.
        """
        if not self._limits.settings.rate_limit_enabled:
            yield
            return
        lock = await Lock.of(self._limits, account.lower(), self._address)
        await self._count("account", lock.crowd)
        async with lock.attempt():
            yield

    async def _count(self, whose: str, who: str) -> None:
        if self._limit:
            what = f"{self._what}/{whose}"
            name = f"{self._what}-{whose}"
            await self._limits.count(self._limit, name, what, who, self._headers)


class RouteLimit:
    """A dependency that counts the address, and gives the handler a `Limited`."""

    def __init__(self, what: What) -> None:
        self._what: What = what

    @check
    async def __call__(self, request: Request, response: Response) -> Limited:
        limited = Limited(self._what, request, response)
        await limited.count_address()
        return limited


LoginLimit = Annotated[Limited, Depends(RouteLimit("login"))]
RegisterLimit = Annotated[Limited, Depends(RouteLimit("register"))]
RefreshLimit = Annotated[Limited, Depends(RouteLimit("refresh"))]
PasswordLimit = Annotated[Limited, Depends(RouteLimit("password"))]
KeysLimit = Annotated[Limited, Depends(RouteLimit("keys"))]
