"""C11 where other programs may store values of other types under our keys."""

import httpx
import pytest
from redis.asyncio import Redis

from app.cache.engine.exchange import running
from tests.people import Person


@pytest.mark.parametrize("storage", ["redis"], indirect=True)
async def test_values_of_other_types_are_no_error(
    client: httpx.AsyncClient, user: Person, redis_url: str, storage: str
) -> None:
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        await client.get("/users/me", headers=user.headers)
        keys = [str(key) for key in await redis.keys(f"{{{running[-1].prefix}}}:*")]
        assert any(":entry:" in key for key in keys)
        for key in keys:
            await redis.delete(key)
            await redis.rpush(key, "a", "list")
        for _ in range(3):
            answer = await client.get("/users/me", headers=user.headers)
            assert (answer.status_code, answer.json()["id"]) == (200, user.id)
        for key in keys:
            await redis.delete(key)
            await redis.hset(key, "a", "hash")
        answer = await client.get("/users/me", headers=user.headers)
        assert (answer.status_code, answer.json()["id"]) == (200, user.id)
