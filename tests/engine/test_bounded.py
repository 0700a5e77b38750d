"""C10: what the cache keeps is bounded, whatever clients send."""

import asyncio
import functools
import gc
import os
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

from app.cache import cached
from app.cache.engine import memory
from app.cache.engine.exchange import running
from app.cache.engine.memory import Memory
from app.config import Settings
from tests.engine.answers import contents, outcome
from tests.engine.conftest import Serve
from tests.engine.each import THOROUGH, on_any_storage

KEYS = 1_000_000 if THOROUGH else 12_000
SEARCHES = 60_000 if THOROUGH else 300
LIMIT = 4_000_000  # bytes

router = APIRouter(prefix="/bounded")


@router.get("/{text}")
@cached()
async def any_text(text: str) -> str:
    return text


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (router,)


async def _fill(store: Memory, keys: int, expire: int = 60) -> None:
    for number in range(keys):
        version = {f"app:token:some:namespace:{number}": b"t" * 16}
        await store.add_many(version, expire)
        await store.put(f"app:entry:some:namespace:{number}", os.urandom(300), expire)


async def test_memory_stays_within_its_bytes_and_falls_after_expiry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        store = Memory(LIMIT, 10_000_000, tmp_path / "epoch")
        await _fill(store, KEYS)
        now, peak = tracemalloc.get_traced_memory()
        assert LIMIT * 0.5 < now - before < LIMIT
        assert peak - before < LIMIT * 1.5  # while a table is replaced by a larger one
        assert store.used_bytes <= LIMIT
        later = time.monotonic() + 61
        monkeypatch.setattr(memory, "time", SimpleNamespace(monotonic=lambda: later))
        store.drop_expired()
        after, _ = tracemalloc.get_traced_memory()
        assert store.entries == store.used_bytes == 0
        assert after - before < LIMIT * 0.2
    finally:
        tracemalloc.stop()


async def test_what_is_used_stays_and_what_is_not_goes(tmp_path: Path) -> None:
    store = Memory(LIMIT, 100, tmp_path / "epoch")
    await store.put("used", b"x", 60)
    for _ in range(50):
        await _fill(store, 20)
        assert await store.get_many(["used"]) == [b"x"]
        assert store.entries <= 100
    await store.put("too large", b"x" * LIMIT, 60)
    assert await store.get_many(["too large"]) == [None]
    assert await store.get_many(["used"]) == [b"x"]


async def test_the_same_keys_again_take_no_more_memory(tmp_path: Path) -> None:
    store = Memory(LIMIT, 1000, tmp_path / "epoch")
    await _fill(store, 100)
    used = store.used_bytes
    for _ in range(100):
        await _fill(store, 100)
    assert store.used_bytes == used
    assert len(store._expiries) <= 2 * store.entries + 1025


async def test_expired_entries_go_without_being_asked_for(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_SWEEP_EVERY", 0.001)
    store = Memory(LIMIT, 1000, tmp_path / "epoch")
    await store.open()
    await _fill(store, 10, expire=1)
    later = time.monotonic() + 2
    monkeypatch.setattr(memory, "time", SimpleNamespace(monotonic=lambda: later))
    async with asyncio.timeout(60):
        while store.entries:  # noqa: ASYNC110 - the sweeper has no event
            await asyncio.sleep(0.001)
    await store.close()


async def test_nothing_is_left_of_a_request_but_its_entry(
    client: httpx.AsyncClient,
) -> None:
    for number in range(100):
        await client.get(f"/bounded/{number}", headers={"Cookie": f"a={number}"})
    assert len(running[-1].flights) == 0
    counts = []
    for step in range(2):
        for number in range(100):
            await client.get(f"/bounded/{step}-{number}?{number}")
        gc.collect()
        kinds = Counter(map(type, gc.get_objects()))
        counts.append(sum(kinds[kind] for kind in kinds if _is_ours(kind)))
    assert counts[1] - counts[0] < 60  # the store may have lost Redis meanwhile


searches = APIRouter(prefix="/searches")


def _key(_: Any, namespace: str, *, kwargs: dict[str, Any], **__: Any) -> str:
    return f"{namespace}:search:{kwargs['text']}"


@searches.get("/{text}")
@cached(namespace="searches", key_builder=_key, expire=1)
async def search(text: str) -> str:
    return text


@on_any_storage
async def test_nothing_is_left_of_searches_after_their_time(
    storage: str, serve: Serve
) -> None:
    """Neither an entry nor a version: both have the search in their places."""
    client = await serve(searches)
    for number in range(SEARCHES):
        assert (await client.get(f"/searches/{number}")).status_code == 200
    last = f"search:{SEARCHES - 1}".encode()
    assert (await contents(storage)).count(last) >= 2
    async with asyncio.timeout(60):
        while b"search:" in await contents(storage):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


def _is_ours(kind: type) -> bool:
    return str(kind.__module__).startswith("app.") and not issubclass(kind, bytes)


def test_no_function_remembers_without_bound() -> None:
    for name, module in list(sys.modules.items()):
        if not name.startswith("app."):
            continue
        for found in vars(module).values():
            if isinstance(found, functools._lru_cache_wrapper):
                size = found.cache_parameters()["maxsize"]
                takes = found.__wrapped__.__code__.co_argcount
                assert size is not None or not takes, f"{name}.{found.__qualname__}"


async def test_what_is_kept_for_ever_is_kept_in_the_store(serve: Serve) -> None:
    router = APIRouter()

    @router.get("/for-ever")
    @cached(expire=sys.maxsize)
    async def for_ever() -> int:
        return 1

    client = await serve(router)
    for expected in ("MISS", "HIT"):
        answer = await client.get("/for-ever")
        assert outcome(answer) == expected
        assert "fallback" not in answer.headers["cache-status"]


async def test_bodies_of_many_sizes_are_too_large_for_one_reason(
    settings: Settings, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    router, sizes = APIRouter(), count(settings.cache_max_body_bytes)

    @router.get("/large")
    @cached()
    async def large() -> str:
        return next(sizes) * "x"

    client = await serve(router)
    for _ in range(3):
        assert outcome(await client.get("/large")) == "MISS"
    assert len([each for each in caplog.messages if "CACHE_MAX_BODY" in each]) == 1
