"""HEAD on a cached path, as uvicorn sends it: over one connection that stays open.

A server frames its answer by the method that it received. Should it come to take HEAD
for GET, what follows on the connection is misread, and only a real client sees it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import h11
import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.responses import StreamingResponse

from app.cache import cached
from app.managers.auth import CurrentUser
from tests.engine.conftest import Serve
from tests.engine.wire import listening
from tests.people import Headers, Person

router = APIRouter(prefix="/head")
NOBODY: Headers = {}


@router.get("/plain")
@cached(namespace="head")
async def get_plain() -> list[int]:
    return [1, 2, 3]


@router.get("/me")
@cached(namespace="head")
async def get_me(user: CurrentUser) -> int:
    return user.id


@router.get("/stream")
@cached(namespace="head")
async def get_stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"part"

    return StreamingResponse(parts())


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (router,)


class Connection:
    """A client that knows nothing but HTTP, and does not connect a second time."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT)

    async def ask(self, method: str, path: str, headers: Headers) -> tuple[int, bytes]:
        """Return the status and the body; h11 raises for what is no answer to it."""
        lines = [("Host", "service"), *headers.items()]
        request = h11.Request(method=method, target=path, headers=lines)
        for event in (request, h11.EndOfMessage()):
            self._writer.write(self._http.send(event) or b"")
        status, body = 0, b""
        while True:
            got = self._http.next_event()
            if got is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(65_536))
            elif isinstance(got, h11.Response):
                status = got.status_code
            elif isinstance(got, h11.Data):
                body += bytes(got.data)
            elif isinstance(got, h11.EndOfMessage):
                break
            else:
                raise RuntimeError(f"the connection ended: {got!r}")
        self._http.start_next_cycle()
        return status, body


@asynccontextmanager
async def served(app: FastAPI, http: str) -> AsyncIterator[Connection]:
    """Serve an application that has started, and connect to it."""
    async with listening(app, http) as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            yield Connection(reader, writer)
        finally:
            writer.close()


@pytest.mark.parametrize("http", ["httptools", "h11"])
async def test_a_get_after_a_head_is_read_right(
    app: FastAPI, user: Person, http: str
) -> None:
    answers = [
        ("/head/plain", NOBODY, 200, b"[1,2,3]"),
        ("/head/stream", NOBODY, 200, b"partpartpart"),
        ("/head/me", user.headers, 200, str(user.id).encode()),
    ]
    async with served(app, http) as connection:
        for path, headers, status, body in answers:
            for _ in range(3):  # as a miss, then as hits
                assert await connection.ask("HEAD", path, headers) == (status, b"")
                assert await connection.ask("GET", path, headers) == (status, body)


@pytest.mark.parametrize("http", ["httptools", "h11"])
async def test_a_get_after_a_head_that_is_refused_is_read_right(
    app: FastAPI, http: str
) -> None:
    async with served(app, http) as connection:
        for _ in range(3):
            assert await connection.ask("HEAD", "/head/me", NOBODY) == (401, b"")
            status, body = await connection.ask("GET", "/head/me", NOBODY)
            assert (status, b"not_authenticated" in body) == (401, True)


async def sized(_: Request) -> Response:
    return Response(headers={"X-Size": "4711"})


@pytest.mark.parametrize("where", ["above", "below", "any path", "starlette"])
async def test_a_head_of_the_owners_own_is_run(serve: Serve, where: str) -> None:
    own = APIRouter(prefix="/own")

    def add(path: str = "/file") -> None:
        own.add_api_route(path, sized, methods=["HEAD"])

    if where == "above":
        add()

    @own.get("/file")
    @cached(namespace="head")
    async def get_file() -> int:
        return 1

    if where == "below":
        add()
    elif where == "any path":
        add("/{path:path}")
    elif where == "starlette":
        own.add_route("/own/file", sized, methods=["HEAD"])
    client = await serve(own)
    for _ in range(3):
        assert (await client.get("/own/file")).json() == 1
        assert (await client.head("/own/file")).headers["x-size"] == "4711"
