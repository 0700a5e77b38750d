"""A process whose CACHE_ENABLED is false.

It reads what to ask from stdin, `[[url, headers], …]`, and prints what it is answered.
"""

import asyncio
import json
import sys
from typing import Any

import httpx

from app.cache import (
    cached,
    invalidate_api_keys_cache,
    invalidate_namespace,
    invalidate_user_cache,
    invalidate_users_list_cache,
    user_scoped_key_builder,
)
from app.main import create_app
from tests.asgi import lifespan


async def function() -> int:
    return 1


async def answers(requests: list[tuple[str, dict[str, str]]]) -> list[Any]:
    app = create_app()
    transport = httpx.ASGITransport(app)
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        found = []
        for url, headers in requests * 2:
            answer = await client.get(url, headers=headers)
            found.append([answer.status_code, answer.text, dict(answer.headers)])
        readiness = (await client.get("/readyz")).json()
        assert "cache" not in readiness["parts"], readiness
        await invalidate_namespace("anything")
        await invalidate_user_cache(1)
        await invalidate_users_list_cache()
        await invalidate_api_keys_cache(1)
    return found


if __name__ == "__main__":
    decorate = cached(300, "numbers", user_scoped_key_builder)
    assert decorate(function) is function
    found = asyncio.run(answers(json.load(sys.stdin)))
    print(json.dumps({"answers": found, "imported": sorted(sys.modules)}))
