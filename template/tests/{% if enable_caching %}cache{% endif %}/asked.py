"""The cached routes of the service, and how the tests ask each of them.

The template's are asked for everything that a cache may get wrong. Of yours it is only
looked whether they are private: nobody here knows what they should say.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, get_args
from urllib.parse import quote, urlencode
from uuid import UUID

import httpx
from fastapi import FastAPI, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.routing import BaseRoute, Mount

from app.cache import CachePolicy, cache_policy
from tests.paths import filled

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

# The queries of routes that need one or have several answers; `values` in conftest.py
# has what stands in braces, here and in paths.
QUERIES = {
    "/users/": ["", "?user_id={user_id}"],
    "/users/search": ["?field=email&term=person"],
}

# What parameters of your routes are tried with, if `values` does not know their names.
SAMPLES = ("1", "a", "2026-01-02", "2026-01-02T03:04:05Z", str(UUID(int=1)))

# A request that the cache leaves alone, and one that it may not answer from an entry.
BYPASS = {"Cache-Control": "no-store"}
RELOAD = {"Cache-Control": "no-cache"}

# What belongs to one message, and differs from one to the next.
OF_THE_MESSAGE = {"age", "cache-status", "date", "x-fastapi-cache", "x-request-id"}

Ask = Callable[..., Awaitable[httpx.Response]]


def cached_routes(app: FastAPI) -> dict[str, CachePolicy]:
    """Return how each cached route is cached, by its path."""
    return {path: policy for path, policy, _ in _cached(app.routes)}


def _cached(
    routes: Sequence[BaseRoute], prefix: str = ""
) -> Iterator[tuple[str, CachePolicy, RouteContext]]:
    """Yield the cached routes, those of mounted applications, too."""
    for route in iter_route_contexts(routes):
        path = prefix + (route.path or "")
        if isinstance(route.original_route, Mount):
            yield from _cached(route.original_route.routes, path)
        elif isinstance(route.original_route, APIRoute):
            policy = cache_policy(route.endpoint)
            if policy is not None:
                yield path, policy, route


def cached_urls() -> Iterator[str]:
    """Yield what the tests ask the template's routes for, still with its braces."""
    for path in ROUTES:
        for query in QUERIES.get(path, [""]):
            yield path + query


def own_urls(app: FastAPI, values: Mapping[str, object]) -> Iterator[str]:
    """Yield one URL of each cached route that is not the template's."""
    for path, _, route in _cached(app.routes):
        if path in ROUTES:
            continue
        in_path, query = {}, {}
        for field in get_flat_params(route.dependant):
            if isinstance(field.field_info, params.Path):
                in_path[field.alias] = _sample(field, values)
            elif isinstance(field.field_info, params.Query) and (
                field.field_info.is_required()
            ):
                query[field.alias] = _sample(field, values)
        url = quote(filled(path, {**values, **in_path}, "1"))
        yield f"{url}?{urlencode(query)}" if query else url


def _sample(field: Any, values: Mapping[str, object]) -> str:
    """Return a text that a parameter takes, if there is one."""
    annotation = field.field_info.annotation
    tried = [values.get(field.alias, "1"), *SAMPLES, *get_args(annotation)]
    tried += getattr(annotation, "__members__", {}).values()  # of an Enum
    texts = [str(getattr(each, "value", each)) for each in tried]
    fits = (text for text in texts if not field.validate(text, {}, loc=())[1])
    return next(fits, "1")


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
