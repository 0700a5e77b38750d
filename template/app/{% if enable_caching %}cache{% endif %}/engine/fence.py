"""What a commit closes before it, so that its process may die at any moment.

The fence goes up before the COMMIT, and its end is the invalidation. Should the process
die between the two, the fence falls by itself after CACHE_FENCE_TTL, and what was
stored before it stays invalid. A session's commit calls this, from a greenlet.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from sqlalchemy.util import await_only

from app.cache.engine.cache import Cache, Settings
from app.cache.engine.exchange import running

log = logging.getLogger("app.cache")

# Gives the caches that have to hear of a commit, also where none runs here.
OpenCaches = Callable[[], AbstractAsyncContextManager[list[Cache]]]
Work = Callable[[Cache], Coroutine[Any, Any, None]]

_ending: set[asyncio.Task[None]] = set()
_PATIENCE = 1.0  # seconds for another event loop


class Fence:
    """The namespaces that one transaction closes, with what has touched each."""

    def __init__(
        self, settings: Settings, opened: OpenCaches, touched: Mapping[str, str]
    ) -> None:
        self._settings = settings
        self._touched = touched
        self._owner = secrets.token_hex(8).encode()
        self._lock = asyncio.Lock()  # a cancelled request ends what it still closes
        self._open = opened
        self._opened = AsyncExitStack()
        self._caches: list[Cache] = []

    def close(self) -> None:
        """Have nothing below these namespaces served or stored until the end."""
        _run(self._close())

    def end(self) -> None:
        """Drop what was closed, whether or not it was committed, and open it."""
        _run(self._end())

    def end_later(self) -> None:
        """Drop what was closed, and again when nothing can come of the commit any more.

        A store that other processes share has it closed until then.
        """
        _run(self._drop())
        task = asyncio.get_running_loop().create_task(self._end_after_a_while())
        _ending.add(task)
        task.add_done_callback(_ending.discard)

    async def _drop(self) -> None:
        cause = "an unanswered COMMIT"
        async with self._lock:
            await self._each(lambda cache: cache.invalidate(self._touched, cause))

    async def _end_after_a_while(self) -> None:
        for cache in await self._reach():
            await asyncio.sleep(cache.settings.cache_fence_ttl)
        await self._end()

    async def _close(self) -> None:
        async with self._lock:
            await self._each(lambda cache: cache.fence(self._touched, self._owner))

    async def _end(self) -> None:
        cause = ", ".join(dict.fromkeys(self._touched.values()))
        async with self._lock, self._opened:
            await self._each(
                lambda cache: cache.invalidate(self._touched, cause, self._owner)
            )

    async def _each(self, work: Work) -> None:
        for cache in await self._reach():
            await on_its_loop(cache, work)

    async def _reach(self) -> list[Cache]:
        if not self._caches:
            found = caches_of(self._settings)
            opened = self._opened.enter_async_context
            self._caches = found or await opened(self._open())
        return self._caches


def caches_of(settings: Settings) -> list[Cache]:
    """Return the running caches of these settings or this database."""
    return [
        cache
        for cache in running
        if not cache.loop.is_closed()
        and (
            cache.prefix == settings.cache_prefix
            or cache.settings.database_url == settings.database_url
        )
    ]


async def on_its_loop(cache: Cache, work: Work) -> None:
    """Do a cache's work where the cache runs, and wait for it here.

    A loop that stands still may wait for us: its work comes next there, before any
    request is read. Other processes are told from here.
    """
    if cache.loop is asyncio.get_running_loop():
        await work(cache)
        return
    done = asyncio.wrap_future(
        asyncio.run_coroutine_threadsafe(work(cache), cache.loop)
    )
    _, late = await asyncio.wait([done], timeout=_PATIENCE)
    if not late:
        done.result()
        return
    log.warning(
        "The service's event loop stands still; it hears of a change when it goes "
        "on. Do not block it: use `await asyncio.to_thread(...)`."
    )
    if cache.again is not None:
        store = await cache.again()
        try:
            await work(Cache(store, cache.settings))
        finally:
            await store.close()


def _run(work: Coroutine[Any, Any, None]) -> None:
    # A cancelled request must neither lose its invalidation nor leave its fence.
    await_only(asyncio.shield(work))
