"""Invalidations that the backend did not confirm."""

import asyncio
import time
from pathlib import Path

import pytest

from app.cache import journal
from app.cache.backends.memory import MemoryBackend
from app.cache.engine import Engine
from app.cache.entry import Entry
from app.cache.storage import StorageError


class Failing(MemoryBackend):
    """Memory that refuses to renew versions while it is `down`."""

    down = False

    async def renew(
        self, tokens: dict[str, bytes], expire: int, owner: bytes = b""
    ) -> None:
        if self.down:
            raise StorageError("down")
        await super().renew(tokens, expire, owner)


async def test_nothing_is_served_or_stored_until_an_invalidation_is_confirmed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(journal, "_PAUSE", 0.01)
    backend = Failing(1_000_000, 100, tmp_path / "epoch")
    engine = Engine(backend, prefix="t", ttl=60, fence_ttl=5, max_body=1000, secret=b"")
    tokens = (await engine.lookup("user:1", "f")).tokens
    assert tokens is not None
    now = time.time()
    entry = Entry(tokens, "f", now, now + 60, 0, (), (), b"old")
    await engine.store("user:1", entry)
    assert (await engine.lookup("user:1", "f")).entry == entry

    backend.down = True
    await engine.invalidate({"user:1"})
    found = await engine.lookup("user:1", "f")
    assert (found.entry, found.tokens) == (None, None)

    backend.down = False
    async with asyncio.timeout(10):
        while engine.journal:  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0.01)
    found = await engine.lookup("user:1", "f")
    assert found.entry is None
    assert found.tokens is not None
    await engine.journal.close()
