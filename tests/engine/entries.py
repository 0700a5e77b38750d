"""Entries of the running cache, and which of them a change has dropped."""

import asyncio
from collections.abc import Iterable
from contextvars import copy_context
from itertools import count
from typing import Any

from app.cache import cached

_numbers = count()


def _verbatim(*_: object, kwargs: dict[str, Any], **__: object) -> str:
    key: str = kwargs["key"]
    return key


@cached(key_builder=_verbatim)
async def look_up(key: str) -> int:
    """Return a number that is another one after the entry was dropped."""
    return next(_numbers)


class Entries:
    """One entry below each of the namespaces."""

    def __init__(self, namespaces: Iterable[str]) -> None:
        self._namespaces = list(namespaces)
        self._numbers: dict[str, int] = {}
        self._context = copy_context()

    async def store(self) -> None:
        self._numbers = {name: await self._of(name) for name in self._namespaces}
        assert await self.dropped() == set()

    async def dropped(self) -> set[str]:
        """Return the namespaces whose entries are gone, and store them again."""
        now = {name: await self._of(name) for name in self._namespaces}
        gone = {name for name in now if now[name] != self._numbers[name]}
        self._numbers = now
        return gone

    async def _of(self, namespace: str) -> int:
        # A task of its own has none of the transactions that a test has begun.
        asked = look_up(f"{namespace}:entry")
        return await asyncio.create_task(asked, context=self._context)
