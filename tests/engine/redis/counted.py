"""A service of several processes with a cached route that counts its runs in a file."""

import asyncio
import os
from pathlib import Path

from fastapi import FastAPI

from app.cache import cached
from app.cache.engine import ticket
from app.main import create_app as create_service

RUNS = Path(os.environ["COUNTED_RUNS"])


def create_app() -> FastAPI:
    vars(ticket)["LEASE"] = int(os.environ["COUNTED_LEASE"])
    app = create_service()

    @app.get("/counted")
    @cached()
    async def counted(seconds: float = 0) -> str:
        if _count_run() == 1:
            await asyncio.sleep(seconds)
        return "an answer"

    return app


def _count_run() -> int:
    with RUNS.open("a") as file:
        file.write(f"{os.getpid()}\n")
    return len(RUNS.read_text().splitlines())
