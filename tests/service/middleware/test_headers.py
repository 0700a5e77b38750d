"""What every answer tells browsers, and caches in front of the service."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Response

from app.config import Settings
from app.main import create_app
from app.middleware import CREDENTIALS, SECURITY
from app.resources.dependencies import ANYONE
from tests.asgi import match_first
from tests.people import Person


@pytest.fixture
async def tolerant(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client that is answered as by a server: a failure is a response."""

    @app.get("/of-a-test/broken", dependencies=[ANYONE])
    async def broken() -> None:
        raise LookupError

    @app.get("/of-a-test/own", dependencies=[ANYONE])
    async def own(response: Response) -> None:
        response.headers["Cache-Control"] = "public, max-age=60"
        response.headers["X-Frame-Options"] = "SAMEORIGIN"

    match_first(app)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://service"
    ) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/docs/swagger/swagger-ui.css", 200),
        ("GET", "/nowhere", 404),
        ("DELETE", "/", 405),
        ("POST", "/login/", 422),
        ("GET", "/users/me", 401),
        ("GET", "/of-a-test/broken", 500),
        ("GET", "/?" + "a" * 9_000, 414),
    ],
)
async def test_security_headers_are_on_every_answer(
    tolerant: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await tolerant.request(method, path)

    assert answer.status_code == status
    assert {**answer.headers} | {k.lower(): v for k, v in SECURITY.items()} == {
        **answer.headers
    }


async def test_they_are_the_same_when_the_answer_is_repeated(
    client: httpx.AsyncClient, user: Person
) -> None:
    """A miss and a hit where there is a cache, and what a browser has already."""
    first = await client.get("/users/me", headers=user.headers)
    again = await client.get("/users/me", headers=user.headers)
    answers = [first, again]
    if "ETag" in again.headers:
        known = {"If-None-Match": again.headers["ETag"], **user.headers}
        answers.append(await client.get("/users/me", headers=known))
        assert answers[-1].status_code == 304

    for answer in answers:
        for name in (*SECURITY, "Cache-Control", "Vary"):
            assert answer.headers.get_list(name) == first.headers.get_list(name), name
    assert first.headers["Cache-Control"] == "private, no-cache"
    assert first.headers["Vary"] == ", ".join(CREDENTIALS)


async def test_a_route_may_set_its_own(
    tolerant: httpx.AsyncClient, user: Person
) -> None:
    anonymous = await tolerant.get("/of-a-test/own")
    assert anonymous.headers["Cache-Control"] == "public, max-age=60"
    assert anonymous.headers.get_list("X-Frame-Options") == ["SAMEORIGIN"]

    known = await tolerant.get("/of-a-test/own", headers=user.headers)
    assert known.headers["Cache-Control"] == "public, max-age=60"
    assert known.headers["Vary"] == ", ".join(CREDENTIALS)


async def test_tokens_and_keys_are_stored_by_nobody(
    client: httpx.AsyncClient, user: Person
) -> None:
    login = {"email": user.email, "password": user.password}
    tokens = await client.post("/login/", json=login)
    key = await client.post("/users/keys", json={"name": "k"}, headers=user.headers)

    assert (tokens.status_code, key.status_code) == (200, 201)
    assert tokens.headers["Cache-Control"] == key.headers["Cache-Control"] == "no-store"


async def test_what_says_from_when_it_is_may_be_shared(
    client: httpx.AsyncClient,
) -> None:
    """An answer made of the database does not: it could change at any time."""
    made = await client.get("/livez")
    assert made.headers["Cache-Control"] == "private, no-cache"

    file = await client.get("/docs/swagger/swagger-ui.css")
    assert file.headers["Last-Modified"]
    assert file.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    ("scheme", "age", "header"),
    [("https", 600, "max-age=600"), ("http", 600, None), ("https", 0, None)],
)
async def test_browsers_are_told_to_stay_with_https_when_asked(
    settings: Settings, scheme: str, age: int, header: str | None
) -> None:
    app = create_app(settings.model_copy(update={"hsts_max_age": age}))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url=f"{scheme}://service"
    ) as client:
        answer = await client.get("/livez")

    assert answer.headers.get("Strict-Transport-Security") == header
