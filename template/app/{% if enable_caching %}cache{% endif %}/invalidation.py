"""Dropping cached entries by hand.

None of these functions raises because of the cache, and each does nothing where there
is none. They return when the entries are gone.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from app.cache.backends import open_once
from app.cache.backends.memory import MemoryBackend, OtherMemory
from app.cache.engine import Engine, running
from app.cache.storage import Storage, storage_over
from app.config import Settings, get_settings


async def invalidate_namespace(namespace: str) -> None:
    """Drop every entry whose key has `namespace` as its first whole segments."""
    await _invalidate({namespace})


async def invalidate_user_cache(user_id: int) -> None:
    """Drop what is cached for and about one user."""
    await _invalidate({f"user:{user_id}", f"users:{user_id}:single"})


async def invalidate_users_list_cache() -> None:
    """Drop every page of the list of users."""
    await _invalidate({"users:list"})


async def invalidate_api_keys_cache(user_id: int) -> None:
    """Drop what is cached of one user's API keys."""
    await _invalidate({f"apikeys:{user_id}"})


async def _invalidate(namespaces: Collection[str]) -> None:
    async with cache_here() as cache:
        if cache is not None:
            await cache.invalidate(namespaces)


@asynccontextmanager
async def cache_here() -> AsyncIterator[Engine | None]:
    """Yield the cache for use on this event loop, None when caching is off.

    It is the application's, or where that runs on another loop or in another process,
    one that is opened for this use.
    """
    settings, engine = get_settings(), running()
    if not settings.cache_enabled:
        yield None
        return
    if engine is not None and engine.loop is asyncio.get_running_loop():
        yield engine
        return
    if engine is not None:
        storage = engine.storage.elsewhere()
    else:
        storage = await _open(settings)
    cache = Engine.over(storage, settings)
    try:
        yield cache
    finally:
        await cache.journal.close()
        if engine is None or storage is not engine.storage:
            await storage.close()


async def _open(settings: Settings) -> Storage:
    backend = await open_once(settings)
    if isinstance(backend, MemoryBackend):
        await backend.close()
        return OtherMemory(settings.cache_max_bytes, settings.cache_max_entries)
    return storage_over(backend)
