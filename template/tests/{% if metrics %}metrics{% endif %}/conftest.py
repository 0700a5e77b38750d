"""A service whose numbers a test may read."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from app.config import Settings
from tests.environment import settings_from
from tests.metrics.scraped import CLOSE, TOKEN, Serve, all_of, processes


@pytest.fixture
def settings(database_url: str) -> Iterator[Settings]:
    with settings_from(DATABASE_URL=database_url, METRICS_TOKEN=TOKEN) as settings:
        yield settings


@pytest.fixture
def serve(settings: Settings, run_service: Callable[..., str], tmp_path: Path) -> Serve:
    """Return a function that serves in so many processes, and returns a client.

    Each of them has answered something by then.
    """

    async def serve(workers: int) -> httpx.AsyncClient:
        url = run_service("--workers", str(workers), cwd=tmp_path)
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            async with asyncio.timeout(60):
                while len(processes(tmp_path)) < workers:
                    requests = (client.get("/livez", headers=CLOSE) for _ in range(24))
                    await all_of(requests)
        return httpx.AsyncClient(base_url=url, timeout=60)

    return serve
