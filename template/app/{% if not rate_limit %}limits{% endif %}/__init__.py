"""The limits' public interface in a service without limits: nothing is counted.

So routes stay as they are when limits are added later.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from app.cache import check
from app.config import Settings

__all__ = [
    "KeysLimit",
    "LoginLimit",
    "PasswordLimit",
    "RateLimit",
    "RefreshLimit",
    "RegisterLimit",
    "install_limits",
    "limits_lifespan",
    "warn_of_workers",
]


class RateLimit:
    """A dependency that counts nothing and lets everybody through."""

    def __init__(
        self,
        limit: str,
        *,
        by: str | Callable[[Request], str] = "address",
        name: str = "",
    ) -> None: ...

    @check  # as the one that counts
    async def __call__(self) -> None: ...


class _Limited:
    async def count(self, account: object) -> None: ...

    @asynccontextmanager
    async def password_attempt(self, account: str) -> AsyncIterator[None]:
        yield


@check
async def _limited() -> _Limited:
    return _Limited()


LoginLimit = Annotated[_Limited, Depends(_limited)]
RegisterLimit = LoginLimit
RefreshLimit = LoginLimit
PasswordLimit = LoginLimit
KeysLimit = LoginLimit


def install_limits(app: FastAPI, settings: Settings) -> None: ...


@asynccontextmanager
async def limits_lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield


def warn_of_workers(workers: int, settings: Settings) -> None: ...
