"""About 200 requests a second, each of whose answers is held against the ledger."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from faults.ledger import Row, number, value
from faults.service import WORKERS, Headers, Person, Service

PAIRS = 8  # connections to each worker
WRITES = 0.1  # share of the requests
SLOW = 0.1  # seconds; the deadline of an operation


@dataclass
class Tally:
    """What happened to the requests of one phase."""

    requests: int = 0
    hits: int = 0
    slow: int = 0
    slowest: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    stale: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def note(self, example: str) -> None:
        """Keep a stale read to be looked at, but not thousands."""
        if len(self.examples) < 5:
            self.examples.append(example)


@dataclass(frozen=True)
class Read:
    """A cached route: who asks, and which rows have to be in the answer."""

    path: str
    headers: Headers
    rows: list[Row]
    field: str = "last_name"


def read_of(service: Service, row: Row) -> Read:
    """An admin's look at one user."""
    return Read(f"/users/?user_id={row.id}", service.admin, [row])


def reads(service: Service, person: Person) -> list[Read]:
    """Every cached route, for one person."""
    key = person.key.id
    return [
        Read("/users/me", person.bearer, [person.user]),
        Read("/users/me", person.api_key, [person.user]),
        read_of(service, person.user),
        Read("/users/?size=20", service.admin, [each.user for each in service.people]),
        Read("/users/keys", person.bearer, [person.key], "name"),
        Read(f"/users/keys/{key}", person.bearer, [person.key], "name"),
    ]


