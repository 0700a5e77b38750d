"""A limit counts hits, and each answer has the fields of its own caller."""

from collections.abc import AsyncIterator
from itertools import count

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI

from app.cache import cached, shared_key_builder, user_scoped_key_builder
from app.config import Settings
from app.limits import RateLimit
from app.main import create_app
from app.managers.auth import AuthManager
from tests.asgi import lifespan
from tests.cache.conftest import outcome
from tests.people import Person
from tests.test_limits import From


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    app, router, runs = create_app(settings), APIRouter(), count(1)

    @router.get("/limited", dependencies=[Depends(RateLimit("10/minute"))])
    @cached(namespace="limited")
    async def limited() -> int:
        return next(runs)

    of_user = RateLimit("2/minute", by="principal")

    @router.get("/of-user", dependencies=[Depends(AuthManager()), Depends(of_user)])
    @cached(namespace="of-user", key_builder=shared_key_builder)
    async def limited_by_user() -> int:
        return next(runs)

    app.include_router(router)
    async with lifespan(app):
        yield app


def left(answer: httpx.Response) -> int:
    fields = answer.headers.get_list("RateLimit")
    assert len(fields) == 1, fields
    assert answer.headers.get_list("RateLimit-Policy") == ['"address";q=10;w=60']
    return int(fields[0].removeprefix('"address";r=').partition(";")[0])


async def test_ten_are_answered_the_eleventh_is_refused_and_the_next_address_is_not(
    at: From,
) -> None:
    one, other = at("192.0.2.1"), at("192.0.2.2")
    answers = [await one.get("/limited") for _ in range(10)]
    assert [outcome(answer) for answer in answers] == ["MISS"] + ["HIT"] * 9
    assert [left(answer) for answer in answers] == list(range(9, -1, -1))
    assert {answer.text for answer in answers} == {"1"}

    refused = await one.get("/limited")
    assert refused.status_code == 429
    assert "X-FastAPI-Cache" not in refused.headers
    assert left(refused) == 0

    answer = await other.get("/limited")
    assert (answer.status_code, answer.text, outcome(answer)) == (200, "1", "HIT")
    assert left(answer) == 9
    assert "Retry-After" not in answer.headers
    # Not from what was stored: a 304 has the fields of its caller, too.
    fresh = {"If-None-Match": answer.headers["ETag"]}
    unchanged = await other.get("/limited", headers=fresh)
    assert unchanged.status_code == 304
    assert left(unchanged) == 8


async def test_users_are_counted_apart_and_share_the_entry(
    at: From, user: Person, other: Person
) -> None:
    client, found = at("192.0.2.1"), []
    for person in (user, user, user, other):
        answer = await client.get("/of-user", headers=person.headers)
        found.append((answer.status_code, answer.headers.get("X-FastAPI-Cache")))
    assert found == [(200, "MISS"), (200, "HIT"), (429, None), (200, "HIT")]


async def test_a_refusal_to_the_first_who_asks_is_not_stored(at: From) -> None:
    client = at("192.0.2.1")
    for _ in range(10):
        await client.get("/limited", headers={"Cache-Control": "no-store"})
    assert (await client.get("/limited")).status_code == 429
    answer = await at("192.0.2.2").get("/limited")
    assert (answer.status_code, outcome(answer)) == (200, "MISS")


async def test_a_limit_is_no_one_who_finds_out_who_asks(settings: Settings) -> None:
    app, router = create_app(settings), APIRouter()

    @router.get("/mine", dependencies=[Depends(RateLimit("10/minute"))])
    @cached(namespace="mine", key_builder=user_scoped_key_builder)
    async def mine() -> str:
        return "mine"

    app.include_router(router)
    with pytest.raises(RuntimeError, match="/mine asks nobody who"):
        async with lifespan(app):
            pass
