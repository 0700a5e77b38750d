"""What the cache says of answers, and which routes and entries it has."""

from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

import httpx
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.cache import cache_policy
from app.cache.engine.exchange import running
from tests.engine import storages


def outcome(answer: httpx.Response) -> str | None:
    """Return HIT or MISS, None where the cache took no part."""
    found: str | None = answer.headers.get("x-fastapi-cache")
    return found


def cached_paths(app: FastAPI) -> Iterator[str]:
    """Yield the path of each cached route."""
    for route in iter_route_contexts(app.routes):
        if route.endpoint and cache_policy(route.endpoint):
            assert route.path is not None
            yield route.path


async def contents(storage: str) -> bytes:
    """Return all keys and values that the running cache stores."""
    found: bytes = await _module(storage).contents(running[-1].store)
    return found


async def evict(storage: str, place: str) -> None:
    """Drop one value, as a full store does."""
    await _module(storage).evict(running[-1].store, place)


def _module(storage: str) -> ModuleType:
    return import_module(f"{storages.__name__}.{storage}")
