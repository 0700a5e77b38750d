"""What a hit does, counted: it must not grow unnoticed. Nothing here takes a time."""

import gc
import logging
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, routing

import app as service
from app.cache import cached
from app.cache.engine import running
from tests.cache.answers import outcome
from tests.people import MakeKey, Person

HITS = 50
# Calls of functions in app/cache for one hit, with room for a few more: look at what
# was added before you raise it. Memory is nearer than a server.
MOST_CALLS, MOST_TO_A_SERVER = 50, 90

router = APIRouter(prefix="/counts")


@router.get("/public")
@cached(namespace="counts")
async def public(page: int = 1) -> list[int]:
    return [page]


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (router,)


@pytest.fixture
async def hit(client: httpx.AsyncClient) -> Callable[[], Awaitable[None]]:
    """Return a function that makes one request which the cache answers."""

    async def hit() -> None:
        assert outcome(await client.get("/counts/public?page=2")) == "HIT"

    await client.get("/counts/public?page=2")
    await hit()
    return hit


@contextmanager
def _calls_in(folder: Path) -> Iterator[Counter[str]]:
    """Count the calls of the functions that are written below a folder."""
    found: Counter[str] = Counter()
    root = str(folder)

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(root):
            found[frame.f_code.co_qualname] += 1

    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)


@pytest.fixture
async def asked(monkeypatch: pytest.MonkeyPatch, app: FastAPI) -> list[str]:
    """Return what the storage is asked for, from now on."""
    engine = running()
    assert engine is not None
    asked: list[str] = []

    def counted(name: str) -> Callable[..., Awaitable[Any]]:
        operation = getattr(engine.storage, name)

        async def ask(*args: Any, **kwargs: Any) -> Any:
            asked.append(name)
            return await operation(*args, **kwargs)

        return ask

    for name in ("get_many", "put", "add_many", "renew", "acquire", "release"):
        monkeypatch.setattr(engine.storage, name, counted(name))
    return asked


async def test_a_hit_is_one_lookup_and_stores_nothing(
    hit: Callable[[], Awaitable[None]], asked: list[str]
) -> None:
    asked.clear()
    for _ in range(HITS):
        await hit()
    assert asked == ["get_many"] * HITS


async def test_a_hit_looks_up_who_asks_and_the_entry(
    client: httpx.AsyncClient, user: Person, make_key: MakeKey, asked: list[str]
) -> None:
    for headers in (user.headers, await make_key(user)):
        for _ in range(2):
            await client.get("/users/me", headers=headers)
        asked.clear()
        for _ in range(HITS):
            answer = await client.get("/users/me", headers=headers)
            assert outcome(answer) == "HIT"
        assert asked == ["get_many", "get_many"] * HITS


async def test_a_hit_serialises_and_validates_nothing(
    hit: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def serialize(**_: Any) -> None:
        raise AssertionError("a hit was serialised")

    monkeypatch.setattr(routing, "serialize_response", serialize)
    await hit()


async def test_a_hit_calls_few_functions(
    hit: Callable[[], Awaitable[None]], storage: str
) -> None:
    most = MOST_CALLS if storage == "memory" else MOST_TO_A_SERVER
    with _calls_in(Path(service.__file__).parent / "cache") as calls:
        for _ in range(HITS):
            await hit()
    assert sum(calls.values()) / HITS <= most, calls.most_common(15)


async def test_hits_leave_nothing_in_memory(
    hit: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest keeps all that is logged
    blocks = []
    for _ in range(4):
        for _ in range(10 * HITS):
            await hit()
        gc.collect()
        blocks.append(sys.getallocatedblocks())
    # In 20 * HITS hits; asyncio keeps up to some hundred timers that were cancelled.
    assert blocks[3] - blocks[1] < 10 * HITS
