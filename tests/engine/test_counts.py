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
from app.cache import cached, invalidate_namespace
from app.cache.engine.exchange import running
from app.database import Database
from app.models import User
from tests.engine.answers import outcome
from tests.people import MakeKey, Person

HITS = 50
# Calls of functions in app/cache for one hit, with room for a few more: look at what
# was added before you raise it. Memory is nearer than a server.
MOST_CALLS, MOST_TO_A_SERVER = 145, 190

CACHE = Path(service.__file__).parent / "cache"
# How many files one has to read to follow a hit, a miss, and a commit whose statements
# were seen before.
MOST_FILES = {"memory": (9, 11, 8), "redis": (10, 12, 10)}

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
def _calls_in(folder: Path) -> Iterator[Counter[tuple[str, str]]]:
    """Count the calls of the functions that are written below a folder, by file."""
    found: Counter[tuple[str, str]] = Counter()
    root = f"{folder}/"

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(root):
            found[code.co_filename.removeprefix(root), code.co_qualname] += 1

    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)


@pytest.fixture
async def asked(monkeypatch: pytest.MonkeyPatch, app: FastAPI) -> list[str]:
    """Return what the store is asked for, from now on."""
    store = running[-1].store
    asked: list[str] = []

    def counted(name: str) -> Callable[..., Awaitable[Any]]:
        operation = getattr(store, name)

        async def ask(*args: Any, **kwargs: Any) -> Any:
            asked.append(name)
            return await operation(*args, **kwargs)

        return ask

    for name in ("get_many", "put", "add_many", "renew", "acquire", "release"):
        monkeypatch.setattr(store, name, counted(name))
    return asked


async def test_a_hit_is_one_lookup_and_stores_nothing(
    hit: Callable[[], Awaitable[None]], asked: list[str]
) -> None:
    asked.clear()
    for _ in range(HITS):
        await hit()
    assert asked == ["get_many"] * HITS


async def test_a_hit_looks_up_who_asks_together_with_the_entry(
    client: httpx.AsyncClient, user: Person, make_key: MakeKey, asked: list[str]
) -> None:
    for headers in (user.headers, await make_key(user)):
        for _ in range(2):
            await client.get("/users/me", headers=headers)
        asked.clear()
        for _ in range(HITS):
            answer = await client.get("/users/me", headers=headers)
            assert outcome(answer) == "HIT"
        assert asked == ["get_many"] * HITS


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
    with _calls_in(CACHE) as calls:
        for _ in range(HITS):
            await hit()
    assert sum(calls.values()) / HITS <= most, calls.most_common(15)


def _files(calls: Counter[tuple[str, str]]) -> list[str]:
    return sorted({file for file, _ in calls})


async def _fewest_files(request: Callable[[], Awaitable[None]]) -> list[str]:
    """Return those of a request beside which no other task of the cache runs."""
    found = []
    for _ in range(3):
        with _calls_in(CACHE) as calls:
            await request()
        found.append(_files(calls))
    return min(found, key=len)


async def test_a_hit_passes_few_files(
    hit: Callable[[], Awaitable[None]], storage: str
) -> None:
    files = await _fewest_files(hit)
    assert len(files) <= MOST_FILES[storage][0], files


async def test_a_miss_passes_few_files(
    hit: Callable[[], Awaitable[None]], client: httpx.AsyncClient, storage: str
) -> None:
    pages = iter(range(2, 9))

    async def miss() -> None:
        answer = await client.get(f"/counts/public?page={next(pages)}")
        assert outcome(answer) == "MISS"

    await invalidate_namespace("counts")
    files = await _fewest_files(miss)
    assert len(files) <= MOST_FILES[storage][1], files


async def test_a_commit_passes_few_files(
    database: Database, user: Person, storage: str
) -> None:
    async def rename(name: str) -> None:
        async with database.session() as session:
            row = await session.get_one(User, user.id)
            row.first_name = name

    await rename("Ada")  # what its SQL text says is remembered from here on
    with _calls_in(CACHE) as calls:
        await rename("Grace")
    assert len(_files(calls)) <= MOST_FILES[storage][2], _files(calls)


async def test_hits_leave_nothing_in_memory(
    hit: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest keeps all that is logged
    blocks = []
    for _ in range(13):
        for _ in range(5 * HITS):
            await hit()
        gc.collect()
        blocks.append(sys.getallocatedblocks())
    # In 30 * HITS hits; asyncio keeps up to some hundred timers that were cancelled.
    assert min(blocks[7:]) - min(blocks[1:7]) < 20 * HITS