class Load:
    """Reads and writes on connections of which half belong to each worker."""

    def __init__(self, service: Service, rate: float, patience: float) -> None:
        self.service = service
        self.tally = Tally()
        self.healed_at: float | None = None
        self._rate = rate
        self._patience = patience
        self._random = random.Random(2)  # noqa: S311 - the same in every run
        self._clients: dict[str, list[httpx.AsyncClient]] = {w: [] for w in WORKERS}
        self._lanes: list[asyncio.Task[None]] = []
        self._running = False
        self._hit_since: dict[str, float] = {}
        self._progress = asyncio.Condition()

    async def connect(self) -> None:
        """Open connections until each worker has enough of them."""
        surplus: list[httpx.AsyncClient] = []
        while any(len(clients) <= PAIRS for clients in self._clients.values()):
            client = httpx.AsyncClient(
                base_url=self.service.url,
                limits=httpx.Limits(max_connections=1, keepalive_expiry=600),
                timeout=self._patience,
            )
            answer = await client.get("/users/me")
            mates = self._clients[answer.headers["x-worker"]]
            (mates if len(mates) <= PAIRS else surplus).append(client)
        for client in surplus:
            await client.aclose()

    async def disconnect(self) -> None:
        for clients in self._clients.values():
            for client in clients:
                await client.aclose()
            clients.clear()

    def client(self, worker: str) -> httpx.AsyncClient:
        """A connection to this worker that the load does not use."""
        return self._clients[worker][0]

    def start(self) -> None:
        lanes = [lane for clients in self._clients.values() for lane in clients[1:]]
        pause = len(lanes) / self._rate
        self._running = True
        self._lanes = [
            asyncio.create_task(self._drive(client, pause, index * pause / len(lanes)))
            for index, client in enumerate(lanes)
        ]

    async def stop(self) -> None:
        """Let the requests under way end: a write that is given up comes too late."""
        self._running = False
        await asyncio.gather(*self._lanes)
        self._lanes = []

    async def until_hits(self, seconds: float) -> float | None:
        """Wait until each worker has had a hit from Redis; return when that was.

        With `healed_at` set, only requests that were sent after it count.
        """
        self._hit_since = {}

        async def everybody() -> None:
            async with self._progress:
                await self._progress.wait_for(
                    lambda: self._hit_since.keys() >= set(WORKERS)
                )

        waiting = asyncio.create_task(everybody())
        try:
            await asyncio.wait(
                [waiting, *self._lanes],
                timeout=seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for lane in self._lanes:
                if lane.done():
                    lane.result()  # it only ends by an error
            return max(self._hit_since.values()) if waiting.done() else None
        finally:
            waiting.cancel()

    async def _drive(
        self, client: httpx.AsyncClient, pause: float, delay: float
    ) -> None:
        """One request after the other; what cannot be sent in time is left out."""
        await asyncio.sleep(delay)
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self._running:
            if self._random.random() < WRITES:
                await self.write(client)
            else:
                person = self._random.choice(self.service.people)
                read = self._random.choice(reads(self.service, person))
                await self.read(client, read)
            due = max(due + pause, loop.time())
            await asyncio.sleep(due - loop.time())

    async def read(self, client: httpx.AsyncClient, read: Read) -> None:
        """Ask, and count the answer as stale if it is older than what was known."""
        expected = [row.seen_so_far() for row in read.rows]
        answer = await self._send(client, "GET", read.path, read.headers)
        if answer is None:
            return
        worker = answer.headers["x-worker"]
        values = values_in(answer.json(), read.field)
        found = set()
        for each in expected:
            seen = number(values[each.row.id])
            if stale := each.staleness(seen, worker):
                found.add(stale)
                self.tally.note(
                    f"{read.path} on worker {worker}: {seen} of {each.acknowledged}, "
                    f"{answer.headers.get('cache-status', '')}"
                )
        self.tally.stale.update(found)

    async def write(self, client: httpx.AsyncClient) -> None:
        person = self._random.choice(self.service.people)
        if self._random.random() < 0.5:
            await self.write_user(client, person.user, person.bearer)
        else:
            await self.write_key(client, person)

    async def write_user(
        self, client: httpx.AsyncClient, row: Row, headers: Headers
    ) -> None:
        names = {"email": f"p{row.id}@example.com", "first_name": "Ann"}
        await self._write(
            client,
            row,
            lambda text: {
                "method": "PUT",
                "path": f"/users/{row.id}",
                "headers": headers,
                "json": names | {"last_name": text},
            },
        )

    async def write_key(self, client: httpx.AsyncClient, person: Person) -> None:
        await self._write(
            client,
            person.key,
            lambda text: {
                "method": "PATCH",
                "path": f"/users/keys/{person.key.id}",
                "headers": person.bearer,
                "json": {"name": text},
            },
        )

    async def _write(
        self,
        client: httpx.AsyncClient,
        row: Row,
        request: Callable[[str], dict[str, Any]],
    ) -> None:
        async with row.lock:
            row.started += 1
            mine = row.started
            answer = await self._send(client, **request(value(mine)))
            if answer is not None:
                row.acknowledged = mine
                row.by_worker[answer.headers["x-worker"]] = mine

    async def _send(
        self,
        client: httpx.AsyncClient,
        method: str,
        path: str,
        headers: dict[str, str],
        json: Any = None,
    ) -> httpx.Response | None:
        """Send a request; None when the answer was an error, or none at all."""
        tally = self.tally
        tally.requests += 1
        start = time.perf_counter()
        answer = None
        try:
            answer = await client.request(method, path, headers=headers, json=json)
        except httpx.TransportError as error:
            tally.errors[type(error).__name__] += 1
        took = time.perf_counter() - start
        tally.slow += took > SLOW
        tally.slowest = max(tally.slowest, took)
        if answer is not None and answer.status_code != 200:
            tally.errors[str(answer.status_code)] += 1
            answer = None
        if answer is not None:
            await self._note_hit(answer, start)
        return answer

    async def _note_hit(self, answer: httpx.Response, sent: float) -> None:
        if answer.headers.get("x-fastapi-cache") != "HIT":
            return
        self.tally.hits += 1
        if "detail=fallback" in answer.headers.get("cache-status", ""):
            return
        if self.healed_at is None or sent >= self.healed_at:
            async with self._progress:
                worker = answer.headers["x-worker"]
                self._hit_since.setdefault(worker, time.perf_counter())
                self._progress.notify_all()


def values_in(found: Any, name: str) -> dict[int, str]:
    """A field of each row that is in an answer, by the row's id."""
    if isinstance(found, dict):
        found = found.get("items", [found])
    return {row["id"]: row[name] for row in found}
