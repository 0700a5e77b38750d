"""Closed versions: what a writer that may die leaves behind, on each shared store."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from app.cache.engine.store import CLOSED, Store
from app.config import Settings
from tests.engine.each import ALL, OUTLIVING, opener

LONG = 3600  # seconds
SHORT = 0.05

shared = pytest.mark.parametrize("versions", OUTLIVING, indirect=True)


class Versions:
    """The versions "a" and "b" in a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def fence(self, owner: bytes, seconds: float = LONG) -> None:
        await self.store.fence(["a", "b"], owner, seconds)

    async def renew(self, version: bytes, owner: bytes = b"") -> None:
        await self.store.renew({"a": version, "b": version}, LONG, owner)

    async def read(self) -> set[bytes | None]:
        """Return the versions, with CLOSED for those that are closed."""
        found = await self.store.get_many(["a", "b"])
        return {CLOSED if t and t.startswith(CLOSED) else t for t in found}


@pytest.fixture
async def versions(
    settings: Settings, request: pytest.FixtureRequest
) -> AsyncIterator[Versions]:
    store = await opener(request.param)(settings)
    yield Versions(store)
    await store.close()


@pytest.mark.parametrize("versions", ALL, indirect=True)
async def test_who_closed_a_version_opens_it_with_a_new_one(versions: Versions) -> None:
    await versions.renew(b"old")
    await versions.fence(b"me")
    await versions.renew(b"new", b"me")
    assert await versions.read() == {b"new"}


@shared
async def test_nobody_else_opens_a_closed_version(versions: Versions) -> None:
    await versions.fence(b"me")
    assert await versions.read() == {CLOSED}
    await versions.renew(b"by hand")
    await versions.renew(b"by another", b"another")
    assert await versions.read() == {CLOSED}
    await versions.store.add_many({"a": b"by a reader", "b": b"by a reader"}, LONG)
    assert await versions.read() == {CLOSED}


@shared
async def test_the_last_of_several_opens_a_version(versions: Versions) -> None:
    writers = [b"first", b"second", b"third"]
    for writer in writers:
        await versions.fence(writer)
    for writer in writers:
        assert await versions.read() == {CLOSED}
        await versions.renew(writer, writer)
    assert await versions.read() == {b"third"}


@shared
async def test_a_version_that_nobody_opens_is_gone_after_its_time(
    versions: Versions,
) -> None:
    await versions.renew(b"old")
    await versions.fence(b"dead", SHORT)
    await until_read(versions, {None})


@shared
async def test_a_fence_stands_for_its_time_among_longer_and_shorter_ones(
    versions: Versions,
) -> None:
    await versions.fence(b"me")
    begun = time.monotonic()
    await versions.fence(b"dead", SHORT)
    assert await versions.read() == {CLOSED}
    async with asyncio.timeout(60):
        # One of the two may be open before the other, and None is neither: the
        # other's fence fell after it was the last one.
        while (found := await versions.read()) != {b"new"}:
            assert found == {CLOSED} or time.monotonic() - begun > SHORT - 0.002
            await versions.fence(b"me")
            await versions.renew(b"new", b"me")


@shared
async def test_garbage_that_looks_like_a_fence_is_replaced(versions: Versions) -> None:
    garbage = [CLOSED, b"!:", b"!a:b c:", b"!a:0", b"!\xff\x00:1", b"!a:1e999 :9"]
    for value in garbage:
        await versions.store.put("a", value, LONG)
        await versions.store.put("b", value, LONG)
        await versions.renew(b"new")
        assert await versions.read() == {b"new"}


async def until_read(versions: Versions, expected: set[bytes | None]) -> None:
    async with asyncio.timeout(60):
        while await versions.read() != expected:  # noqa: ASYNC110 - another clock's time
            await asyncio.sleep(0.01)
