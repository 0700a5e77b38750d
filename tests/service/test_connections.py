"""Clients that send too much, or nothing, on real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState
from websockets.asyncio.client import connect

from app.connections import MAX_HEAD_SIZE, Connection
from tests.environment import settings_from

HEAD = b"GET / HTTP/1.1\r\nHost: service\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: service\r\nContent-Length: 9\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: service\r\nTransfer-Encoding: chunked\r\n\r\n"
MIB = 1024 * 1024

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def service(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the number of bytes of the body; at /early, before reading it."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"]})
        return
    more, size = scope["path"] != "/early", 0
    while more:
        message = await receive()
        more = message.get("more_body", False)
        size += len(message.get("body", b""))
    body = str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(
    *,
    connections: int = 9,
    patience: float = 60,
    state: ServerState | None = None,
) -> AsyncIterator[int]:
    """Yield the port of a server that has these limits."""
    state = state or ServerState()
    with settings_from(
        DATABASE_URL="sqlite:///app.db",
        MAX_CONNECTIONS=str(connections),
        READ_TIMEOUT=str(patience),
    ):
        config = uvicorn.Config(service, http=Connection, log_config=None)
        config.load()
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(config, state, {}), "127.0.0.1", 0
        )
        yield server.sockets[0].getsockname()[1]
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await server.wait_closed()


@asynccontextmanager
async def dial(port: int) -> AsyncIterator[Streams]:
    """Yield a connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield reader, writer
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the service closes the connection."""
    try:
        async with asyncio.timeout(60):
            return await reader.read()
    except ConnectionResetError:
        return b""


async def ask(port: int) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"http://127.0.0.1:{port}/")


async def pour(port: int, start: bytes, size: int) -> tuple[int, bytes]:
    """Send a start and then so many bytes; return how many went out, and the answer."""
    sent = 0
    async with dial(port) as (reader, writer):
        writer.write(start)
        with suppress(ConnectionError):
            while sent < size:
                writer.write(b"a" * MIB)
                await writer.drain()
                sent += MIB
        return sent, await rest(reader)


@pytest.mark.parametrize(
    "start",
    [
        HEAD + b"X-Large: ",
        b"GET /",
        CHUNKED + b"1\r\na\r\n0\r\nX-Trailer: ",
        CHUNKED + b"1;extension=",
    ],
    ids=["header", "path", "trailer", "extension"],
)
async def test_a_head_of_60_mb_is_not_read(start: bytes) -> None:
    async with serving() as port:
        sent, answer = await pour(port, start, 60 * MIB)
        assert sent < 20 * MIB  # what systems keep for a socket
        assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
        assert (await ask(port)).status_code == 200


async def test_a_refusal_is_a_problem_document() -> None:
    async with serving() as port, dial(port) as (reader, writer):
        writer.write(HEAD + b"X-Large: " + b"a" * MAX_HEAD_SIZE)
        head, _, body = (await rest(reader)).partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["code"] == "request_header_fields_too_large"


async def test_bodies_and_many_requests_are_no_heads() -> None:
    async with serving() as port, dial(port) as (reader, writer):
        size = 2 * MIB
        upload = UPLOAD.replace(b" 9", b" %d" % size) + b"a" * size
        writer.write(3 * upload)
        for _ in range(3):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(7) == str(size).encode()


@pytest.mark.parametrize(
    "part",
    [b"", b"\r\n", HEAD, UPLOAD, CHUNKED + b"1\r\na"],
    ids=["nothing", "a blank line", "half a head", "no body", "half a body"],
)
async def test_who_does_not_go_on_is_cut_off(part: bytes) -> None:
    async with serving(patience=0.2) as port:
        async with dial(port) as (reader, writer):
            writer.write(part)
            answer = await rest(reader)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")
        assert (await ask(port)).status_code == 200


@pytest.mark.parametrize("part", [b"\r\n", HEAD, UPLOAD + b"a"])
async def test_so_is_who_had_an_answer_before(part: bytes) -> None:
    async with serving(patience=0.2) as port, dial(port) as (reader, writer):
        writer.write(HEAD + b"\r\n")
        await reader.readuntil(b"\r\n\r\n0")
        writer.write(part)
        await rest(reader)


async def test_who_has_an_answer_and_goes_on_is_cut_off() -> None:
    async with serving(patience=0.2) as port, dial(port) as (reader, writer):
        writer.write(UPLOAD.replace(b"/", b"/early", 1))
        await reader.readuntil(b"\r\n\r\n0")
        writer.write(b"a")  # at which uvicorn's own limit of 5 seconds ends
        await rest(reader)


async def test_an_open_websocket_is_no_silent_connection() -> None:
    async with (
        serving(patience=0.2) as port,
        connect(f"ws://127.0.0.1:{port}") as websocket,
        dial(port) as (silent, _),
    ):
        await rest(silent)  # which is cut off later than the other would be

        await websocket.send("still here")
        assert await websocket.recv() == "still here"


async def test_silent_connections_make_room_the_oldest_first() -> None:
    async with serving(connections=5) as port, AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(dial(port)) for _ in range(30)]

        assert (await ask(port)).status_code == 200
        for reader, _ in silent[:25]:
            assert await rest(reader) == b""
        reader, writer = silent[-1]
        writer.write(HEAD + b"\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")


async def test_an_open_websocket_does_not_make_room() -> None:
    async with (
        serving(connections=1) as port,
        connect(f"ws://127.0.0.1:{port}") as websocket,
    ):
        answer = await ask(port)
        assert answer.status_code == 503
        assert answer.json()["code"] == "unavailable"

        await websocket.send("still here")
        assert await websocket.recv() == "still here"


@pytest.mark.usefixtures("settings")
async def test_the_command_serves_like_this(run_service: Callable[..., str]) -> None:
    port = int(run_service().rpartition(":")[2])
    _, answer = await pour(port, HEAD + b"X-Large: ", 60 * MIB)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")


async def test_a_request_that_meets_the_end_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Connection, "ending", False)  # and so it is again
    state = ServerState()
    async with serving(state=state) as port, dial(port) as (reader, writer):
        writer.write(HEAD + b"\r\n")
        await reader.readuntil(b"\r\n\r\n0")
        for connection in state.connections:
            connection.shutdown()
        writer.write(HEAD + b"\r\n")
        answer = await rest(reader)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer


async def test_an_idle_connection_is_closed_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Connection, "ending", False)  # and so it is again
    state = ServerState()
    async with serving(state=state) as port, dial(port) as (reader, writer):
        writer.write(HEAD + b"\r\n")
        await reader.readuntil(b"\r\n\r\n0")
        for connection in state.connections:
            connection.shutdown()
        assert await rest(reader) == b""
