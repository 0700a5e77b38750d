"""Requests that are larger than anybody needs, and how they are told."""

import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.types import Message

from app import logs
from app.main import MAX_BODY_SIZE
from app.resources.dependencies import ANYONE
from tests.asgi import match_first

JSON = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def routes(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    """Add a route that reads its body, one that takes more, and one that reads none."""

    @app.post("/of-a-test/size", dependencies=[ANYONE])
    async def size(request: Request) -> int:
        return len(await request.body())

    @app.post("/of-a-test/large", dependencies=[ANYONE], max_body_size=100_000)
    async def large(request: Request) -> int:
        return len(await request.body())

    @app.post("/of-a-test/unread", dependencies=[ANYONE])
    async def unread() -> None: ...

    match_first(app)
    caplog.set_level(logging.INFO, logs.REQUESTS.name)


async def in_chunks(size: int) -> AsyncIterator[bytes]:
    """Yield a body whose length nobody is told before."""
    for _ in range(size // 100):
        yield b"a" * 100


@pytest.mark.parametrize("path", ["/of-a-test/size", "/of-a-test/unread", "/nowhere"])
async def test_a_large_body_is_a_problem_with_its_id_in_the_log(
    client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    answer = await client.post(path, content=b"a" * (MAX_BODY_SIZE + 1))

    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "content_too_large"
    (line,) = capsys.readouterr().err.splitlines()
    assert f"POST {path} 413 (" in line
    assert line.endswith(answer.headers["X-Request-ID"])


async def test_so_is_one_that_does_not_tell_its_length(
    client: httpx.AsyncClient,
) -> None:
    told = await client.post("/of-a-test/size", content=b"a" * 20_000)
    untold = await client.post("/of-a-test/size", content=in_chunks(20_000))

    assert untold.status_code == 413
    assert untold.json() == told.json()


async def test_a_body_may_have_as_much_as_its_route_takes(
    client: httpx.AsyncClient,
) -> None:
    most = await client.post("/of-a-test/size", content=b"a" * MAX_BODY_SIZE)
    assert most.json() == MAX_BODY_SIZE
    most = await client.post("/of-a-test/large", content=in_chunks(100_000))
    assert most.json() == 100_000

    more = await client.post("/of-a-test/large", content=b"a" * 100_001)
    assert more.json()["code"] == "content_too_large"


async def test_95_000_unknown_keys_are_not_looked_at(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    keys = [f"key{number}" for number in range(95_000)]

    answer = await client.post("/login/", json=dict.fromkeys(keys, 1))
    assert answer.status_code == 413
    query = "&".join(f"{key}=1" for key in keys).encode()
    assert await status_of(app, query_string=query) == 414
    headers = [(key.encode(), b"1") for key in keys]
    assert await status_of(app, headers=headers) == 431


@pytest.mark.parametrize("deep", ["[" * 15_000, '{"email":' * 1_500, "[" * 7_000])
async def test_deep_json_is_a_bad_request(client: httpx.AsyncClient, deep: str) -> None:
    answer = await client.post("/login/", content=deep, headers=JSON)

    assert answer.status_code in (400, 422)
    assert answer.headers["Content-Type"] == "application/problem+json"


async def status_of(app: FastAPI, **request: object) -> int:
    """Send what no HTTP client sends."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b""}
    await app({**scope, "headers": [], **request}, receive, send)
    return int(sent[0]["status"])
