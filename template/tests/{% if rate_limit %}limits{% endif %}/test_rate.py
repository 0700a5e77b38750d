"""`Depends(RateLimit(…))` on routes of an owner's."""

from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request

from app.config import Settings
from app.limits import RateLimit
from app.main import create_app
from app.managers.auth import AuthManager, CurrentUser
from tests.asgi import lifespan
from tests.limits.conftest import From
from tests.people import Person


def colour(request: Request) -> str:
    return request.headers.get("colour", "")


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    app, router = create_app(settings), APIRouter(prefix="/mine")

    two_a_minute = [Depends(RateLimit("2/minute"))]

    @router.get("/a", dependencies=two_a_minute)
    async def a() -> str:
        return "a"

    @router.get("/b", dependencies=two_a_minute)
    async def b() -> str:
        return "b"

    shared = RateLimit("3/minute; 100/day", name="search")

    @router.get("/one", dependencies=[Depends(shared)])
    async def one() -> str:
        return "one"

    @router.get("/other", dependencies=[Depends(shared)])
    async def other() -> str:
        return "other"

    of_user = RateLimit("2/minute", by="principal")

    @router.get("/user", dependencies=[Depends(AuthManager()), Depends(of_user)])
    async def of_users() -> str:
        return "yours"

    @router.get("/colour")
    async def coloured(
        _: Annotated[None, Depends(RateLimit("1/minute", by=colour))],
    ) -> str:
        return "coloured"

    app.include_router(router)
    async with lifespan(app):
        yield app


async def answers(client: httpx.AsyncClient, *urls: str, **headers: str) -> list[int]:
    return [(await client.get(f"/mine/{u}", headers=headers)).status_code for u in urls]


async def test_each_route_counts_for_itself(at: From) -> None:
    assert await answers(at("192.0.2.1"), *"aaabbb") == [200, 200, 429] * 2
    assert await answers(at("192.0.2.2"), *"ab") == [200, 200]


async def test_routes_with_one_name_count_together(at: From) -> None:
    client = at("192.0.2.1")
    assert await answers(client, "one", "other", "one") == [200] * 3
    refused = await client.get("/mine/other")
    assert refused.status_code == 429
    assert refused.headers["RateLimit-Policy"] == '"search-minute";q=3;w=60'
    assert refused.headers["RateLimit"] == (
        f'"search-minute";r=0;t={refused.headers["Retry-After"]}'
    )
    answer = await at("192.0.2.2").get("/mine/one")
    policies = '"search-minute";q=3;w=60, "search-day";q=100;w=86400'
    assert answer.headers["RateLimit-Policy"] == policies


async def test_a_user_is_counted_wherever_he_is(
    at: From, user: Person, other: Person
) -> None:
    assert await answers(at("192.0.2.1"), "user", "user", **user.headers) == [200, 200]
    assert await answers(at("192.0.2.2"), "user", **user.headers) == [429]
    assert await answers(at("192.0.2.1"), "user", **other.headers) == [200]
    assert await answers(at("192.0.2.1"), "user") == [401]


async def test_a_limit_that_cannot_know_the_user_refuses_the_start(
    settings: Settings,
) -> None:
    app = create_app(settings)
    of_user = RateLimit("2/minute", by="principal")

    @app.get("/late", dependencies=[Depends(of_user)])
    async def late(user: CurrentUser) -> str:
        return "yours"

    with pytest.raises(
        RuntimeError, match=r"^/late has a RateLimit.*Put an AuthManager"
    ):
        async with lifespan(app):
            pass


async def test_a_function_says_who_is_counted_and_who_is_not(at: From) -> None:
    client = at("192.0.2.1")
    assert await answers(client, "colour", "colour", colour="red") == [200, 429]
    assert await answers(client, "colour", colour="blue") == [200]
    assert await answers(client, "colour", "colour") == [200, 200]


async def test_the_document_says_it(at: From) -> None:
    paths = (await at("192.0.2.1").get("/openapi.json")).json()["paths"]
    assert "429" in paths["/mine/a"]["get"]["responses"]
    assert "429" not in paths["/livez"]["get"]["responses"]
