"""CACHE_ENABLED=false: the same service, without a trace of the cache.

As a program, it is such a service: it reads what to ask from stdin, `[[url, headers],
…]`, and prints what it is answered.
"""

import asyncio
import json
import subprocess
import sys
from typing import Any

import httpx
import pytest

from app.cache import (
    cached,
    invalidate_api_keys_cache,
    invalidate_namespace,
    invalidate_user_cache,
    invalidate_users_list_cache,
    user_scoped_key_builder,
)
from app.config import Settings
from app.main import create_app
from tests.asgi import lifespan
from tests.environment import settings_from
from tests.people import Headers, Person

OF_THE_CACHE = {"age", "cache-status", "etag", "x-fastapi-cache"}


async def without_a_cache(requests: list[tuple[str, Headers]]) -> dict[str, Any]:
    """Return what a process answers, and which modules it has imported."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "tests.cache.test_off"],
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def test_the_answers_are_the_same_and_nothing_of_the_cache_is_imported(
    stored: dict[str, httpx.Response],
    values: dict[str, Any],
    admin: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    requests = [(url.format_map(values), admin.headers) for url in stored]
    monkeypatch.setenv("CACHE_ENABLED", "false")
    found = await without_a_cache(requests)

    assert len(found["answers"]) == 2 * len(stored)
    for given, expected in zip(found["answers"], [*stored.values()] * 2, strict=True):
        status, text, headers = given
        assert (status, text) == (expected.status_code, expected.text)
        for name in ("content-type", "cache-control", "vary"):
            assert headers[name] == expected.headers[name]
        assert not OF_THE_CACHE & headers.keys()
    assert "fastapi_cache" not in found["imported"]


def test_the_decorator_returns_the_function_itself(settings: Settings) -> None:
    def function() -> int:
        return 1

    with settings_from(CACHE_ENABLED="false"):
        assert cached(namespace="numbers")(function) is function
    assert cached(namespace="numbers")(function) is not function


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
