"""The service on a real server, and a client that keeps its one connection."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI

from tests.engine.each import THOROUGH

# Without a server, and with each parser of uvicorn.
WAYS = ["asgi", "httptools", *(["h11"] if THOROUGH else [])]


async def until(holds: Callable[[], object]) -> None:
    """Wait for what another task, or the server, brings about."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.02)


@asynccontextmanager
async def listening(app: FastAPI, http: str) -> AsyncIterator[tuple[str, int]]:
    """Serve an application that has started; yield its host and port."""
    config = uvicorn.Config(app, http=http, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        host, port = listener.getsockname()
        try:
            async with asyncio.timeout(60):
                yield host, port
        finally:
            server.should_exit = True
            await task


@asynccontextmanager
async def asking(app: FastAPI, way: str) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an application that has started."""
    if way == "asgi":
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://service"
        ) as client:
            yield client
        return
    async with (
        listening(app, way) as (host, port),
        httpx.AsyncClient(
            base_url=f"http://{host}:{port}", limits=httpx.Limits(max_connections=1)
        ) as client,
    ):
        yield client
