"""An application as a server runs it, without the server, and its routes."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Scope


@asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[None]:
    """Start the application, and shut it down at the end, in a task of its own.

    In one task, because an application may hold task groups and cancel scopes open.
    """
    received: asyncio.Queue[Message] = asyncio.Queue()
    sent: asyncio.Queue[Message] = asyncio.Queue()
    scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    task = asyncio.ensure_future(app(scope, received.get, sent.put))
    await received.put({"type": "lifespan.startup"})
    await _completed(task, sent, "lifespan.startup.complete")
    try:
        yield
    finally:
        await received.put({"type": "lifespan.shutdown"})
        await _completed(task, sent, "lifespan.shutdown.complete")
        await task


def filled(path: str, values: Mapping[str, object], other: object) -> str:
    """Put values into the braces of a path, and `other` where a parameter has none."""
    return re.sub(
        r"\{(\w+)(:\w+)?\}", lambda found: str(values.get(found[1], other)), path
    )


def match_first(app: FastAPI, added: int = 1) -> None:
    """Have the routes that were added last match before one of yours that takes all."""
    routes = app.router.routes
    routes[:] = routes[-added:] + routes[:-added]


async def _completed(
    task: asyncio.Task[None], sent: asyncio.Queue[Message], kind: str
) -> None:
    message = await sent.get()
    if message["type"] != kind:
        await task
        raise RuntimeError(message.get("message"))
