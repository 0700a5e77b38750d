"""What two answers have in common, and what a cache says of them."""

from collections.abc import Iterator
from importlib import import_module

import httpx
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.cache import cache_policy
from app.cache.engine.exchange import running
from tests.engine import storages

# What belongs to one message, and may differ from one to the next.
_OF_THE_MESSAGE = {"age", "cache-status", "date", "x-fastapi-cache", "x-request-id"}


def own(answer: httpx.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return all of an answer that a hit has to give again."""
    headers = sorted(
        (name, value)
        for name, value in answer.headers.multi_items()
        if name not in _OF_THE_MESSAGE
    )
    return answer.status_code, headers, answer.content


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
    module = import_module(f"{storages.__name__}.{storage}")
    found: bytes = await module.contents(running[-1].store)
    return found
