"""From a miss to a stored entry: who runs the handler, and who waits for it."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from app.cache.engine import LEASE, Engine, Lookup
from app.cache.entry import Entry
from app.cache.flight import Flight
from app.cache.policy import CachePolicy
from app.cache.storage import StorageError
from app.cache.waiting import lent_place, may_wait


class Found(NamedTuple):
    """An entry that answers; `collapsed` says that another request's run made it."""

    entry: Entry
    collapsed: bool


@dataclass(slots=True)
class Ticket:
    """The right to store what the handler answers, under versions read before it ran.

    Whoever holds one must `land` it, whatever happens: others may be waiting.
    """

    engine: Engine
    lookup: Lookup
    expire: int
    fingerprint: str
    storable: bool = True
    coded: bytes | None = None  # what a coder stores in place of the response's body
    flight: Flight[Entry] | None = None
    lease: str | None = None
    owner: bytes = field(default_factory=lambda: secrets.token_bytes(12))

    def entry(
        self,
        body: bytes,
        status: int = 0,
        headers: tuple[tuple[str, str], ...] = (),
        varies: tuple[tuple[str, str], ...] = (),
    ) -> Entry | None:
        """Return the entry to store, None when nothing may be stored."""
        if not self.storable or self.lookup.tokens is None:
            return None
        stored = body if self.coded is None else self.coded
        if len(stored) > self.engine.max_body:
            return None
        now = time.time()
        return Entry(
            tokens=self.lookup.tokens,
            fingerprint=self.fingerprint,
            stored_at=now,
            expires_at=now + self.expire,
            status=status,
            headers=headers,
            varies=varies,
            body=stored,
        )

    async def store(self, entry: Entry) -> bool:
        """Store what the handler answered; False when the backend did not take it."""
        lease, self.lease = self.lease, None
        return await self.engine.store(
            self.lookup.key, entry, lease=lease, owner=self.owner
        )

    async def land(self, entry: Entry | None, *, abandoned: bool = False) -> None:
        """End the run: give the entry, or nothing, to those who wait for it."""
        flight, self.flight = self.flight, None
        if flight is not None:
            self.engine.flights.land(_run(self), flight, entry, abandoned)
        lease, self.lease = self.lease, None
        if lease is not None:
            try:
                await self.engine.storage.release(lease, self.owner)
            except StorageError:
                return  # it runs out by itself


async def admit(
    engine: Engine,
    policy: CachePolicy,
    key: str,
    fingerprint: str,
    accepts: Callable[[Entry], bool],
    *,
    fresh: bool,
    storable: bool,
) -> Found | Ticket:
    """Return an entry that `accepts` takes, or the ticket of the one who has to run.

    `fresh` asks for a run that begins now. A run that is not `storable` (it may read
    data from before the lookup) is neither shared nor stored.
    """
    while True:
        lookup = await engine.lookup(key, fingerprint)
        if lookup.entry is not None and not fresh and accepts(lookup.entry):
            return Found(lookup.entry, collapsed=False)
        ticket = Ticket(engine, lookup, policy.ttl(engine), fingerprint, storable)
        if fresh or not storable or lookup.tokens is None:
            return ticket
        flight = engine.flights.under_way(_run(ticket))
        if flight is None:
            ticket.flight = engine.flights.lead(_run(ticket))
            return await _lead_cluster(ticket, accepts)
        if not may_wait():
            return ticket
        with lent_place():
            entry = await flight.wait()
        if entry is not None and accepts(entry):
            return Found(entry, collapsed=True)
        if not flight.abandoned:
            return ticket  # the answer may not be shared, so everybody asks for himself


async def _lead_cluster(
    ticket: Ticket, accepts: Callable[[Entry], bool]
) -> Found | Ticket:
    """Wait while another process runs the handler.

    The lease of one that was killed runs out. Another process takes it then, and the
    rest wait for that one, but for no third.
    """
    engine, lookup = ticket.engine, ticket.lookup
    place = engine.entry_key(lookup.key, ticket.fingerprint)
    lease = f"{engine.prefix}:lease:{_digest(ticket)}"
    give_up = time.monotonic() + 2 * LEASE
    pause = 0.005
    try:
        while time.monotonic() < give_up:
            held, value = await engine.storage.acquire(
                lease, ticket.owner, LEASE, place
            )
            ticket.lease = lease if held else None
            entry = engine.valid(value, lookup.tokens, ticket.fingerprint)
            if entry is not None and accepts(entry):
                await ticket.land(entry)
                return Found(entry, collapsed=True)
            if held or not may_wait():
                break
            with lent_place():
                await asyncio.sleep(pause)
            pause = min(2 * pause, 0.1)
    except StorageError:
        return ticket
    except BaseException:
        await ticket.land(None, abandoned=True)
        raise
    return ticket


def _run(ticket: Ticket) -> tuple[str, ...]:
    """What tells a run apart: its key, its route, and the versions it began with."""
    return ticket.lookup.key, ticket.fingerprint, *(ticket.lookup.tokens or ())


def _digest(ticket: Ticket) -> str:
    text = "\n".join(_run(ticket))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
