"""Redis while it works, this process's own memory while it does not.

Where an operation fails, the breaker opens at once: who waits for Redis goes on with
memory, and nobody waits for it any more. One task looks at Redis once a second in any
case (it writes, so that a read-only or a full server is found while only hits are
served). While the breaker is open it delivers what was invalidated meanwhile, makes
sure that everything works again, and closes it.

Why nothing stale is served, whenever the state changes:

- An invalidation returns when Redis has confirmed it, or when it is kept in the
  breaker, which is then open. It renews the versions in memory, too.
- The breaker closes in the same step in which nothing was found to be kept. What is
  kept a moment later opens it again before the invalidation returns.
- Versions are random, and memory and Redis never have the same one. Who looked up in
  one and stores in the other stores what no lookup accepts.
- Delivery writes new versions, so an operation that was given up, and that a frozen
  server carries out later, leaves nothing behind that could be valid.
- A process that could not invalidate in Redis shows that by a file, and renews the
  epoch, before its invalidation returns. The others on its machine look at the epoch at
  each lookup, forget their memory, and do not read from Redis until nobody keeps
  anything; they write to it, so that this comes to an end. Who answers from memory
  shows that, too, and is told of what others write. What a process has kept when it
  died costs one renewal of the root version.
- A server that starts again, or another one at its place, may lack invalidations that
  were confirmed. Each new connection checks that.

What is left: a process on another machine that reaches Redis while this one does not
serves older data until this one delivers, and memory's entries, which other machines
cannot invalidate, live for CACHE_FALLBACK_TTL at most.
"""

import asyncio
import json
import math
import os
import random
import socket
import time
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import TypeVar

from redis.exceptions import ResponseError

from app.cache.engine.cache import VERSION_TTL
from app.cache.engine.entry import ROOT, new_version, place, version_place
from app.cache.engine.memory import Memory
from app.cache.engine.processes import Epoch, epoch_file
from app.cache.engine.redis.breaker import OTHERS, Breaker, Kept
from app.cache.engine.redis.server import RedisServer
from app.cache.engine.redis.settings import RedisSettings
from app.cache.engine.store import StoreError

T = TypeVar("T")

PAUSE = 1.0  # seconds between two looks at Redis; half of it while it does not work
_ALIVE = 5  # seconds for which a process counts as running after its last look


