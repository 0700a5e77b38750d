"""Who asks after a change was acknowledged is never answered with older data.

Each rule of `app/models/cache_rules.py` names something that is cached. A rule of yours
that is about your own namespaces is looked at by the start alone.
"""

import runpy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from string import Formatter
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import delete, insert, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import cache
from app.cache import invalidate_namespace
from app.database import Database
from app.models import ApiKey, User, cache_rules
from tests.cache.conftest import BYPASS, ROUTES, Ask, cached_routes, outcome, said
from tests.people import PASSWORD, Person

ME, USERS = "/users/me", "/users/"
USER = f"{USERS}?user_id={{user_id}}"
SEARCH = "/users/search?field=email&term=person"
MY_KEYS, MY_KEY = "/users/keys", "/users/keys/{key_id}"
HIS_KEYS = "/users/keys/by-user/{user_id}"
HIS_KEY = f"{HIS_KEYS}/{{key_id}}"
KEYS, KEY = {MY_KEYS, HIS_KEYS}, {MY_KEY, HIS_KEY}

NAMES = {"first_name": "Per", "last_name": "Person"}
PROFILE = {"email": "new-person@example.com", **NAMES}
LOGIN = {"email": "one-more-person@example.com", "password": PASSWORD}


@dataclass(frozen=True)
class Change:
    """A request after which the admin is told something else under `shown_by`."""

    request: str
    shown_by: set[str]
    body: Any = None

    def __str__(self) -> str:
        return self.request


CHANGES = [
    Change("POST /register/", {USERS, SEARCH}, LOGIN | NAMES),
    Change("PUT /users/{user_id}", {ME, USER, USERS, SEARCH}, PROFILE),
    Change("PUT /users/{other_id}", {USERS, SEARCH}, PROFILE),
    Change("POST /users/{other_id}/ban", {USERS, SEARCH}),
    Change("POST /users/{other_id}/make-admin", {USERS, SEARCH}),
    Change("DELETE /users/{other_id}", {USERS, SEARCH}),
    Change("POST /users/keys", KEYS, {"name": "new"}),
    Change(f"PATCH {MY_KEY}", KEYS | KEY, {"name": "renamed"}),
    Change(f"DELETE {MY_KEY}", KEYS | KEY),
    Change(f"POST {HIS_KEYS}", KEYS, {"name": "new"}),
    Change(f"PATCH {HIS_KEY}", KEYS | KEY, {"active": False}),
    Change(f"DELETE {HIS_KEY}", KEYS | KEY),
]


def test_there_is_a_change_for_each_route() -> None:
    shown = {url.partition("?")[0] for change in CHANGES for url in change.shown_by}
    assert shown == set(ROUTES)


@pytest.mark.parametrize("change", CHANGES, ids=str)
async def test_each_route_shows_a_change_at_once(
    change: Change,
    client: httpx.AsyncClient,
    values: dict[str, Any],
    other: Person,
    stored: dict[str, httpx.Response],
    ask: Ask,
    admin: Person,
) -> None:
    method, _, url = change.request.partition(" ")
    url = url.format_map(values | {"other_id": other.id})
    written = await client.request(method, url, json=change.body, headers=admin.headers)
    assert written.is_success, written.text

    await _assert_fresh(stored, ask, admin)
    for url in change.shown_by:
        assert said(await ask(url, admin.headers)) != said(stored[url]), url


async def _assert_fresh(
    stored: dict[str, httpx.Response], ask: Ask, admin: Person
) -> None:
    """Assert that each route says what it says without a cache."""
    for url in stored:
        expected = said(await ask(url, admin.headers, BYPASS))
        for _ in range(2):
            assert said(await ask(url, admin.headers)) == expected, url


Write = Callable[[AsyncSession, int, str], Awaitable[None]]


async def by_an_object(session: AsyncSession, user_id: int, name: str) -> None:
    (await session.get_one(User, user_id)).first_name = name


async def by_an_update(session: AsyncSession, user_id: int, name: str) -> None:
    await session.execute(
        update(User).where(User.id == user_id).values(first_name=name)
    )


async def by_a_flush_and_another_change(
    session: AsyncSession, user_id: int, name: str
) -> None:
    user = await session.get_one(User, user_id)
    user.first_name = "Flushed"
    await session.flush()
    user.first_name = name


async def by_a_savepoint(session: AsyncSession, user_id: int, name: str) -> None:
    async with session.begin_nested():
        await by_an_object(session, user_id, name)


WRITES: list[Write] = [
    by_an_object,
    by_an_update,
    by_a_flush_and_another_change,
    by_a_savepoint,
]


async def test_a_commit_of_any_session_is_seen_at_once(
    database: Database, stored: dict[str, httpx.Response], ask: Ask, admin: Person
) -> None:
    for write in WRITES:
        async with database.session() as session:
            await write(session, admin.id, write.__name__)

        for url in (ME, USER, USERS, SEARCH):
            answer = await ask(url, admin.headers)
            assert outcome(answer) == "MISS", (url, write)
            assert write.__name__ in answer.text, url
        await _assert_fresh(stored, ask, admin)  # and stores them again


