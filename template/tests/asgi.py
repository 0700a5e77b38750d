"""An application as a server runs it, without the server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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


async def _completed(
    task: asyncio.Task[None], sent: asyncio.Queue[Message], kind: str
) -> None:
    message = await sent.get()
    if message["type"] != kind:
        await task
        raise RuntimeError(message.get("message"))
