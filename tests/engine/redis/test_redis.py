"""What can be seen only with a server: its commands, and other processes."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi import FastAPI
from redis import Redis

from app.cache import invalidate_namespace
from tests.engine.each import THOROUGH
from tests.engine.entries import Entries
from tests.people import Person

MANY = 1_000_000 if THOROUGH else 20_000
ROUNDS = 200 if THOROUGH else 20

only_redis = pytest.mark.parametrize("storage", ["redis"], indirect=True)


def commands(client: Redis) -> dict[str, int]:
    """Return how often each command was called, but for those that ask for this."""
    stats = client.info("commandstats")
    return {
        name: about["calls"]
        for name, about in stats.items()
        if name not in ("cmdstat_info", "cmdstat_config|resetstat", "cmdstat_hello")
    }


@only_redis
async def test_an_invalidation_sends_the_same_commands_among_a_million_keys(
    app: FastAPI, redis_url: str
) -> None:
    entries = Entries(["user:1", "user:10", "products"])
    sent = []
    with Redis.from_url(redis_url) as client:
        for stored in (1000, MANY):
            for start in range(0, stored, 10_000):
                end = min(start + 10_000, stored)
                client.mset(
                    {f"app:entry:user:{number}": b"x" for number in range(start, end)}
                )
            await entries.store()
            client.config_resetstat()
            await invalidate_namespace("user:1")
            sent.append(commands(client))
            assert await entries.dropped() == {"user:1"}
    # One script, and what it does to the one version.
    assert sent[0] == dict.fromkeys(
        ("cmdstat_eval", "cmdstat_time", "cmdstat_get", "cmdstat_set"), 1
    )
    assert sent[1] == sent[0]


@only_redis
def test_no_worker_answers_with_what_was_there_before_a_write(
    run_service: Callable[..., str], admin: Person
) -> None:
    url = run_service("--workers", "2")
    paths = ["/users/me", f"/users/?user_id={admin.id}"]
    with (
        httpx.Client(base_url=url, headers=admin.headers) as client,
        ThreadPoolExecutor(10) as threads,
    ):
        for number in range(ROUNDS):
            profile = {
                "email": admin.email,
                "first_name": f"Round {number}",
                "last_name": "Last",
            }
            answer = client.put(f"/users/{admin.id}", json=profile)
            assert answer.status_code == 200, answer.text
            answers = list(threads.map(client.get, [*paths] * 25))
            assert {a.status_code for a in answers} == {200}
            assert {a.json()["first_name"] for a in answers} == {f"Round {number}"}


@only_redis
async def test_hits_side_by_side_share_their_round_trips(
    app: FastAPI, client: httpx.AsyncClient, redis_url: str, user: Person
) -> None:
    async def hits(count: int) -> int:
        with Redis.from_url(redis_url) as server:
            server.config_resetstat()
            one = (client.get("/users/me", headers=user.headers) for _ in range(count))
            answers = await asyncio.gather(*one)
            assert {answer.status_code for answer in answers} == {200}
            return commands(server)["cmdstat_mget"]

    await hits(1)  # a miss
    assert await hits(1) == 1  # whose session it is, together with the answer
    assert await hits(32) < 32
