import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import StreamingResponse
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app import logs
from app.logs import SERVER
from tests.asgi import match_first


@pytest.fixture(autouse=True)
def speaking(caplog: pytest.LogCaptureFixture, app: FastAPI) -> None:
    caplog.set_level(logging.INFO, logs.REQUESTS.name)


async def test_a_request_is_one_line_without_its_secrets(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    await client.get(
        "/users/me?token=hush",
        headers={"Authorization": "Bearer hush", "X-API-Key": "hush"},
    )

    (line,) = [r.getMessage() for r in caplog.records if r.name == logs.REQUESTS.name]
    assert line.startswith("GET /users/me 400 (")
    assert "hush" not in line


async def test_only_a_probe_that_fails_is_a_line(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    await client.get("/livez")
    await client.get("/readyz")
    await client.post("/livez")
    (line,) = [r.getMessage() for r in caplog.records if r.name == logs.REQUESTS.name]
    assert line.startswith("POST /livez 405 (")


async def test_every_answer_has_an_id(client: httpx.AsyncClient) -> None:
    first = await client.get("/livez")
    second = await client.get("/nowhere")

    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("client", "kept"),
    [
        (("127.0.0.1", 5000), True),  # the proxy itself
        (("198.51.100.7", 0), True),  # whom uvicorn was told of by the proxy
        (("198.51.100.7", 5000), False),
        (None, False),
    ],
)
async def test_the_id_of_a_trusted_proxy_is_kept(
    app: FastAPI, client: tuple[str, int], kept: bool
) -> None:
    transport = httpx.ASGITransport(app, client=client)
    async with httpx.AsyncClient(transport=transport, base_url="http://a") as caller:
        answer = await caller.get("/nowhere", headers={"X-Request-ID": "mine-1.2_3"})

    assert (answer.headers["X-Request-ID"] == "mine-1.2_3") == kept


async def test_uvicorn_marks_what_a_trusted_proxy_has_sent(app: FastAPI) -> None:
    server: Any = ProxyHeadersMiddleware(cast(Any, app), ["10.0.0.0/8"])
    headers = {"X-Request-ID": "mine", "X-Forwarded-For": "198.51.100.7"}
    kept = []
    for sender in ("10.1.2.3", "198.51.100.7"):
        transport = httpx.ASGITransport(server, client=(sender, 5000))
        async with httpx.AsyncClient(transport=transport, base_url="http://a") as user:
            answer = await user.get("/nowhere", headers=headers)
            kept.append(answer.headers["X-Request-ID"] == "mine")

    assert kept == [True, False]


@pytest.mark.parametrize("given", ["", "a b", "a" * 65, "{}", "id=1"])
async def test_an_id_that_is_not_plain_is_replaced(
    client: httpx.AsyncClient, given: str
) -> None:
    answer = await client.get("/livez", headers={"X-Request-ID": given})

    assert answer.headers["X-Request-ID"] != given


async def test_a_failure_is_logged_with_its_traceback_and_id(
    app: FastAPI, client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    @app.get("/of-a-test/broken")
    async def broken() -> None:
        raise LookupError("the reason")

    match_first(app)
    answer = await client.get("/of-a-test/broken")

    assert answer.status_code == 500
    assert "the reason" not in answer.text
    first, *traceback, last = capsys.readouterr().err.splitlines()
    name = answer.headers["X-Request-ID"]
    assert first.endswith(f"ERROR: GET /of-a-test/broken failed | {name}")
    assert traceback[-1] == "  LookupError: the reason"
    assert last.endswith(f" | {name}")


async def test_every_line_of_a_request_has_its_id(
    app: FastAPI, client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    @app.get("/of-a-test/lines")
    def lines(tasks: BackgroundTasks) -> None:  # in a thread
        tasks.add_task(logs.AUTH.info, "after the answer")
        logs.AUTH.info("in a thread")
        logging.getLogger("sqlalchemy.engine").warning("in a library")

    match_first(app)
    names = []
    for _ in range(2):
        answer = await client.get("/of-a-test/lines")
        names += [answer.headers["X-Request-ID"]] * 4
    logs.AUTH.info("in no request")

    *during, outside = capsys.readouterr().err.splitlines()
    assert [line.rpartition(" | ")[2] for line in during] == names
    assert outside.endswith("| in no request")


async def test_an_answer_that_breaks_off_is_not_hidden(
    app: FastAPI, client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.sleep(0)
        raise LookupError("in the middle")

    @app.get("/of-a-test/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(parts())

    match_first(app)
    with pytest.raises(LookupError, match="in the middle"):
        await client.get("/of-a-test/stream")
    SERVER.error("as the server says")

    ours, servers = capsys.readouterr().err.splitlines()
    assert "| GET /of-a-test/stream 200 cut off (" in ours
    assert servers.rpartition(" | ")[2] == ours.rpartition(" | ")[2]
