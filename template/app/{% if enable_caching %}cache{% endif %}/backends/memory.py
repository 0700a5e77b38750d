"""The cache in this process: bounded in bytes and in entries, with real expiry."""

import asyncio
import heapq
import logging
import math
import sys
import time
from collections import OrderedDict
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from fastapi_cache.types import Backend

from app.cache.backends.epoch import EPOCH_FILE, Epoch, end_epoch
from app.cache.storage import FENCE

log = logging.getLogger("app.cache")

_OVERHEAD = 300  # bytes of the containers that hold a key and its value
_SWEEP_EVERY = 1.0  # seconds


class MemoryBackend(Backend):
    """A fastapi-cache2 backend that drops what expired and what was least used.

    `longest` is the most seconds that anything lives, whatever it was stored for.
    `max_bytes` counts keys, values and what Python needs to hold them. Expiry is by a
    monotonic clock, so a change of the system's clock expires nothing. Another process
    that changes the data, such as a command, ends the epoch, and with it everything.
    """

    fallback = False

    def __init__(
        self,
        max_bytes: int,
        max_entries: int,
        epoch: Path = EPOCH_FILE,
        longest: float = math.inf,
    ) -> None:
        self.max_bytes = max_bytes
        self.max_entries = max_entries
        self.longest = longest
        self.used_bytes = 0
        self.evictions = 0
        self._values: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._expiries: list[tuple[float, str]] = []
        self._epoch = Epoch(epoch)
        self._sweeper: asyncio.Task[None] | None = None

    # Not __len__: fastapi-cache2 takes a backend that is false for no backend.
    @property
    def entries(self) -> int:
        """How many values there are."""
        return len(self._values)

    async def get(self, key: str) -> bytes | None:
        return self._read(key)

    async def get_with_ttl(self, key: str) -> tuple[int, bytes | None]:
        value = self._read(key)
        if value is None:
            return 0, None
        return max(0, int(self._values[key][1] - time.monotonic())), value

    async def set(self, key: str, value: bytes, expire: int | None = None) -> None:
        self._write(key, value, expire or 0)

    async def clear(self, namespace: str | None = None, key: str | None = None) -> int:
        """Drop one key, or everything; namespaces are dropped by their tokens."""
        doomed = [key] if key is not None else list(self._values)
        return sum(self._drop(name) for name in doomed)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        if self._epoch.ended():
            await self.clear()
        if self._epoch.closed():
            return [FENCE] * len(keys)
        found: list[bytes | None] = []
        now = time.monotonic()
        for key in keys:
            held = self._values.get(key)
            if held is not None and held[1] > now:
                self._values.move_to_end(key)
                found.append(held[0])
            else:
                found.append(self._read(key))
        return found

    async def put(
        self,
        key: str,
        value: bytes,
        expire: int,
        *,
        lease: str | None = None,
        owner: bytes = b"",
    ) -> None:
        self._write(key, value, expire)

    async def add_many(self, values: dict[str, bytes], expire: int) -> list[bytes]:
        stored = []
        for key, value in values.items():
            old = self._read(key)
            if old is None:
                self._write(key, value, expire)
            stored.append(old or value)
        return stored

    async def fence(self, keys: Collection[str], owner: bytes, seconds: float) -> None:
        """Do nothing: a process that dies takes this memory with it."""

    async def renew(
        self, tokens: dict[str, bytes], expire: int, owner: bytes = b""
    ) -> None:
        for key, token in tokens.items():
            self._write(key, token, expire)

    async def acquire(
        self, lease: str, owner: bytes, seconds: int, key: str
    ) -> tuple[bool, bytes | None]:
        return True, None

    async def release(self, lease: str, owner: bytes) -> None:
        return None

    def elsewhere(self) -> "MemoryBackend":
        return self

    async def ping(self) -> None:
        return None

    def health(self) -> dict[str, str | float]:
        return {}

    async def open(self) -> None:
        """Begin to sweep away what expired."""
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep(), name="cache sweeper")

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeper
            self._sweeper = None
        await self.clear()
        self._expiries.clear()

    def _read(self, key: str) -> bytes | None:
        found = self._values.get(key)
        if found is None:
            return None
        value, expires = found
        if expires <= time.monotonic():
            self._drop(key)
            return None
        self._values.move_to_end(key)
        return value

    def _write(self, key: str, value: bytes, expire: int) -> None:
        self._drop(key)
        size = _size(key, value)
        if expire <= 0 or size > self.max_bytes:
            return
        expires = time.monotonic() + min(expire, self.longest)
        self._values[key] = (value, expires)
        self.used_bytes += size
        heapq.heappush(self._expiries, (expires, key))
        while self.used_bytes > self.max_bytes or self.entries > self.max_entries:
            self._drop(next(iter(self._values)))
            self.evictions += 1
        if len(self._expiries) > 2 * len(self._values) + 1024:
            self._expiries = [(at, name) for name, (_, at) in self._values.items()]
            heapq.heapify(self._expiries)

    def _drop(self, key: str) -> bool:
        found = self._values.pop(key, None)
        if found is None:
            return False
        self.used_bytes -= _size(key, found[0])
        return True

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            self.drop_expired()

    def drop_expired(self) -> None:
        """Drop every value whose time is over."""
        now = time.monotonic()
        while self._expiries and self._expiries[0][0] <= now:
            _, key = heapq.heappop(self._expiries)
            found = self._values.get(key)
            if found is not None and found[1] <= now:
                self._drop(key)


class OtherMemory(MemoryBackend):
    """The memory of a service in another process: its epoch is all that is in reach."""

    async def fence(self, keys: Collection[str], owner: bytes, seconds: float) -> None:
        with suppress(OSError):  # it will be the same when the epoch is to end
            end_epoch(owner=owner, seconds=seconds)

    async def renew(
        self, tokens: dict[str, bytes], expire: int, owner: bytes = b""
    ) -> None:
        try:
            end_epoch(owner=owner)
        except OSError as error:
            log.error(
                "A running service keeps its cached answers until they expire, since "
                "it cannot be told of this change: %s. Restart it.",
                error,
            )


def _size(key: str, value: bytes) -> int:
    return sys.getsizeof(key) + sys.getsizeof(value) + _OVERHEAD
