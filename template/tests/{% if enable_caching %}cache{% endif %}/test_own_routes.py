"""Your cached routes, too, give nobody what they would not get without a cache.

They are asked with parameters that somebody made up, unless `values` in conftest.py has
them, so most will find nothing. Test in files of your own what they say.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, get_args
from urllib.parse import quote, urlencode
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, params
from fastapi.dependencies.utils import get_flat_params

from app.cache import cached, invalidate_namespace, segment, shared_key_builder
from app.config import Settings
from app.main import create_app
from app.managers.auth import CurrentUser
from tests.asgi import filled, lifespan, match_first
from tests.cache.conftest import BYPASS, ROUTES, cached_contexts, outcome, said
from tests.people import MakeKey, Person

# What parameters of your routes are tried with, if `values` does not know their names.
SAMPLES = ("1", "a", "2026-01-02", "2026-01-02T03:04:05Z", str(UUID(int=1)))

# Routes as you may have them, so that there are some.
LIKE_YOURS = "/like-yours/{shelf}/{number}/{size}"
MOUNTED = "/like-yours/mounted/{number}"


class Size(StrEnum):
    small = "small"


def shelf_key_builder(
    func: Callable[..., Any], namespace: str, *, request: Request, **_: Any
) -> str:
    return f"{namespace}:{segment(request.path_params['shelf'])}:{func.__name__}"


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """Yield an application that has started, with two routes more."""
    app, mounted, router = create_app(settings), FastAPI(), APIRouter()

    @router.get(LIKE_YOURS)
    @cached(namespace="like-yours", key_builder=shelf_key_builder)
    async def show(
        shelf: str, number: int, size: Size, colour: str, user: CurrentUser
    ) -> str:
        return f"{shelf} {number} {size} {colour} of {user.email}"

    @mounted.get("/{number}")
    @cached(namespace="like-yours:{number}", key_builder=shared_key_builder)
    async def show_to_all(number: int) -> int:
        return number

    app.include_router(router)
    app.mount("/like-yours/mounted", mounted)
    match_first(app, 2)
    async with lifespan(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client without credentials, which is told of an error by a 500."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://service"
    ) as client:
        yield client


async def test_parameters_of_any_name_and_kind_are_filled(
    app: FastAPI, client: httpx.AsyncClient, user: Person
) -> None:
    urls = [url for url in own_urls(app, {"number": 7}) if "like-yours" in url]
    assert urls == ["/like-yours/1/7/small?colour=1", "/like-yours/mounted/7"]
    for url in urls:
        answers = [await client.get(url, headers=user.headers) for _ in range(2)]
        assert [outcome(answer) for answer in answers] == ["MISS", "HIT"], url


async def test_what_is_about_one_thing_is_dropped_alone_and_for_everybody(
    client: httpx.AsyncClient, user: Person
) -> None:
    one, other = (MOUNTED.format(number=number) for number in (7, 77))
    for url in (one, other):
        await client.get(url)
        assert outcome(await client.get(url, headers=user.headers)) == "HIT", url
    await invalidate_namespace("like-yours:7")
    assert outcome(await client.get(one, headers=user.headers)) == "MISS"
    assert outcome(await client.get(other, headers=user.headers)) == "HIT"


async def test_nobody_is_given_what_he_would_not_get_without_a_cache(
    app: FastAPI,
    client: httpx.AsyncClient,
    values: dict[str, Any],
    user: Person,
    other: Person,
    admin: Person,
    make_key: MakeKey,
) -> None:
    """Who may see most comes first. What changes by itself is not compared."""
    keys = [await make_key(admin, "profile:write"), await make_key(user)]
    callers = [admin.headers, user.headers, other.headers, *keys, {}]
    for url in own_urls(app, values):

        async def past(url: str = url) -> list[tuple[int, str | None, bytes]]:
            return [
                said(await client.get(url, headers=caller | BYPASS))
                for caller in callers
            ]

        before = await past()
        given = [
            [await client.get(url, headers=caller) for _ in range(2)]
            for caller in callers
        ]
        after = await past()
        for number, answers in enumerate(given):
            for answer in answers:
                if before[number][0] == after[number][0]:
                    assert answer.status_code == before[number][0], (url, number)
                if before == after:
                    assert said(answer) == before[number], (url, number)
                if answer.status_code >= 400:
                    assert outcome(answer) != "HIT", (url, number)
                elif before[-1][0] == 401:  # so it is not for browsers to share
                    assert "public" not in answer.headers["cache-control"], url
                    varies = answer.headers["vary"].lower().split(", ")
                    assert {"authorization", "x-api-key"} <= set(varies), url


def own_urls(app: FastAPI, values: Mapping[str, object]) -> Iterator[str]:
    """Yield one URL of each cached route that is not the template's."""
    for path, _, route in cached_contexts(app.routes):
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
