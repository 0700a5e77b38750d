"""The cache in this process: bounded in bytes and in entries, with real expiry.

Memory cannot be reached from another process. Whoever commits a change therefore ends
the epoch, a file beside the database that the service looks at in each lookup. A
command always does that, a service only while another one's marker is there. Whoever
comes later than a commit has nothing older.
"""

import asyncio
import heapq
import logging
import math
import sys
import time
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from app.cache.engine.processes import EPOCH_FILE, Epoch, Marker, end_epoch
from app.cache.engine.store import CLOSED

log = logging.getLogger("app.cache")

_OVERHEAD = 300  # bytes of the containers that hold a key and its value
_SWEEP_EVERY = 1.0  # seconds


_Kept = OrderedDict[str, tuple[bytes, float]]  # the least used first


class Memory:
    """A store that drops what expired and what was least used.

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
        *,
        shares: bool = False,
    ) -> None:
        self.max_bytes = max_bytes
        self.max_entries = max_entries
        self.longest = longest
        self.used_bytes = 0
        self.evictions = 0
        self._values: _Kept = OrderedDict()
        self._versions: _Kept = OrderedDict()
        self._expiries: list[tuple[float, str]] = []
        self._file = epoch
        self._epoch = Epoch(epoch)
        self._presence = Marker(epoch, "process") if shares else None
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def entries(self) -> int:
        """How many values there are, without the versions."""
        return len(self._values)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        if self._epoch.ended():
            self.clear()
        if self._epoch.closed():
            return [CLOSED] * len(keys)
        return [self._read(key) for key in keys]

    async def put(
        self,
        key: str,
        value: bytes,
        expire: int,
        versions: Mapping[str, bytes] = MappingProxyType({}),
        lease: str = "",
        owner: bytes = b"",
    ) -> None:
        self._write(self._values, key, value, expire)
        until = time.monotonic() + min(expire + 1, self.longest)
        for name, version in versions.items():
            found = self._versions.get(name)
            if found is not None and found[0] == version and found[1] < until:
                self._versions[name] = version, until
                heapq.heappush(self._expiries, (until, name))

    async def add_many(self, values: dict[str, bytes], expire: int) -> list[bytes]:
        stored = []
        for key, value in values.items():
            old = self._read(key)
            if old is None:
                self._write(self._versions, key, value, expire)
            stored.append(old or value)
        return stored

    def clear(self) -> None:
        """Drop everything."""
        self._values.clear()
        self._versions.clear()
        self._expiries.clear()
        self.used_bytes = 0

    async def fence(self, keys: Collection[str], owner: bytes, seconds: float) -> None:
        # A process that dies takes this memory with it, but no other one's.
        if self._has_others():
            with suppress(OSError):  # it will be the same when the epoch is to end
                end_epoch(self._file, owner=owner, seconds=seconds)

    async def renew(
        self, versions: dict[str, bytes], expire: int, owner: bytes = b""
    ) -> None:
        for key, version in versions.items():
            self._write(self._versions, key, version, expire)
        if not self._has_others():
            return
        try:
            end_epoch(self._file, owner=owner)
        except OSError as error:
            log.error(
                "A running service keeps its cached answers until they expire, since "
                "it cannot be told of this change: %s. Restart it.",
                error,
            )

    async def acquire(
        self, lease: str, owner: bytes, seconds: int, key: str
    ) -> tuple[bool, bytes | None]:
        return True, None

    async def release(self, lease: str, owner: bytes) -> None:
        return None

    def health(self) -> dict[str, str | float]:
        return {}

    def numbers(self) -> dict[str, float]:
        return {
            "entries": self.entries,
            "versions": len(self._versions),
            "bytes": self.used_bytes,
            "evictions": self.evictions,
        }

    async def open(self) -> None:
        """Begin to sweep away what expired, and to be seen by other processes."""
        if self._presence is not None:
            try:
                self._presence.show()
            except OSError as error:
                self._presence = None
                log.warning(
                    "No other process on this machine can be told of changes (%s): "
                    "run one process only.",
                    error,
                )
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep(), name="cache sweeper")

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeper
            self._sweeper = None
        if self._presence is not None:
            self._presence.remove()
        self.clear()

    def _has_others(self) -> bool:
        """Tell whether another process may have something in its memory."""
        return self._presence is not None and self._presence.others_live()

    def _read(self, key: str) -> bytes | None:
        for kept in (self._values, self._versions):
            found = kept.get(key)
            if found is not None:
                value, expires = found
                if expires <= time.monotonic():
                    self._drop(key)
                    return None
                kept.move_to_end(key)
                return value
        return None

    def _write(self, kept: _Kept, key: str, value: bytes, expire: int) -> None:
        self._drop(key)
        size = _size(key, value)
        if expire <= 0 or size > self.max_bytes:
            return
        expires = time.monotonic() + min(expire, self.longest)
        kept[key] = (value, expires)
        self.used_bytes += size
        heapq.heappush(self._expiries, (expires, key))
        while self.used_bytes > self.max_bytes or self.entries > self.max_entries:
            self._drop(next(iter(self._values or self._versions)))
            self.evictions += 1
        if len(self._expiries) > 2 * (len(self._values) + len(self._versions)) + 1024:
            self._expiries = [
                (at, name)
                for kept in (self._values, self._versions)
                for name, (_, at) in kept.items()
            ]
            heapq.heapify(self._expiries)

    def _drop(self, key: str) -> None:
        found = self._values.pop(key, None) or self._versions.pop(key, None)
        if found is not None:
            self.used_bytes -= _size(key, found[0])

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            self.drop_expired()

    def drop_expired(self) -> None:
        """Drop every value whose time is over."""
        now = time.monotonic()
        while self._expiries and self._expiries[0][0] <= now:
            _, key = heapq.heappop(self._expiries)
            found = self._values.get(key) or self._versions.get(key)
            if found is not None and found[1] <= now:
                self._drop(key)


class OtherMemory(Memory):
    """The memory of a service in another process: its epoch is all that is in reach."""

    def _has_others(self) -> bool:
        return True


def _size(key: str, value: bytes) -> int:
    return sys.getsizeof(key) + sys.getsizeof(value) + _OVERHEAD
