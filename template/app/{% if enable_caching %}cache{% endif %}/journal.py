"""Invalidations that the backend has not confirmed, kept until it does."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

from app.cache.namespaces import ROOT

_LIMIT = 1000  # namespaces; beyond that, everything is invalidated
_PAUSE = 0.5  # seconds between two attempts


class Journal:
    """Renews what is in it, again and again, until `renew` says that it is done.

    While something is in it, the process must neither serve nor store.
    """

    def __init__(self, renew: Callable[[Collection[str]], Awaitable[bool]]) -> None:
        self._renew = renew
        self._entries: dict[str, object] = {}
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, namespaces: Collection[str]) -> None:
        """Keep these namespaces until they are renewed."""
        self._entries.update((name, object()) for name in namespaces)
        if len(self._entries) > _LIMIT:
            self._entries = {ROOT: object()}
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._replay(), name="cache journal")

    async def close(self) -> None:
        """Give up what is still unconfirmed."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _replay(self) -> None:
        while self._entries:
            await asyncio.sleep(_PAUSE)
            tried = dict(self._entries)
            if await self._renew(tried):
                for name, entry in tried.items():
                    # One that was added again meanwhile has to be renewed again.
                    if self._entries.get(name) is entry:
                        del self._entries[name]
