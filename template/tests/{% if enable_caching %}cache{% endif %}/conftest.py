"""The cached routes of the service, and how the tests ask each of them.

The template's are asked for everything that a cache may get wrong. Of yours it is only
looked whether they are private: nobody here knows what they should say.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.routing import BaseRoute, Mount

from app.cache import CachePolicy, cache_policy
from tests.people import Headers, Person

# The path, the namespace, and the key builder that says who shares an answer.
ROUTES = {
    "/users/me": ("user", "user_scoped_key_builder"),
    "/users/": ("users", "users_list_key_builder"),
    "/users/search": ("users:list", "default_key_builder"),
    "/users/keys": ("apikeys", "api_keys_list_key_builder"),
    "/users/keys/{key_id}": ("apikeys", "api_key_single_key_builder"),
    "/users/keys/by-user/{user_id}": ("apikeys", "api_keys_list_key_builder"),
    "/users/keys/by-user/{user_id}/{key_id}": (
        "apikeys",
        "api_key_single_key_builder",
    ),
}

# The queries of routes that need one or have several answers; `values` below
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
    return {path: policy for path, policy, _ in cached_contexts(app.routes)}


def cached_contexts(
    routes: Sequence[BaseRoute], prefix: str = ""
) -> Iterator[tuple[str, CachePolicy, RouteContext]]:
    """Yield the cached routes, those of mounted applications, too."""
    for route in iter_route_contexts(routes):
        path = prefix + (route.path or "")
        if isinstance(route.original_route, Mount):
            yield from cached_contexts(route.original_route.routes, path)
        elif isinstance(route.original_route, APIRoute):
            policy = cache_policy(route.endpoint)
            if policy is not None:
                yield path, policy, route


def cached_urls() -> Iterator[str]:
    """Yield what the tests ask the template's routes for, still with its braces."""
    for path in ROUTES:
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


@pytest.fixture
async def values(client: httpx.AsyncClient, admin: Person) -> dict[str, Any]:
    """Return what the braces in URLs stand for; add what your cached routes have."""
    key = await client.post(
        "/users/keys", json={"name": "laptop"}, headers=admin.headers
    )
    return {"user_id": admin.id, "key_id": key.json()["id"]}


@pytest.fixture
def ask(client: httpx.AsyncClient, values: dict[str, Any]) -> Ask:
    """Return a function that asks for a URL with braces, as somebody."""

    async def ask(
        url: str, caller: Headers, more: Headers | None = None, method: str = "GET"
    ) -> httpx.Response:
        headers = caller | (more or {})
        return await client.request(method, url.format_map(values), headers=headers)

    return ask


@pytest.fixture
async def stored(ask: Ask, admin: Person) -> dict[str, httpx.Response]:
    """Return what each of these answers the admin, all of which is stored now."""
    answers = {}
    for url in cached_urls():
        await ask(url, admin.headers)
        answers[url] = await ask(url, admin.headers)
        assert outcome(answers[url]) == "HIT", url
    return answers