class Failover:
    """A store that has a Redis or does without it; it never raises StoreError.

    It begins closed and patient; `open`, which a command does not need, starts the task
    that keeps looking.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._root = version_place(settings.cache_prefix, ROOT)
        self._redis = RedisServer(settings)
        epoch = epoch_file(settings.database_url)
        self._memory = Memory(
            settings.cache_max_bytes,
            settings.cache_max_entries,
            epoch,
            settings.cache_fallback_ttl,
        )
        location = settings.redis_location(masked=True)
        self._breaker = Breaker(self._root, location, epoch, self._let_go)
        self._epoch = Epoch(epoch)
        self._leases: dict[str, bytes] = {}  # that may be in Redis, with their owners
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed_at = -PAUSE
        self.on_lost: Callable[[str], object] = _unheard  # with the reason
        self.on_back: Callable[[], object] = _unheard

    @property
    def outage(self) -> str:
        """Why Redis is not used now; empty while it is."""
        return self._breaker.outage.reason if self._breaker.outage else ""

    @property
    def fallback(self) -> bool:
        return self._breaker.outage is not None

    @property
    def longest(self) -> float:
        return self._memory.longest if self.fallback else math.inf

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        if self._epoch.ended() and self._breaker.undelivered.others():
            self._breaker.open(OTHERS)
        if not self.fallback:
            found = await self._either(lambda store: store.get_many(keys))
            if not self.fallback:  # else it opened meanwhile
                return found
        return await self._memory.get_many(keys)

    async def put(
        self,
        key: str,
        value: bytes,
        expire: int,
        versions: Mapping[str, bytes] = MappingProxyType({}),
        lease: str = "",
        owner: bytes = b"",
    ) -> None:
        with self._giving_back(lease):
            await self._either(
                lambda store: store.put(key, value, expire, versions, lease, owner)
            )

    async def add_many(self, values: dict[str, bytes], expire: int) -> list[bytes]:
        return await self._either(lambda store: store.add_many(values, expire))

    async def fence(self, keys: Collection[str], owner: bytes, seconds: float) -> None:
        if not await self._confirmed(lambda: self._redis.fence(keys, owner, seconds)):
            self._breaker.keep(keys, owner, hold=seconds)

    async def renew(
        self, versions: dict[str, bytes], expire: int, owner: bytes = b""
    ) -> None:
        before = self._breaker.kept_of(versions, owner)  # such as this owner's fence
        if await self._confirmed(lambda: self._redis.renew(versions, expire, owner)):
            self._breaker.deliver(before)
            self._breaker.tell_those_alone()
        else:
            self._breaker.keep(versions, owner)
        if self.fallback:
            await self._memory.renew(dict.fromkeys(versions, _fresh()), expire)

    async def acquire(
        self, lease: str, owner: bytes, seconds: int, key: str
    ) -> tuple[bool, bytes | None]:
        if not self.fallback:  # also one that is given up may be carried out
            self._leases[lease] = owner
        held, value = await self._either(
            lambda store: store.acquire(lease, owner, seconds, key)
        )
        if not held:
            self._leases.pop(lease, None)
        return held, value

    async def release(self, lease: str, owner: bytes) -> None:
        with self._giving_back(lease):
            await self._either(lambda store: store.release(lease, owner))

    async def open(self) -> None:
        """Look for Redis, and go on without it when it does not answer at once."""
        await self._memory.open()
        self._breaker.open("it was not asked yet")
        with suppress(TimeoutError):
            async with asyncio.timeout(self._redis.line.patience / 2):
                await self._look()
        self._task = asyncio.create_task(self._keep_looking(), name="cache failover")

    def health(self) -> dict[str, str | float]:
        outage = self._breaker.outage
        return {
            "breaker": "open" if outage else "closed",
            "seconds": round(time.monotonic() - outage.since, 1) if outage else 0,
            "unconfirmed": len(self._breaker.kept),
            "fallback_entries": self._memory.entries,
            "fallback_bytes": self._memory.used_bytes,
            "openings": self._breaker.openings,
        }

    def numbers(self) -> dict[str, float]:
        breaker = self._breaker
        return {
            **self._memory.numbers(),
            "undelivered": len(breaker.kept),
            "fallback": self.fallback,
            "openings": breaker.openings,
            "lost": self._redis.lost,
        }

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._redis.line.timeout = self._redis.line.patience
        if self._task is not None and not self.fallback:
            with suppress(StoreError):  # what was asked for before has its replies then
                await self._redis.ping()
        with suppress(StoreError):
            await self._deliver(self._breaker.kept.copy())
        await self._redis.close()
        await asyncio.sleep(0)  # what is refused now is kept, before all ends
        self._breaker.end()
        await self._memory.close()

    @contextmanager
    def _giving_back(self, lease: str) -> Iterator[None]:
        """Forget a lease that Redis was asked to take back, also by who is given up."""
        try:
            yield
        finally:
            if not self.fallback:
                self._leases.pop(lease, None)

    async def _either(
        self, operation: Callable[[RedisServer | Memory], Awaitable[T]]
    ) -> T:
        """Do it in Redis; where that does not work, in memory."""
        if not self.fallback:
            try:
                return await operation(self._redis)
            except StoreError as error:
                self._breaker.open(str(error))
        return await operation(self._memory)

    async def _confirmed(self, write: Callable[[], Awaitable[None]]) -> bool:
        """Tell whether Redis has done this to versions; do not ask where it would fail.

        A False has to be made up for in the same step.
        """
        if not self._breaker.takes_writes:
            return False
        try:
            await write()
        except StoreError as error:
            self._breaker.open(str(error))
            return False
        return True

    def _let_go(self) -> None:
        self._redis.line.abandon("it failed for another request")
        self._wake.set()
        self.on_lost(self.outage)

    async def _keep_looking(self) -> None:
        while True:
            # By no fixed time: else all processes would ask at the same moment.
            seconds = PAUSE * random.uniform(0.8, 1.2)  # noqa: S311 - nothing secret
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds / 2 if self.fallback else seconds):
                    await self._wake.wait()
                    # Where it fails as soon as it is used, do not try without end.
                    await asyncio.sleep(self._closed_at + PAUSE - time.monotonic())
            self._wake.clear()
            await self._look()

    async def _look(self) -> None:
        outage = self._breaker.outage
        try:
            if outage is not None:
                await self._recover()
            if not self.fallback:
                await self._beat()
        except (StoreError, OSError) as error:
            if outage is None or not self.fallback:
                self._breaker.open(str(error))
            else:
                refused = isinstance(error.__cause__, ResponseError)
                self._breaker.stay_open(str(error), refused=refused)

    async def _beat(self) -> None:
        """Say that this process runs, and make up for those that have ended.

        StoreError when Redis cannot be written.
        """
        for _ in self._breaker.undelivered.left_behind():
            await self._redis.renew({self._root: _fresh()}, VERSION_TTL)
            self._redis.lost += 1
        who = f"{socket.gethostname()}:{os.getpid()}"
        key = place(self._settings.cache_prefix, "process", who)
        about = {"version": self._settings.version, **self.health()}
        await self._redis.put(key, json.dumps(about).encode(), _ALIVE)

    async def _recover(self) -> None:
        """Use Redis again, if nobody keeps anything; StoreError when it fails."""
        line = self._redis.line
        if not self._breaker.takes_writes:
            line.timeout = line.patience
        await self._deliver(self._breaker.due())
        await self._beat()
        line.timeout = self._settings.cache_timeout
        self._breaker.take_writes()
        # Let nobody wait for a run of before, whose answer is not in Redis.
        leases = self._leases.items()
        await asyncio.gather(*(self._redis.release(*each) for each in leases))
        await self._redis.check()
        await self._deliver(self._breaker.due())  # what came until writes were taken
        self._epoch.ended()  # what comes from here on is seen by `get_many`
        if self._breaker.close():
            self._leases.clear()
            self._memory.clear()
            self._closed_at = time.monotonic()
            self.on_back()

    async def _deliver(self, kept: Kept) -> None:
        # At once, so that they travel together.
        await asyncio.gather(
            *(
                self._redis.renew({key: _fresh()}, VERSION_TTL, owner)
                for key, owner in kept
            )
        )
        self._breaker.deliver(kept)


def _unheard(*_: str) -> None: ...


def _fresh() -> bytes:
    return new_version().encode()
