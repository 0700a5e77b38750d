"""Every cached route: what the template's say, and that yours are private, too.

Yours are asked with parameters that somebody made up, unless `values` in conftest.py
has them, so most will find nothing. Test in files of your own what they say.
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
from tests.cache.conftest import (
    BYPASS,
    RELOAD,
    ROUTES,
    Ask,
    cached_contexts,
    cached_routes,
    cached_urls,
    outcome,
    said,
    whole,
)
from tests.people import MakeKey, Person


def test_the_routes_of_the_table_are_cached_as_it_says(app: FastAPI) -> None:
    found = {
        path: (policy.namespace, policy.key_builder_name)
        for path, policy in cached_routes(app).items()
    }
    assert {path: found.get(path) for path in ROUTES} == ROUTES


async def test_a_hit_is_the_answer_of_its_miss(ask: Ask, admin: Person) -> None:
    for url in cached_urls():
        miss, hit = [await ask(url, admin.headers) for _ in range(2)]
        assert miss.status_code == 200, (url, miss.text)
        assert (outcome(miss), outcome(hit)) == ("MISS", "HIT"), url
        assert whole(hit) == whole(miss), url


async def test_a_hit_says_what_the_route_says_without_a_cache(
    stored: dict[str, httpx.Response], ask: Ask, admin: Person
) -> None:
    for url, hit in stored.items():
        past = await ask(url, admin.headers, BYPASS)
        assert outcome(past) is None, url
        assert said(hit) == said(past), url


async def test_no_answer_is_given_to_who_would_not_get_it_without_a_cache(
    stored: dict[str, httpx.Response],
    ask: Ask,
    user: Person,
    other: Person,
    admin: Person,
    make_key: MakeKey,
) -> None:
    unable = await make_key(admin, "profile:write")
    for url in stored:
        for caller in ({}, user.headers, other.headers, await make_key(user), unable):
            expected = await ask(url, caller, BYPASS)
            for _ in range(3):
                given = await ask(url, caller)
                assert said(given) == said(expected), (url, caller)
                if given.status_code >= 400:
                    assert outcome(given) != "HIT", (url, caller)


async def test_what_a_client_has_already_is_not_sent_again(
    stored: dict[str, httpx.Response], ask: Ask, admin: Person
) -> None:
    for url, hit in stored.items():
        assert "etag" in hit.headers, (
            "A middleware of yours may change bodies. If it never does, name it in"
            " KEEP_BODIES of app/middleware/__init__.py; else this test is not for you."
        )
        condition = {"If-None-Match": hit.headers["etag"]}
        for how in ({}, RELOAD):
            answer = await ask(url, admin.headers, condition | how)
            assert (answer.status_code, answer.content) == (304, b""), url
            assert answer.headers["etag"] == hit.headers["etag"], url
        answer = await ask(url, admin.headers, {"If-None-Match": '"another"'})
        assert whole(answer) == whole(hit), url


async def test_head_is_answered_from_what_get_has_stored(
    stored: dict[str, httpx.Response], ask: Ask, admin: Person
) -> None:
    for url, hit in stored.items():
        head = await ask(url, admin.headers, method="HEAD")
        assert (outcome(head), head.content) == ("HIT", b""), url
        assert whole(head)[:2] == whole(hit)[:2], url
        refused = await ask(url, {}, method="HEAD")
        without = await ask(url, {})
        assert refused.status_code == without.status_code, url


async def test_browsers_and_proxies_share_nothing_of_it(
    stored: dict[str, httpx.Response],
) -> None:
    for url, hit in stored.items():
        assert "public" not in hit.headers["cache-control"], url
        varies = hit.headers["vary"].lower()
        assert {"authorization", "x-api-key"} <= set(varies.split(", ")), url


async def test_a_client_can_ask_for_a_fresh_answer(
    stored: dict[str, httpx.Response], ask: Ask, admin: Person
) -> None:
    for url, hit in stored.items():
        fresh = await ask(url, admin.headers, RELOAD)
        assert outcome(fresh) == "MISS", url
        assert whole(fresh) == whole(hit), url
        again = await ask(url, admin.headers)
        assert outcome(again) == "HIT", url


async def test_what_is_refused_or_not_found_is_not_stored(
    client: httpx.AsyncClient, admin: Person, user: Person
) -> None:
    for url, caller, status in (
        ("/users/keys/999999999", admin.headers, 404),
        ("/users/", user.headers, 403),
        ("/users/?page=none", admin.headers, 422),
        ("/users/me", {}, 401),
    ):
        for _ in range(3):
            answer = await client.get(url, headers=caller)
            assert answer.status_code == status
            assert outcome(answer) != "HIT", url


async def test_other_parameters_are_another_answer(
    client: httpx.AsyncClient, admin: Person, user: Person
) -> None:
    pages = [f"/users/?page={page}&size=1" for page in (1, 2)]
    found = [await client.get(url, headers=admin.headers) for url in pages * 2]
    assert [outcome(answer) for answer in found] == ["MISS", "MISS", "HIT", "HIT"]
    ids = [answer.json()["items"][0]["id"] for answer in found]
    assert sorted(ids[:2]) == sorted([admin.id, user.id])
    assert ids[:2] == ids[2:]


# Yours

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


class TestYours:
    """They give nobody what they would not get without a cache."""

    @pytest.fixture
    async def app(self, settings: Settings) -> AsyncIterator[FastAPI]:
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
    async def client(self, app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
        """Yield a client without credentials, which is told of an error by a 500."""
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://service"
        ) as client:
            yield client

    async def test_have_parameters_of_any_name_and_kind_filled(
        self, app: FastAPI, client: httpx.AsyncClient, user: Person
    ) -> None:
        urls = [url for url in own_urls(app, {"number": 7}) if "like-yours" in url]
        assert urls == ["/like-yours/1/7/small?colour=1", "/like-yours/mounted/7"]
        for url in urls:
            answers = [await client.get(url, headers=user.headers) for _ in range(2)]
            assert [outcome(answer) for answer in answers] == ["MISS", "HIT"], url

    async def test_are_dropped_alone_and_for_everybody_where_about_one_thing(
        self, client: httpx.AsyncClient, user: Person
    ) -> None:
        one, other = (MOUNTED.format(number=number) for number in (7, 77))
        for url in (one, other):
            await client.get(url)
            assert outcome(await client.get(url, headers=user.headers)) == "HIT", url
        await invalidate_namespace("like-yours:7")
        assert outcome(await client.get(one, headers=user.headers)) == "MISS"
        assert outcome(await client.get(other, headers=user.headers)) == "HIT"

    async def test_give_nobody_what_he_would_not_get_without_a_cache(
        self,
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
