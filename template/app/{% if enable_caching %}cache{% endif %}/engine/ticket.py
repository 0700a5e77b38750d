"""From a miss to a stored entry: who runs the handler, and who waits for it."""

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from hashlib import blake2b
from weakref import ref

from app.cache.engine.cache import (
    Cache,
    Found,
    Lookup,
    Wanted,
    under_way,
)
from app.cache.engine.entry import Entry, Pairs
from app.cache.engine.flight import LONGEST_WAIT, Flight
from app.cache.engine.store import StoreError

LEASE = 10  # seconds that other processes wait for the one that runs a handler


@dataclass(slots=True)
class Ticket:
    """The right to store what a run makes, under versions read before it began.

    Whoever holds one must `land` it, whatever happens: others may be waiting.
    """

    cache: Cache
    wanted: Wanted
    lookup: Lookup
    storable: bool
    why_not: str = ""  # what of the run forbids to store it
    run: tuple[str, ...] = ()
    flight: Flight[tuple[str, Entry]] | None = None
    lease: str = ""
    owner: bytes = field(default_factory=lambda: secrets.token_bytes(12))

    def __post_init__(self) -> None:
        under_way[ref(self.wanted.reading, under_way.pop)] = self.cache.loop

    def entry(
        self,
        body: bytes,
        status: int = 0,
        headers: Pairs = (),
        *,
        ttl: int | None = None,
        age: int = 0,
    ) -> Entry | None:
        """Return the entry to store, None when nothing may be stored."""
        versions, most = self.versions(), self.cache.settings.cache_max_body_bytes
        if len(body) > most:
            self.why_not = f"it is larger than CACHE_MAX_BODY_BYTES={most}"
        if not self.storable or self.why_not or versions is None:
            return None
        now, longest = time.time(), self.cache.store.longest
        seconds = min(self.wanted.ttl if ttl is None else ttl, longest)
        return Entry(versions, now, now + seconds, age, status, headers, body)

    def versions(self) -> dict[str, str] | None:
        """Return those of all that the run depends on, None when nobody can tell."""
        reading, used = self.wanted.reading, self.wanted.reading.versions
        own, known = self.lookup.versions, self.lookup.tables
        if own is None or not reading.complete:
            return None
        if any(known.get(name, version) != version for name, version in used.items()):
            return None
        tables = reading.uncovered(self.wanted.key)
        self.wanted.read.learn(tables)
        if not known.keys() >= set(tables):
            return None  # the next run is told of its version first
        return own | used | {name: known[name] for name in tables}

    async def serves(self, entry: Entry) -> bool:
        """Tell whether an entry that was made meanwhile may answer, and does."""
        known, reading = self.lookup.versions or {}, self.wanted.reading
        try:
            current = await self.cache.current(entry, known, reading)
        except StoreError:
            return False
        return current is not None and self.wanted.accepts(current)

    async def store(self, place: str, entry: Entry) -> bool:
        """Store what the run made, and land; False when the store did not take it."""
        lease, self.lease = self.lease, ""
        kept = await self.cache.keep(place, entry, lease=lease, owner=self.owner)
        await self.land((place, entry))
        return kept

    async def land(
        self, result: tuple[str, Entry] | None, *, abandoned: bool = False
    ) -> None:
        """End the run: give the entry, or nothing, to those who wait for it."""
        flight, self.flight = self.flight, None
        if flight is not None:
            self.cache.flights.land(self.run, flight, result, abandoned=abandoned)
        lease, self.lease = self.lease, ""
        if lease:
            try:
                await self.cache.store.release(lease, self.owner)
            except StoreError:
                return  # it runs out by itself


async def admit(cache: Cache, wanted: Wanted, lookup: Lookup) -> Found | Ticket:
    """Return the ticket of the one who has to run, or an entry that answers after all.

    `lookup` is what `Cache.find` gave in place of one.
    """
    give_up = time.monotonic() + LONGEST_WAIT
    while True:
        storable = lookup.first if wanted.storable is None else wanted.storable
        ticket = Ticket(cache, wanted, lookup, storable)
        # Who waits must not keep a transaction open.
        alone = wanted.fresh or wanted.reading.root.open
        if alone or not storable or lookup.versions is None:
            return ticket
        run = ticket.run = (lookup.place, *lookup.versions.values())
        flight = cache.flights.under_way(run)
        if flight is None:
            ticket.flight = cache.flights.lead(run)
            return await _lead_cluster(ticket, give_up)
        try:
            landed = await flight.wait(
                give_up - time.monotonic(), in_thread=wanted.in_thread
            )
        except TimeoutError:
            return ticket
        if landed is not None:
            place, made = landed
            if place == wanted.place() and await ticket.serves(made):
                return Found(made, collapsed=True)
            if place == lookup.place:
                return ticket
        elif not flight.abandoned:
            return ticket  # the answer may not be shared, so everybody asks for himself
        wanted.reading.forget()
        found = await cache.find(wanted)
        if isinstance(found, Found):
            return found
        lookup = found


async def _lead_cluster(ticket: Ticket, give_up: float) -> Found | Ticket:
    """Wait while another process runs the handler.

    The lease of one that was killed runs out. Another process takes it then, and the
    rest wait for that one, but for no third.
    """
    cache, place, pause = ticket.cache, ticket.lookup.place, 0.005
    lease = f"{cache.prefix}:lease:{_digest(ticket.run)}"
    try:
        while time.monotonic() < give_up:
            ticket.lease = lease  # also if it is given up before the answer comes
            held, value = await cache.store.acquire(lease, ticket.owner, LEASE, place)
            ticket.lease = lease if held else ""
            entry = cache.read(value, place)
            if entry is not None and await ticket.serves(entry):
                await ticket.land((place, entry))
                return Found(entry, collapsed=True)
            if held:
                break
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.1)
    except StoreError:
        return ticket
    except BaseException:
        await ticket.land(None, abandoned=True)
        raise
    return ticket


def _digest(run: tuple[str, ...]) -> str:
    text = "\n".join(run)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
