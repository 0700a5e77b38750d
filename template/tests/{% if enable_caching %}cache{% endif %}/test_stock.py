"""What fastapi-cache2's own decorator and backends do where ours keep a promise.

The tests beside this one fail with them. C10 on its own memory, C7 on a cluster and
the answers of files and background tasks are consequences of what is shown here.
"""

import asyncio
import pickle
from asyncio import Lock
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi_cache import FastAPICache
from fastapi_cache.backends.inmemory import InMemoryBackend
from fastapi_cache.coder import PickleCoder
from fastapi_cache.decorator import cache
from pydantic import BaseModel

from tests.cache.test_safe import Attack

runs: list[str] = []


class Public(BaseModel):
    name: str


class Stored(Public):
    password_hash: str


def _router() -> APIRouter:
    router = APIRouter()

    @router.get("/cookie")
    @cache(expire=60)
    async def cookie(request: Request) -> Any:
        return request.headers.get("cookie")

    @router.get("/text")
    @cache(expire=60)
    async def text() -> PlainTextResponse:
        return PlainTextResponse("plain")

    @router.get("/missing")
    @cache(expire=60)
    async def missing() -> JSONResponse:
        return JSONResponse({"detail": "nowhere"}, 404)

    @router.get("/model")
    @cache(expire=60)
    async def model() -> Public:
        return Stored(name="Ada", password_hash="the-hash")

    @router.get("/slow")
    @cache(expire=60)
    async def slow() -> int:
        runs.append("slow")
        await asyncio.sleep(0.01)
        return 1

    return router


@pytest.fixture
async def stock() -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of routes that fastapi-cache2 caches in its own memory."""
    runs.clear()
    InMemoryBackend._store = {}
    InMemoryBackend._lock = Lock()
    FastAPICache.reset()
    FastAPICache.init(InMemoryBackend())
    app = FastAPI()
    app.include_router(_router())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        yield client
    FastAPICache.reset()


async def test_c5_a_cookies_answer_is_given_to_another(
    stock: httpx.AsyncClient,
) -> None:
    await stock.get("/cookie", headers={"Cookie": "session=a"})
    answer = await stock.get("/cookie", headers={"Cookie": "session=b"})
    assert answer.json() == "session=a"


async def test_c6_hits_differ_from_misses(stock: httpx.AsyncClient) -> None:
    first, second = [await stock.get("/text") for _ in range(2)]
    assert first.content != second.content
    first, second = [await stock.get("/missing") for _ in range(2)]
    assert (first.status_code, second.status_code) == (404, 200)


async def test_c6_a_hidden_hash_is_shown(stock: httpx.AsyncClient) -> None:
    for _ in range(2):
        assert "the-hash" in (await stock.get("/model")).text


async def test_c7_each_cold_request_is_a_run(stock: httpx.AsyncClient) -> None:
    await asyncio.gather(*(stock.get("/slow") for _ in range(50)))
    assert len(runs) == 50


async def test_c10_what_expired_is_kept(stock: httpx.AsyncClient) -> None:
    backend = InMemoryBackend()
    for number in range(1000):
        await backend.set(str(number), b"x", -1)
    assert len(backend._store) == 1000


async def test_c11_a_damaged_entry_is_an_error(stock: httpx.AsyncClient) -> None:
    await stock.get("/slow")
    backend = InMemoryBackend()
    for key in list(backend._store):
        await backend.set(key, b"\x00", 60)
    assert (await stock.get("/slow")).status_code == 500


async def test_c11_what_is_stored_is_run(tmp_path: Path) -> None:
    PickleCoder.decode(pickle.dumps(Attack(tmp_path / "attacked")))
    assert (tmp_path / "attacked").exists()


async def test_http_neither_tags_nor_directives_are_read(
    stock: httpx.AsyncClient,
) -> None:
    tag = (await stock.get("/slow")).headers["etag"]
    assert '"' not in tag
    several = {"If-None-Match": f'"a", {tag}'}
    assert (await stock.get("/slow", headers=several)).status_code == 200
    await stock.get("/slow", headers={"Cache-Control": "no-transform, no-cache"})
    await stock.get("/slow", headers={"Cache-Control": "max-age=0"})
    assert len(runs) == 1
