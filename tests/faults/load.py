"""200 requests a second, each of whose answers is held against the ledger.

A request is sent when it is due, whatever became of those before it, and its time
counts from then on: who waits until the service answers measures little of a service
that does not.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from faults.connection import Answer, Connection
from faults.ledger import number, value
from faults.routes import Read, Write, reads, writes
from faults.service import WORKERS, Service

CONNECTIONS = 200  # to each worker, at most
WRITES = 0.1  # share of the requests
SLOW = 0.1  # seconds; the deadline of an operation


@dataclass
class Tally:
    """What happened to the requests of one phase; times are in seconds."""

    requests: int = 0
    hits: int = 0
    slow: int = 0
    slowest: float = 0.0
    late: float = 0.0  # by how much a request was sent too late, because of us
    waited: Counter[str] = field(default_factory=Counter)  # by worker
    errors: Counter[str] = field(default_factory=Counter)
    stale: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def took(self, seconds: float) -> None:
        self.requests += 1
        self.slow += seconds > SLOW
        self.slowest = max(self.slowest, seconds)

    def note(self, example: str) -> None:
        """Keep a stale read to be looked at, but not thousands."""
        if len(self.examples) < 5:
            self.examples.append(example)


class Load:
    """Reads and writes, of which each worker gets half."""

    def __init__(self, service: Service, rate: float, patience: float) -> None:
        self.service = service
        self.tally = Tally()
        self.healed_at: float | None = None
        self._pause = len(WORKERS) / rate
        self._random = random.Random(2)  # noqa: S311 - the same in every run
        self._drivers: list[asyncio.Task[None]] = []
        self._running = False
        self._hit_since: dict[str, float] = {}
        self._hit_everywhere = asyncio.Event()
        # The one that was used last is the first to be used again.
        self._free: dict[str, asyncio.LifoQueue[Connection]] = {}
        for worker, port in service.ports.items():
            free = self._free[worker] = asyncio.LifoQueue()
            for _ in range(CONNECTIONS):
                free.put_nowait(Connection(port, patience))

    def start(self) -> None:
        self._running = True
        self._drivers = [
            asyncio.create_task(self._drive(worker, index * self._pause / len(WORKERS)))
            for index, worker in enumerate(WORKERS)
        ]

    async def stop(self) -> None:
        """Let the requests under way end: a write that is given up comes too late."""
        self._running = False
        await asyncio.gather(*self._drivers)
        self._drivers = []

    async def disconnect(self) -> None:
        """Close all connections, for good."""
        for free in self._free.values():
            while not free.empty():
                free.get_nowait().close()
        await asyncio.sleep(0)

    async def until_hits(self, seconds: float) -> float | None:
        """Wait until each worker has had a hit from Redis; return when that was.

        With `healed_at` set, only requests that were sent after it count.
        """
        self._hit_since.clear()
        self._hit_everywhere.clear()
        waiting = asyncio.create_task(self._hit_everywhere.wait())
        try:
            await asyncio.wait(
                [waiting, *self._drivers],
                timeout=seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for driver in self._drivers:
                if driver.done():
                    driver.result()  # it only ends by an error
            return max(self._hit_since.values()) if waiting.done() else None
        finally:
            waiting.cancel()

    async def _drive(self, worker: str, delay: float) -> None:
        due = time.monotonic() + delay
        async with asyncio.TaskGroup() as requests:
            while self._running:
                await asyncio.sleep(due - time.monotonic())
                self.tally.late = max(self.tally.late, time.monotonic() - due)
                requests.create_task(self._request(worker, due))
                due += self._pause

    async def _request(self, worker: str, due: float) -> None:
        person = self._random.choice(self.service.people)
        write = self._random.choice(writes(person))
        # Of two writes to one row at a time, nobody knows which one was the last.
        if self._random.random() < WRITES and not write.row.lock.locked():
            await self.write(worker, write, due)
        else:
            read = self._random.choice(reads(self.service, person))
            await self.read(worker, read, due)

    async def read(self, worker: str, read: Read, due: float | None = None) -> None:
        """Ask, and count the answer as stale if it is older than what was known."""
        due, tally = due or time.monotonic(), self.tally
        async with self._connection(worker) as connection:
            expected = [row.seen_so_far() for row in read.rows]
            request = connection.send("GET", read.path, read.headers)
            answer = await self._answer(request, due, tally)
        if answer is None:
            return
        try:
            values = read.values_in(answer.json())
            seen = [(each, number(values[each.row.id])) for each in expected]
        except (LookupError, TypeError, ValueError):
            tally.errors["answer to something else"] += 1
            return
        worker, found = answer.headers["x-worker"], set()
        for each, version in seen:
            if stale := each.staleness(version, worker):
                found.add(stale)
                tally.note(
                    f"{read.path} on worker {worker}: {version} of "
                    f"{each.acknowledged}, {answer.headers.get('cache-status', '')}"
                )
        tally.stale.update(found)

    async def write(self, worker: str, write: Write, due: float | None = None) -> None:
        """Write the row's next value, and note it when that is acknowledged."""
        due, tally, row = due or time.monotonic(), self.tally, write.row
        async with row.lock, self._connection(worker) as connection:
            row.started += 1
            mine = row.started
            content = write.content(value(mine))
            request = connection.send(write.method, write.path, write.headers, content)
            answer = await self._answer(request, due, tally)
            if answer is not None:
                row.acknowledged = mine
                row.by_worker[answer.headers["x-worker"]] = mine

    @asynccontextmanager
    async def _connection(self, worker: str) -> AsyncIterator[Connection]:
        connection = await self._free[worker].get()
        try:
            yield connection
        finally:
            self._free[worker].put_nowait(connection)

    async def _answer(
        self, request: Awaitable[Answer], due: float, tally: Tally
    ) -> Answer | None:
        """Send a request; None when the answer was an error, or none at all."""
        sent, answer = time.monotonic(), None
        try:
            answer = await request
        except OSError as error:
            tally.errors[type(error).__name__] += 1
        tally.took(time.monotonic() - due)
        if answer is None:
            return None
        if answer.status != 200:
            tally.errors[str(answer.status)] += 1
            return None
        worker, headers = answer.headers["x-worker"], answer.headers
        tally.waited[worker] += "x-waited" in headers
        if headers.get("x-fastapi-cache") == "HIT":
            tally.hits += 1
            if "detail=fallback" not in headers.get("cache-status", ""):
                self._note_hit(worker, sent)
        return answer

    def _note_hit(self, worker: str, sent: float) -> None:
        """Take note of a hit from Redis."""
        if self.healed_at is None or sent >= self.healed_at:
            self._hit_since.setdefault(worker, time.monotonic())
            if self._hit_since.keys() >= set(WORKERS):
                self._hit_everywhere.set()
