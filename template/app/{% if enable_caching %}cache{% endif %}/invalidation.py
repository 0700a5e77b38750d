"""Dropping cached entries: by hand, and from a commit.

None of these functions raises because of the cache, and each does nothing where there
is none. They return when the entries are gone.
"""

import asyncio
import contextvars
import logging
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from app.cache.backends import open_once
from app.cache.backends.epoch import end_epoch
from app.cache.backends.memory import MemoryBackend
from app.cache.engine import Engine, running
from app.cache.storage import storage_over
from app.config import get_settings

log = logging.getLogger("app.cache")


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


def invalidate_from_commit(namespaces: Collection[str]) -> None:
    """Drop entries from inside a session's commit, of whichever kind it is."""
    if in_greenlet():
        await_only(_to_its_end(namespaces))
        return
    engine = running()
    if engine is not None and engine.loop is not _current_loop():
        work = asyncio.run_coroutine_threadsafe(_invalidate(namespaces), engine.loop)
        work.result()
        return
    # A blocking session: the loop, if any, waits with us, so another one does the work.
    context = contextvars.copy_context()
    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(context.run, asyncio.run, _elsewhere(namespaces)).result()


async def _to_its_end(namespaces: Collection[str]) -> None:
    # The data is committed, so a cancelled request must not lose the invalidation.
    await asyncio.shield(asyncio.ensure_future(_invalidate(namespaces)))


async def _invalidate(namespaces: Collection[str]) -> None:
    engine = running()
    if engine is not None and engine.loop is asyncio.get_running_loop():
        await engine.invalidate(namespaces)
    else:
        await _elsewhere(namespaces)


async def _elsewhere(namespaces: Collection[str]) -> None:
    """Invalidate on an event loop that is not the application's, or without one."""
    settings, engine = get_settings(), running()
    if not settings.cache_enabled:
        return
    if engine is not None:
        storage = engine.storage.elsewhere()
    else:
        backend = await open_once(settings)
        if isinstance(backend, MemoryBackend):
            end_epoch()
        storage = storage_over(backend)
    cache = Engine.over(storage, settings)
    try:
        await cache.invalidate(namespaces)
    finally:
        await cache.journal.close()
        if engine is None or storage is not engine.storage:
            await storage.close()


def _current_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
