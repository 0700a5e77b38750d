"""What a process has counted that ends while others of its service go on."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.config import Settings
from tests.engine.served import CLOSE, all_of, all_there, processes, served
from tests.environment import settings_from
from tests.test_metrics import TOKEN, scrape


@pytest.fixture
def settings(database_url: str) -> Iterator[Settings]:
    with settings_from(DATABASE_URL=database_url, METRICS_TOKEN=TOKEN) as settings:
        yield settings


@pytest.mark.usefixtures("settings")
async def test_what_a_killed_process_has_counted_is_kept(tmp_path: Path) -> None:
    with served("app.main:create_app", 2, tmp_path) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            await all_there(client, 2, tmp_path)
            await all_of(client.get("/livez", headers=CLOSE) for _ in range(200))
            before = await scrape(client)
        os.kill(max(processes(tmp_path)), signal.SIGKILL)
        transport = httpx.AsyncHTTPTransport(retries=10)
        async with httpx.AsyncClient(base_url=url, transport=transport) as again:
            found = await scrape(again)
    answered = "http_requests_total GET /livez 200"
    assert found[answered] == before[answered] >= 200
