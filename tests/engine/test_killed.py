"""C4: a process that is killed between its commit and its invalidation.

The stock decorator knows no commits: what such a process changed stays stale until it
expires (see test_fresh, where the same crash finds that).
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import select

from app.cache import cached
from app.cache.engine.entry import version_place
from app.cache.engine.exchange import running
from app.cache.engine.memory import Memory, OtherMemory
from app.cache.engine.processes import epoch_file
from app.cache.engine.store import CLOSED, Store
from app.config import Settings
from app.database import Database
from app.models import User
from tests.engine.each import CONFIGURED, THOROUGH

ROUNDS = 100 if THOROUGH else 5
FENCE_TTL = 2  # seconds
# A memory cache dies with the service, so only a command leaves one behind.
WRITERS = ["command"] if CONFIGURED == "memory" else ["service", "command"]

pytestmark = [
    pytest.mark.parametrize("storage", [CONFIGURED], indirect=True),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]


@pytest.fixture(autouse=True)
def _short_fence(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[None]:
    monkeypatch.setenv("CACHE_FENCE_TTL", str(FENCE_TTL))
    monkeypatch.setenv("CACHE_TIMEOUT", "5")  # the machine is busy, not the server
    yield
    epoch_file(database_url).unlink(missing_ok=True)


class Names:
    """The users' first names, as the cache of this process has them."""

    def __init__(self, database: Database) -> None:
        self.runs = 0

        @cached(key_builder=_key)
        async def name_of(user_id: int) -> str:
            self.runs += 1
            async with database.session(writes=False) as session:
                query = select(User.first_name).where(User.id == user_id)
                name = await session.scalar(query)
                assert name is not None
                return name

        self.of = name_of

    async def read_twice(self, user_id: int) -> tuple[set[str], int]:
        """Return what was read, and in how many runs."""
        before = self.runs
        names = {await self.of(user_id) for _ in range(2)}
        return names, self.runs - before


def _key(*_: object, kwargs: dict[str, Any], **__: object) -> str:
    return f"user:{kwargs['user_id']}:name"


@pytest.fixture
async def ids(database: Database) -> list[int]:
    """Return the ids of users who are called First."""
    users = [
        User(
            email=f"{number}@example.com",
            first_name="First",
            last_name="Last",
            password_hash="",
        )
        for number in range(ROUNDS)
    ]
    async with database.session() as session:
        session.add_all(users)
    return [user.id for user in users]


@pytest.fixture
async def names(database: Database, ids: list[int]) -> Names:
    """Return names that are all in the cache."""
    names = Names(database)
    for user_id in ids:
        await names.read_twice(user_id)
        assert await names.read_twice(user_id) == ({"First"}, 0)
    return names


async def killed(writer: str, moment: str, ids: list[int]) -> AsyncIterator[int]:
    """Yield the id of each user when the process is dead that renamed him."""
    command = [sys.executable, "-m", "tests.engine.killed", writer, moment]
    process = await asyncio.create_subprocess_exec(
        *command,
        *map(str, ids),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    async for line in process.stdout:
        yield int(line)
    said = (await process.stderr.read()).decode()
    assert await process.wait() == 0, said


async def is_closed(namespace: str) -> bool:
    place = version_place(running[-1].prefix, namespace)
    (version,) = await running[-1].store.get_many([place])
    return (version or b"").startswith(CLOSED)


async def until_open(namespace: str) -> None:
    async with asyncio.timeout(60):
        while await is_closed(namespace):  # noqa: ASYNC110 - it is another clock's time
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(
    ("moment", "name"), [("before", "First"), ("after", "Renamed")]
)
async def test_what_it_changed_is_never_stale_and_is_cached_again_after_the_fence(
    writer: str, moment: str, name: str, names: Names, ids: list[int]
) -> None:
    seen_closed = 0
    async for user_id in killed(writer, moment, ids):
        found, runs = await names.read_twice(user_id)
        assert found == {name}
        if await is_closed(f"user:{user_id}"):
            seen_closed += 1
            assert runs == 2
    assert seen_closed
    for user_id in ids:
        await until_open(f"user:{user_id}")
        assert (await names.read_twice(user_id))[0] == {name}
        assert await names.read_twice(user_id) == ({name}, 0)


@pytest.mark.parametrize("writer", WRITERS)
async def test_another_writers_end_does_not_open_what_it_closed(
    writer: str, names: Names, ids: list[int], settings: Settings
) -> None:
    store: Store = running[-1].store
    if isinstance(store, Memory):
        store = OtherMemory(
            settings.cache_max_bytes,
            settings.cache_max_entries,
            epoch_file(settings.database_url),
        )
    version = version_place(running[-1].prefix, f"user:{ids[0]}")
    await store.fence([version], b"other", 30)
    async for _ in killed(writer, "after", ids[:1]):
        await store.renew({version: b"new"}, 60, b"other")
        assert await is_closed(f"user:{ids[0]}")
        assert await names.read_twice(ids[0]) == ({"Renamed"}, 2)
    await until_open(f"user:{ids[0]}")
    assert await names.read_twice(ids[0]) == ({"Renamed"}, 1)
