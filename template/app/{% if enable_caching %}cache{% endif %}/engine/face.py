"""fastapi-cache2's own interface to this cache: the one module that imports it.

Code that was written for it goes on working: `FastAPICache.clear(namespace=…)` drops
that namespace, `clear(key=…)` one key, `clear()` everything, and `get_backend()` gets
and sets values of its own.
"""

import time

from fastapi_cache import FastAPICache
from fastapi_cache.types import Backend

from app.cache.engine.cache import Cache, Lookup, Wanted
from app.cache.engine.entry import ROOT, Entry
from app.cache.engine.exchange import caches_of_task

_FOR_EVER = 2_592_000  # seconds: fastapi-cache2 knows no end


class Face(Backend):
    """A fastapi-cache2 backend over the cache that is meant where it is called."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    async def get_with_ttl(self, key: str) -> tuple[int, bytes | None]:
        """Return the seconds that a value still lives, and the value."""
        for cache in caches_of_task():
            entry = (await _lookup(cache, key, 1)).entry
            if entry is not None:
                return max(0, int(entry.expires_at - time.time())), entry.body
        return 0, None

    async def get(self, key: str) -> bytes | None:
        """Return a value, None when there is none."""
        return (await self.get_with_ttl(key))[1]

    async def set(self, key: str, value: bytes, expire: int | None = None) -> None:
        """Store a value for so many seconds."""
        now, seconds = time.time(), expire or _FOR_EVER
        for cache in caches_of_task():
            found = await _lookup(cache, key, seconds)
            if found.versions is not None:
                entry = Entry(found.versions, now, now + seconds, 0, 0, (), value)
                await cache.keep(found.place, entry)

    async def clear(self, namespace: str | None = None, key: str | None = None) -> int:
        """Drop a key or a namespace, without either everything; return how many."""
        name = (namespace or "").removeprefix(self._prefix).strip(":")
        caches = caches_of_task()
        for cache in caches:
            await cache.invalidate([key or name or ROOT], "FastAPICache.clear")
        return len(caches)


def show_face(prefix: str) -> None:
    """Make it what `FastAPICache` shows, for all applications of the process."""
    FastAPICache.reset()
    FastAPICache.init(Face(prefix), prefix=prefix)


async def _lookup(cache: Cache, key: str, ttl: int) -> Lookup:
    return await cache.lookup(Wanted(key, lambda: f"{cache.prefix}:value:{key}", ttl))
