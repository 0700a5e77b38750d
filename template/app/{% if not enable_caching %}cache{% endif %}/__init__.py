"""The cache's public interface, without a cache: every name does nothing and costs nothing."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar

from fastapi import FastAPI

P = ParamSpec("P")
R = TypeVar("R")


def cached(
    expire: int | None = None,
    namespace: str = "",
    key_builder: Callable[..., Any] | None = None,
    coder: Any = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that returns the function itself."""
    return lambda function: function


def user_scoped_key_builder(*args: Any, **kwargs: Any) -> str:
    return ""


paginated_key_builder = user_scoped_key_builder
users_list_key_builder = user_scoped_key_builder
api_keys_list_key_builder = user_scoped_key_builder
api_key_single_key_builder = user_scoped_key_builder


async def invalidate_user_cache(user_id: int) -> None: ...


async def invalidate_users_list_cache() -> None: ...


async def invalidate_api_keys_cache(user_id: int) -> None: ...


async def invalidate_namespace(namespace: str) -> None: ...


def touches(model: type, *namespaces: str, unless_only: Collection[str] = ()) -> None: ...


def watch_commits(sessions: Any) -> None: ...


def install_cache(app: FastAPI, settings: Any) -> None: ...


@asynccontextmanager
async def cache_lifespan(app: FastAPI, settings: Any) -> AsyncIterator[None]:
    yield


async def cache_health(timeout: float) -> dict[str, Any] | None:
    return None


def check_workers(workers: int, settings: Any) -> None: ...


def cache_policy(endpoint: Callable[..., Any]) -> Any | None:
    return None
