"""What a commit closes before it, so that its process may die at any moment.

The fence goes up before the COMMIT, and its end is the invalidation. Should the process
die between the two, the fence falls by itself after CACHE_FENCE_TTL, and what was
stored before it stays invalid. A session's commit calls this from where it runs: a
coroutine of SQLAlchemy's, a thread, or a script without an event loop.
"""

import asyncio
import contextvars
import secrets
from collections.abc import Collection, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from app.cache.engine import Engine, running
from app.cache.invalidation import cache_here


class Fence:
    """The namespaces that one transaction has closed and will invalidate."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._owner = secrets.token_hex(8).encode()
        self._lock = asyncio.Lock()  # a cancelled request ends what it still closes
        self._opened = AsyncExitStack()
        self._cache: Engine | None = None
        self._aside: _Aside | None = None

    def close(self, namespaces: Collection[str]) -> None:
        """Have nothing below these namespaces served or stored until the end."""
        if namespaces:
            self._names |= set(namespaces)
            self._run(self._close(namespaces))

    def end(self, namespaces: Collection[str] = ()) -> None:
        """Drop what was closed, whether or not it was committed, and open it.

        Drop these namespaces, too.
        """
        self._names |= set(namespaces)
        try:
            if self._names:
                self._run(self._end())
        finally:
            if self._aside is not None:
                self._aside.close()

    async def _close(self, namespaces: Collection[str]) -> None:
        async with self._lock:
            cache = await self._reach()
            if cache is not None:
                await cache.fence(namespaces, self._owner)

    async def _end(self) -> None:
        async with self._lock, self._opened:
            cache = await self._reach()
            if cache is not None:
                await cache.invalidate(self._names, self._owner)

    async def _reach(self) -> Engine | None:
        if self._cache is None:
            self._cache = await self._opened.enter_async_context(cache_here())
        return self._cache

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        engine = running()
        if in_greenlet():
            await_only(_to_its_end(work))
        elif engine is not None and engine.loop is not _current_loop():
            asyncio.run_coroutine_threadsafe(work, engine.loop).result()
        else:
            self._aside = self._aside or _Aside()
            self._aside.run(work)


class _Aside:
    """An event loop in a thread of its own, for callers that make theirs wait."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._runner = asyncio.Runner()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        context = contextvars.copy_context()
        self._thread.submit(self._runner.run, work, context=context).result()

    def close(self) -> None:
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    # A cancelled request must neither lose its invalidation nor leave its fence.
    await asyncio.shield(asyncio.ensure_future(work))


def _current_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
