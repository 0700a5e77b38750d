"""The cache's public interface in a service without a cache: nothing is done.

So routes, managers and models stay as they are when a cache is added later.
"""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from fastapi import FastAPI, Request
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings

P = ParamSpec("P")
R = TypeVar("R")
D = TypeVar("D", bound=Callable[..., Any])

__all__ = [
    "CachePolicy",
    "api_key_single_key_builder",
    "api_keys_list_key_builder",
    "authenticator",
    "cache_health",
    "cache_lifespan",
    "cache_policy",
    "cached",
    "check",
    "check_workers",
    "identity_of",
    "install_cache",
    "invalidate_api_keys_cache",
    "invalidate_namespace",
    "invalidate_user_cache",
    "invalidate_users_list_cache",
    "paginated_key_builder",
    "provider",
    "segment",
    "shared_key_builder",
    "touches",
    "user_scoped_key_builder",
    "users_list_key_builder",
    "watch_commits",
]


@dataclass(slots=True)
class CachePolicy:
    """How a function is cached; here none is."""

    expire: int | None
    namespace: str
    key_builder_name: str


def cached(
    expire: int | None = None,
    namespace: str = "",
    key_builder: Callable[..., Any] | None = None,
    coder: type[Any] | None = None,
    *,
    vary: Collection[str] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that returns the function itself."""
    return lambda function: function


def cache_policy(endpoint: Callable[..., Any]) -> CachePolicy | None:
    return None


def user_scoped_key_builder(*args: Any, **kwargs: Any) -> str:
    return ""


paginated_key_builder = user_scoped_key_builder
shared_key_builder = user_scoped_key_builder
users_list_key_builder = user_scoped_key_builder
api_keys_list_key_builder = user_scoped_key_builder
api_key_single_key_builder = user_scoped_key_builder


async def invalidate_namespace(namespace: str) -> None: ...


async def invalidate_user_cache(user_id: int) -> None: ...


async def invalidate_users_list_cache() -> None: ...


async def invalidate_api_keys_cache(user_id: int) -> None: ...


def touches(
    model: type[Any], *namespaces: str, unless_only: Collection[str] = ()
) -> None: ...


def provider(dependency: D) -> D:
    return dependency


def authenticator(dependency: D) -> D:
    return dependency


def check(dependency: D) -> D:
    return dependency


def segment(value: object) -> str:
    return str(value)


def identity_of(request: Request | None) -> str:
    return ""


def watch_commits(
    engine: AsyncEngine, metadata: MetaData, settings: Settings, by: str = ""
) -> None: ...


def install_cache(app: FastAPI, settings: Settings) -> None: ...


@asynccontextmanager
async def cache_lifespan(
    app: FastAPI, settings: Settings, revision: str = ""
) -> AsyncIterator[None]:
    yield


async def cache_health(app: FastAPI) -> dict[str, Any] | None:
    return None


def check_workers(workers: int, settings: Settings) -> None: ...