async def test_rows_that_are_added_and_deleted_in_bulk_are_seen_at_once(
    database: Database,
    values: dict[str, Any],
    stored: dict[str, httpx.Response],
    ask: Ask,
    admin: Person,
) -> None:
    row = {"user_id": admin.id, "key_hash": "x", "scopes": []}
    rows = [row | {"name": f"bulk{n}", "prefix": f"bulk{n}"} for n in range(3)]
    async with database.session() as session:
        await session.execute(insert(ApiKey), rows)
    assert len((await ask(MY_KEYS, admin.headers)).json()) == 4

    async with database.session() as session:
        await session.execute(delete(ApiKey).where(ApiKey.id != values["key_id"]))
    assert said(await ask(MY_KEYS, admin.headers)) == said(stored[MY_KEYS])


async def test_a_rollback_leaves_every_answer_stored(
    database: Database, stored: dict[str, httpx.Response], ask: Ask, admin: Person
) -> None:
    for write in WRITES:
        async with database.session() as session:
            await write(session, admin.id, "Written")
            await session.flush()
            await session.rollback()

        await _assert_stored(stored, ask, admin)


async def test_a_request_that_is_refused_leaves_every_answer_stored(
    client: httpx.AsyncClient,
    other: Person,
    stored: dict[str, httpx.Response],
    ask: Ask,
    admin: Person,
) -> None:
    taken = {"email": other.email, **NAMES}
    url = f"/users/{admin.id}"
    refused = await client.put(url, json=taken, headers=admin.headers)
    assert refused.status_code == 409

    await _assert_stored(stored, ask, admin)


async def test_a_change_leaves_what_it_does_not_touch_stored(
    client: httpx.AsyncClient,
    stored: dict[str, httpx.Response],
    ask: Ask,
    user: Person,
    admin: Person,
) -> None:
    """The list of users shows the user's new name; the admin's own data is the same."""
    url = f"/users/{user.id}"
    written = await client.put(url, json=PROFILE, headers=user.headers)
    assert written.is_success

    kept = [ME, USER, *KEYS, *KEY]
    await _assert_stored({url: stored[url] for url in kept}, ask, admin)


async def _assert_stored(
    stored: dict[str, httpx.Response], ask: Ask, admin: Person
) -> None:
    for url, before in stored.items():
        after = await ask(url, admin.headers)
        assert outcome(after) == "HIT", url
        assert said(after) == said(before), url


# The rules of `touches`

# The namespaces that the template's routes have, without what follows a colon.
NAMESPACES = {namespace.partition(":")[0] for namespace, _ in ROUTES.values()}


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> list[tuple[type[Any], str]]:
    """Return each model and a namespace that a change of one of its rows touches."""
    found: list[tuple[type[Any], str]] = []

    def touches(model: type[Any], *namespaces: str, **_: Any) -> None:
        found.extend((model, namespace) for namespace in namespaces)

    monkeypatch.setattr(cache, "touches", touches)
    runpy.run_path(cache_rules.__file__)
    return found


def _filled(model: type[Any], template: str, values: dict[str, Any]) -> str:
    """Return a rule's namespace up to the first segment with an unknown column."""
    known = values | ({"id": values["user_id"]} if model is User else {})
    segments = []
    for segment in template.split(":"):
        columns = {name for _, name, _, _ in Formatter().parse(segment) if name}
        if not columns <= known.keys():
            break
        segments.append(segment.format_map(known))
    return ":".join(segments)


async def test_each_rule_reaches_a_cached_route(
    app: FastAPI,
    rules: list[tuple[type[Any], str]],
    stored: dict[str, httpx.Response],
    ask: Ask,
    values: dict[str, Any],
    admin: Person,
) -> None:
    assert {namespace.partition(":")[0] for _, namespace in rules} >= NAMESPACES
    of_yours = {
        policy.namespace.partition(":")[0]
        for path, policy in cached_routes(app).items()
        if path not in ROUTES
    }
    for model, template in rules:
        namespace = _filled(model, template, values)
        first = namespace.partition(":")[0]
        if first not in NAMESPACES:
            continue
        await invalidate_namespace(namespace)
        answers = [await ask(url, admin.headers) for url in stored]
        rule = f"touches({model.__name__}, {template!r})"
        reached = "MISS" in map(outcome, answers)
        assert reached or first in of_yours, f"{rule} reaches no cached route"
        for url in stored:
            assert outcome(await ask(url, admin.headers)) == "HIT", url


async def test_a_route_without_a_time_to_live_of_its_own_is_reached_by_a_rule(
    app: FastAPI,
    rules: list[tuple[type[Any], str]],
    stored: dict[str, httpx.Response],
    ask: Ask,
    values: dict[str, Any],
    admin: Person,
) -> None:
    for rule in rules:
        await invalidate_namespace(_filled(*rule, values))
    routes = cached_routes(app)
    for url in stored:
        if routes[url.partition("?")[0]].expire is None:
            answer = await ask(url, admin.headers)
            assert outcome(answer) == "MISS", f"no change drops what {url} stores"
