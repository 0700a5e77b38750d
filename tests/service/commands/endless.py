"""`api-admin`, with routes of the service that do not end by themselves."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator

from fastapi.responses import StreamingResponse

import app.resources.yours as yours
from app.commands import app


@yours.router.get("/endless/thread")
def thread() -> None:
    print("begun", file=sys.stderr, flush=True)
    threading.Event().wait()


@yours.router.get("/endless/stream")
async def stream() -> StreamingResponse:
    async def ticks() -> AsyncIterator[str]:
        print("begun", file=sys.stderr, flush=True)
        yield "data: tick\n\n"
        await asyncio.Event().wait()

    return StreamingResponse(ticks(), media_type="text/event-stream")


if __name__ == "__main__":
    app(prog_name="api-admin")
