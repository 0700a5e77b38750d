"""A process whose CACHE_ENABLED is false: uses the service, prints what it imported."""

import asyncio
import sys

import httpx

from app.cache import (
    cached,
    invalidate_api_keys_cache,
    invalidate_namespace,
    invalidate_user_cache,
    invalidate_users_list_cache,
    user_scoped_key_builder,
)
from app.config import get_settings
from app.main import create_app
from tests.asgi import lifespan

PERSON = {"email": "a@example.com", "first_name": "Ada", "last_name": "Lovelace"}


async def function() -> int:
    return 1


async def use_the_service() -> None:
    app = create_app(get_settings())
    assert "CacheMiddleware" not in repr(app.user_middleware)
    async with (
        lifespan(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://service"
        ) as client,
    ):
        registration = PERSON | {"password": "correct horse battery staple"}
        answer = await client.post("/register/", json=registration)
        assert answer.status_code == 201, answer.text
        client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        for _ in range(2):
            me = await client.get("/users/me")
            assert me.status_code == 200, me.text
            assert not {"x-fastapi-cache", "cache-status", "etag"} & set(me.headers)
        answer = await client.put(f"/users/{me.json()['id']}", json=PERSON)
        assert answer.status_code == 200, answer.text
        answer = await client.post("/users/keys", json={"name": "a key"})
        assert answer.status_code == 201, answer.text
        assert "cache" not in (await client.get("/readyz")).json()["parts"]
    await invalidate_namespace("anything")
    await invalidate_user_cache(1)
    await invalidate_users_list_cache()
    await invalidate_api_keys_cache(1)


if __name__ == "__main__":
    decorate = cached(300, "numbers", user_scoped_key_builder)
    assert decorate(function) is function
    asyncio.run(use_the_service())
    print(*sys.modules)
