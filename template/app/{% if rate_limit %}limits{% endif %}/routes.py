"""The limits of the service's own routes, each a setting."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from app.cache import check
from app.limits.counting import Limits
from app.limits.lock import Lock

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

        Raises TooManyRequests before, if it has to wait: see `lock.py`.
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
        self._what = what

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
