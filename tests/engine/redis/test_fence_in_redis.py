"""Closing and renewing versions in a Redis that is full, or holds something else."""

from collections.abc import Callable

import pytest
from pydantic import SecretStr
from redis import Redis

from app.cache.engine.redis.server import RedisServer
from app.cache.engine.store import StoreError
from app.config import Settings
from tests.servers.valkey import Valkey


async def test_a_full_server_loses_the_versions_that_it_cannot_replace(
    settings: Settings, start_valkey: Callable[..., Valkey]
) -> None:
    server = start_valkey()
    url = SecretStr(server.url)
    store = RedisServer(settings.model_copy(update={"redis_url": url}))
    with Redis.from_url(server.url) as client:
        await store.renew({"a": b"old", "b": b"old"}, 60)
        await store.fence(["b"], b"other", 60)
        closed = client.get("{b}")
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreError, match="maxmemory"):
            await store.fence(["a"], b"me", 60)
        await store.renew({"a": b"new"}, 60)
        assert client.get("{a}") is None
        with pytest.raises(StoreError, match="maxmemory"):
            await store.renew({"b": b"new"}, 60)
        assert client.get("{b}") == closed
    await store.close()


async def test_a_value_of_another_type_is_replaced(
    settings: Settings, redis_url: str
) -> None:
    store = RedisServer(settings)
    with Redis.from_url(redis_url) as client:
        client.rpush("{a}", "x")
        await store.fence(["a"], b"me", 60)
        assert str(client.get("{a}")).startswith("b'!me:")
        client.delete("{a}")
        client.rpush("{a}", "x")
        await store.renew({"a": b"new"}, 60)
        assert client.get("{a}") == b"new"
    await store.close()
