"""Closed tokens: what a writer that may die leaves behind, on each shared storage."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.cache.storage import FENCE, PlainStorage, Storage, storage_over
from app.config import Settings
from tests.cache.each import ALL, OUTLIVING, close_stock, opener

LONG = 3600  # seconds
SHORT = 0.05

shared = pytest.mark.parametrize("tokens", OUTLIVING, indirect=True)


class Tokens:
    """The tokens "a" and "b" in a storage."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    async def fence(self, owner: bytes, seconds: float = LONG) -> None:
        await self.storage.fence(["a", "b"], owner, seconds)

    async def renew(self, token: bytes, owner: bytes = b"") -> None:
        await self.storage.renew({"a": token, "b": token}, LONG, owner)

    async def read(self) -> set[bytes | None]:
        """Return the tokens, with FENCE for those that are closed."""
        found = await self.storage.get_many(["a", "b"])
        return {FENCE if t and t.startswith(FENCE) else t for t in found}


@pytest.fixture
async def tokens(
    settings: Settings, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Tokens]:
    monkeypatch.setattr(PlainStorage, "close", close_stock)
    storage = storage_over(await opener(request.param)(settings))
    yield Tokens(storage)
    await storage.close()


@pytest.mark.parametrize("tokens", ALL, indirect=True)
async def test_who_closed_a_token_opens_it_with_a_new_one(tokens: Tokens) -> None:
    await tokens.renew(b"old")
    await tokens.fence(b"me")
    await tokens.renew(b"new", b"me")
    assert await tokens.read() == {b"new"}


@shared
async def test_nobody_else_opens_a_closed_token(tokens: Tokens) -> None:
    await tokens.fence(b"me")
    assert await tokens.read() == {FENCE}
    await tokens.renew(b"by hand")
    await tokens.renew(b"by another", b"another")
    assert await tokens.read() == {FENCE}
    await tokens.storage.add_many({"a": b"by a reader", "b": b"by a reader"}, LONG)
    assert await tokens.read() == {FENCE}


@shared
async def test_the_last_of_several_opens_a_token(tokens: Tokens) -> None:
    writers = [b"first", b"second", b"third"]
    for writer in writers:
        await tokens.fence(writer)
    for writer in writers:
        assert await tokens.read() == {FENCE}
        await tokens.renew(writer, writer)
    assert await tokens.read() == {b"third"}


@shared
async def test_a_token_that_nobody_opens_is_gone_after_its_time(tokens: Tokens) -> None:
    await tokens.renew(b"old")
    await tokens.fence(b"dead", SHORT)
    await until_read(tokens, {None})


@shared
async def test_a_fence_stands_for_its_time_among_longer_and_shorter_ones(
    tokens: Tokens,
) -> None:
    await tokens.fence(b"me")
    await tokens.fence(b"dead", SHORT)
    assert await tokens.read() == {FENCE}
    async with asyncio.timeout(10):
        while FENCE in await tokens.read():
            await tokens.fence(b"me")
            await tokens.renew(b"new", b"me")
    assert await tokens.read() == {b"new"}


@shared
async def test_garbage_that_looks_like_a_fence_is_replaced(tokens: Tokens) -> None:
    garbage = [FENCE, b"!:", b"!a:b c:", b"!a:0", b"!\xff\x00:1", b"!a:1e999 :9"]
    for value in garbage:
        await tokens.storage.put("a", value, LONG)
        await tokens.storage.put("b", value, LONG)
        await tokens.renew(b"new")
        assert await tokens.read() == {b"new"}


async def until_read(tokens: Tokens, expected: set[bytes | None]) -> None:
    async with asyncio.timeout(10):
        while await tokens.read() != expected:  # noqa: ASYNC110 - another clock's time
            await asyncio.sleep(0.01)
