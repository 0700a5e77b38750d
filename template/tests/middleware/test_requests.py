import asyncio
import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from app import logs
from tests.paths import match_first


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
    assert not [r for r in caplog.records if r.name == logs.REQUESTS.name]
    await client.post("/livez")
    await client.get("/readyz")
    shown = [r.getMessage() for r in caplog.records if r.name == logs.REQUESTS.name]
    assert [line.partition(" (")[0] for line in shown] == [
        "POST /livez 405",
        "GET /readyz 200",
    ]


async def test_every_answer_has_an_id(client: httpx.AsyncClient) -> None:
    first = await client.get("/livez")
    second = await client.get("/nowhere")

    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]


async def test_the_id_of_the_caller_is_kept(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await client.get("/nowhere", headers={"X-Request-ID": "trace-1.2_3"})

    assert answer.headers["X-Request-ID"] == "trace-1.2_3"
    assert "trace-1.2_3" in caplog.text


@pytest.mark.parametrize("given", ["", "a b", "a" * 65, "{}", "id=1"])
async def test_an_id_that_is_not_plain_is_replaced(
    client: httpx.AsyncClient, given: str
) -> None:
    answer = await client.get("/livez", headers={"X-Request-ID": given})

    assert answer.headers["X-Request-ID"] != given


async def test_a_failure_is_logged_with_its_traceback_and_id(
    app: FastAPI, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/of-a-test/broken")
    async def broken() -> None:
        raise LookupError("the reason")

    match_first(app)
    answer = await client.get("/of-a-test/broken")

    assert answer.status_code == 500
    assert "the reason" not in answer.text
    (record,) = [r for r in caplog.records if r.exc_info]
    assert "LookupError: the reason" in caplog.text
    assert answer.headers["X-Request-ID"] in record.getMessage()


async def test_an_answer_that_breaks_off_is_not_hidden(
    app: FastAPI, client: httpx.AsyncClient
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
