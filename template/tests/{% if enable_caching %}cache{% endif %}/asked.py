"""The cached routes of the service, and how the tests ask each of them."""

from collections.abc import Awaitable, Callable, Iterator

import httpx
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.cache import CachePolicy, cache_policy

# The queries of routes that need one or have several answers; `values` in conftest.py
# has what stands in braces, here and in paths.
QUERIES = {
    "/users/": ["", "?user_id={user_id}"],
    "/users/search": ["?field=email&term=person"],
}

# A request that the cache leaves alone, and one that it may not answer from an entry.
BYPASS = {"Cache-Control": "no-store"}
RELOAD = {"Cache-Control": "no-cache"}

# What belongs to one message, and differs from one to the next.
OF_THE_MESSAGE = {"age", "cache-status", "date", "x-fastapi-cache", "x-request-id"}

Ask = Callable[..., Awaitable[httpx.Response]]


def cached_routes(app: FastAPI) -> dict[str, CachePolicy]:
    """Return how each cached route is cached, by its path."""
    found = {}
    for route in iter_route_contexts(app.routes):
        policy = cache_policy(route.endpoint)
        if policy is not None and route.path is not None:
            found[route.path] = policy
    return found


def cached_urls(app: FastAPI) -> Iterator[str]:
    """Yield what the tests ask each cached route for, still with its braces."""
    for path in cached_routes(app):
        for query in QUERIES.get(path, [""]):
            yield path + query


def outcome(answer: httpx.Response) -> str | None:
    """Return HIT or MISS, None where the cache took no part."""
    found: str | None = answer.headers.get("x-fastapi-cache")
    return found


def said(answer: httpx.Response) -> tuple[int, str | None, bytes]:
    """Return what an answer says, cached or not."""
    return answer.status_code, answer.headers.get("content-type"), answer.content


def whole(answer: httpx.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return all of an answer that a hit has to give again."""
    headers = sorted(
        (name, value)
        for name, value in answer.headers.multi_items()
        if name not in OF_THE_MESSAGE
    )
    return answer.status_code, headers, answer.content
