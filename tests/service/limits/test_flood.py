"""A flood of logins from one address leaves those from others alone."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count

import httpx
import pytest

from app.config import Settings
from tests.environment import settings_from

PASSWORD = "correct horse battery staple"
FLOOD = 100  # connections
LAWFUL = 20


@pytest.fixture
def settings(database_url: str) -> Iterator[Settings]:
    on = {"RATE_LIMIT_ENABLED": "true", "RATE_LIMIT_LOGIN": "10/hour"}
    with settings_from(DATABASE_URL=database_url, **on) as settings:
        yield settings


def person(n: int) -> dict[str, str]:
    return {"email": f"ada{n}@example.com", "password": PASSWORD}


def at(address: str) -> dict[str, str]:
    """Return what the proxy on this machine says of where a request is from."""
    return {"X-Forwarded-For": address}


@asynccontextmanager
async def flood(server: str, answers: Counter[int]) -> AsyncIterator[None]:
    """Log in with wrong passwords by many connections from one address, meanwhile."""
    under_way, over, numbers = asyncio.Event(), asyncio.Event(), count()

    async def ask(client: httpx.AsyncClient) -> None:
        while not over.is_set():
            body = {"email": f"person{next(numbers)}@example.com", "password": "wrong"}
            # The server ends a connection that rested: then it is the next one.
            with suppress(httpx.ReadError, httpx.RemoteProtocolError):
                answer = await client.post(
                    "/login/", json=body, headers=at("198.51.100.1")
                )
                answers[answer.status_code] += 1
            await asyncio.sleep(0.02)  # 5,000 a second are enough to be a flood
            if answers.total() >= FLOOD:
                under_way.set()

    limits = httpx.Limits(max_connections=FLOOD)
    async with (
        httpx.AsyncClient(base_url=server, limits=limits, timeout=300) as client,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(FLOOD):
            tasks.create_task(ask(client))
        await under_way.wait()
        try:
            yield
        finally:
            over.set()


async def test_lawful_logins_succeed_during_a_flood(server: str) -> None:
    answers: Counter[int] = Counter()
    async with httpx.AsyncClient(base_url=server, timeout=300) as client:
        for n in range(4):
            body = person(n) | {"first_name": "Ada", "last_name": "Lovelace"}
            from_there = at(f"192.0.2.{n}")
            added = await client.post("/register/", json=body, headers=from_there)
            assert added.status_code == 201
    async with (
        flood(server, answers),
        httpx.AsyncClient(base_url=server, timeout=300) as client,
    ):
        logins = (
            client.post("/login/", json=person(n % 4), headers=at(f"203.0.113.{n}"))
            for n in range(LAWFUL)
        )
        lawful = await asyncio.gather(*logins)
    statuses = Counter(answer.status_code for answer in lawful)
    assert statuses[200] >= 0.95 * LAWFUL, statuses
    # Twice the limit where the counters change their place meanwhile.
    assert 10 <= answers[401] <= 20, answers
    assert answers.keys() == {401, 429}
