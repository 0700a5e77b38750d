"""Looking up, storing and invalidating, over any store.

The order of steps is what makes a stale read impossible: the versions of an entry's
namespaces are read *before* its handler runs and stored with it, and a write renews
them after its commit and before it is acknowledged. A slow handler that read old data
therefore stores it under versions that are gone.

A write whose process may die before it renews them closes them before its commit, for a
few seconds: a fence. What is read while one stands is neither served nor stored.

An entry inherits the versions of every cached value that was used while it was made,
and has those of the tables that were read, but for a table whose every change that
matters reaches its key by a rule. It is not stored where something was read whose
changes nobody would hear of.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol
from weakref import ref

from pydantic import SecretStr

from app.cache.engine.entry import (
    Entry,
    namespaces_of,
    new_version,
    owner_of,
    place,
    seal,
    unseal,
    version_place,
)
from app.cache.engine.flight import Flights
from app.cache.engine.rules import all_tables
from app.cache.engine.store import CLOSED, Store, StoreError

log = logging.getLogger("app.cache")

# Seconds. A version that expires costs a miss, never a stale read, as the next one is
# another. It lives as long as an entry needs it.
VERSION_TTL = 60
_SLACK = 3


class Settings(Protocol):
    """What a cache has to be told; times are in seconds, sizes in bytes."""

    @property
    def cache_prefix(self) -> str: ...
    @property
    def cache_default_ttl(self) -> int: ...
    @property
    def cache_fence_ttl(self) -> float: ...
    @property
    def cache_max_body_bytes(self) -> int: ...
    @property
    def cache_ignored_headers(self) -> Sequence[str]: ...
    @property
    def database_url(self) -> str: ...
    @property
    def secret_key(self) -> SecretStr: ...


class Reading:
    """The reads of one run. Those of a cached function inside have their own.

    `versions` are those of the cached values that were used, by namespace. `complete`
    turns false when something was read that no version tells of. `transactions` counts
    those that were begun, `open` (of the outermost run) those that are under way: what
    is looked up after their begin could be newer than what they read. `tables` are the
    tables that were read: for each statement, the namespaces that every change of what
    it read is sure to touch.
    """

    def __init__(self, outer: "Reading | None" = None) -> None:
        self.root: Reading = outer.root if outer else self
        self.versions: dict[str, str] = {}
        self.tables: dict[str, set[frozenset[str]]] = {}
        self.complete = True
        self.transactions = 0
        self.open = 0
        self.under_way: set[Any] = set()  # those, in whichever task they began
        self.ahead: dict[str, bytes | None] = {}  # what was read when it began
        self.renewals = 0  # that its cache had done when that was read
        self.used: dict[str, None] = {}  # the places that it asked for, in order
        self.first: frozenset[str] = frozenset()  # those known before it did anything

    def use(self, versions: Mapping[str, str] | None) -> None:
        """Take note of a cached value that was used; None: nothing tells of changes."""
        if versions is None:
            self.complete = False
            return
        for name, version in versions.items():
            if self.versions.setdefault(name, version) != version:
                self.complete = False  # it was renewed between two reads

    def use_nothing(self) -> None:
        """Take back what was used: it went no further than a check."""
        self.versions, self.tables, self.complete = {}, {}, True

    def begin(self) -> None:
        """Take note of a transaction."""
        self.transactions += 1
        self.root.open += 1

    def end(self) -> None:
        """Take note of a transaction's end."""
        self.root.open -= 1

    def saw(self, table: str, reached: frozenset[str]) -> None:
        """Take note of a table that a statement reads."""
        self.tables.setdefault(table, set()).add(reached)

    def uncovered(self, key: str) -> list[str]:
        """Return the tables that may change without a rule that reaches the key."""
        above = frozenset(namespaces_of(key))
        return [
            table
            for table, each in self.tables.items()
            if any(above.isdisjoint(reached) for reached in each)
        ]

    async def fetch(self, cache: "Cache", places: Sequence[str]) -> list[bytes | None]:
        """Return what is stored, or was when this very request began.

        That is as good: a version that was current then has no older data under it than
        the request may see. Where this process has renewed anything since, it is read
        now.
        """
        root = self.root
        if root.renewals != cache.renewals:
            self.forget()
        root.used.update(dict.fromkeys(places))
        wanted = [p for p in places if p not in root.ahead]
        if not wanted:
            return [root.ahead[p] for p in places]
        found = dict(zip(wanted, await cache.store.get_many(wanted), strict=True))
        return [found[p] if p in found else root.ahead[p] for p in places]

    async def look_ahead(self, cache: "Cache", places: Sequence[str]) -> None:
        """Read what the same request needed before, all in one round trip.

        It is a hint: what is not needed now is read in vain, and the rest as usual.
        """
        self.renewals = cache.renewals
        self.ahead = dict(zip(places, await cache.store.get_many(places), strict=True))
        self.first = frozenset(places)

    def knew(self, places: Sequence[str]) -> bool:
        """Tell whether these were read before any transaction of this run began."""
        root = self.root
        return not root.transactions or root.first.issuperset(places)

    def forget(self) -> None:
        """Read everything anew: something was changed, or time has passed."""
        self.root.ahead = {}
        self.root.first = frozenset()


reading_now: ContextVar[Reading | None] = ContextVar("cache_reading", default=None)
# The transactions of this task that began where nothing is read for the cache.
outside: ContextVar[tuple[Any, ...]] = ContextVar("cache_outside", default=())
# What may come to be stored, and the event loop that runs it.
under_way: dict[ref[Reading], asyncio.AbstractEventLoop] = {}


def doubt_runs_elsewhere() -> None:
    """Take note of a read that may be that of any run in another thread."""
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    for each, loop in under_way.copy().items():  # others change it meanwhile
        reading = each()
        if reading is not None and loop is not here:
            reading.use(None)


class Lookup(NamedTuple):
    """What the cache knew of a place, and of its key's versions, at one moment.

    `versions` are the current ones, None when the store could not be asked or one of
    them is closed: then nothing may be stored. `tables` are those of tables that a run
    may read. `entry` is one that may be served now. `first` says that all that was
    known before any transaction of the request began.
    """

    place: str
    versions: dict[str, str] | None = None
    entry: Entry | None = None
    tables: Mapping[str, str] = MappingProxyType({})
    first: bool = False


@dataclass(slots=True)
class TablesRead:
    """The tables that the entries of a cached function depend on, as its runs tell.

    Before its first run nobody can tell, so they may be all.
    """

    names: set[str] = field(default_factory=set)
    known: bool = False

    def learn(self, names: Iterable[str]) -> None:
        """Take in what a run has read."""
        self.names.update(names)
        self.known = True


@dataclass(slots=True)
class Wanted:
    """What is looked for: `place` may come to know more of what a key depends on.

    `ttl` is in seconds. `reading` takes what the run will read, `read` has what earlier
    ones did; without a run, that is nothing. `accepts` tells whether an entry that may
    be served is of use.
    With `fresh`, a run has to begin now. `storable` says that nothing was read yet;
    None that the lookup has to tell whether that matters.
    """

    key: str
    place: Callable[[], str]
    ttl: int
    reading: Reading = field(default_factory=Reading)
    read: TablesRead = field(default_factory=partial(TablesRead, known=True))
    accepts: Callable[[Entry], bool] = lambda _: True
    fresh: bool = False
    storable: bool | None = True
    in_thread: bool = False


class Found(NamedTuple):
    """An entry that answers; `collapsed` says that another request's run made it."""

    entry: Entry
    collapsed: bool = False


class Cache:
    """The cache of one running application.

    `again` opens its store for an event loop that cannot wait for this one.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        revision: str = "",
        *,
        again: Callable[[], Awaitable[Store]] | None = None,
    ) -> None:
        secret = settings.secret_key.get_secret_value().encode()
        self.store = store
        self.settings = settings
        self.prefix = settings.cache_prefix
        self.secret = blake2b(secret, digest_size=32, person=b"cache identity").digest()
        # Applications with one prefix may have two databases, or one before and after
        # a migration.
        sealed = secret + f"{settings.database_url} {revision}".encode()
        self._seal = blake2b(sealed, digest_size=32, person=b"cache seal").digest()
        self.loop = asyncio.get_running_loop()
        self.again = again
        self.flights: Flights[tuple[str, Entry]] = Flights()
        self.renewals = 0
        # Each is called with the cause and the namespaces.
        self.on_invalidation: list[Callable[[str, Sequence[str]], object]] = []

    def place(self, key: str, variant: str) -> str:
        """Return where the entry of a key is stored, of the variants that it has."""
        return f"{place(self.prefix, 'entry', key)}#{variant}"

    async def find(self, wanted: Wanted) -> Found | Lookup:
        """Return an entry that answers, or what is known of its key without one."""
        lookup = await self.lookup(wanted)
        entry = None if wanted.fresh else lookup.entry
        if entry is not None and wanted.accepts(entry):
            return Found(entry)
        return lookup

    async def lookup(self, wanted: Wanted) -> Lookup:
        """Read an entry and the versions that it needs, in one round trip.

        Versions that are begun for it live a little longer than it.
        """
        place, reading = wanted.place(), wanted.reading
        own = namespaces_of(wanted.key)
        names = list(dict.fromkeys([*own, *sorted(wanted.read.names)]))
        places = [version_place(self.prefix, name) for name in names]
        seconds = wanted.ttl + _SLACK
        try:
            data, *found = await reading.fetch(self, [place, *places])
            found = await self._begin(places, found, seconds)
            known = dict(zip(names, map(_text, found), strict=True))
            entry = await self.current(self.read(data, place), known, reading)
            if entry is None and not wanted.read.known:
                others = sorted(all_tables() - known.keys())
                more = [version_place(self.prefix, name) for name in others]
                found = await reading.fetch(self, more)
                found = await self._begin(more, found, seconds)
                known.update(zip(others, map(_text, found), strict=True))
                places += more
        except StoreError as error:
            log.warning("Cache lookup failed: %s", error)
            return Lookup(place)
        open_ = {n: v for n, v in known.items() if not v.startswith(_CLOSED)}
        versions = {n: open_[n] for n in own} if open_.keys() >= set(own) else None
        return Lookup(place, versions, entry, open_, reading.knew(places))

    def read(self, data: bytes | None, place: str) -> Entry | None:
        """Return the entry that was stored in this place and has not expired."""
        entry = unseal(data, place, self._seal)
        return None if entry is None or entry.expires_at <= time.time() else entry

    async def current(
        self, entry: Entry | None, known: Mapping[str, str], reading: Reading
    ) -> Entry | None:
        """Return the entry if all that it depends on is unchanged: it may be served.

        `known` are versions that were read in this run; others are read here. Raises
        StoreError when they cannot be.
        """
        if entry is None:
            return None
        others = [name for name in entry.versions if name not in known]
        if others:
            places = [version_place(self.prefix, name) for name in others]
            found = await reading.fetch(self, places)
            known = {**known, **dict(zip(others, map(_text, found), strict=True))}
        same = all(known[name] == was for name, was in entry.versions.items())
        return entry if same else None

    async def _begin(
        self, places: Sequence[str], found: Sequence[bytes | None], seconds: int
    ) -> list[bytes | None]:
        """Return the versions, with new ones stored for those that are not there."""
        if all(found):
            return list(found)
        now = dict(zip(places, found, strict=True))
        fresh = {place: new_version().encode() for place in places if not now[place]}
        begun = await self.store.add_many(fresh, seconds)
        now.update(zip(fresh, begun, strict=True))
        return [now[place] for place in places]

    async def keep(
        self, place: str, entry: Entry, *, lease: str = "", owner: bytes = b""
    ) -> bool:
        """Store an entry until it expires; False when the store did not take it.

        A lease goes back with it, and the versions that it needs live as long as it.
        """
        seconds = int(entry.expires_at - entry.stored_at)
        data = seal(entry, place, self._seal)
        versions = {
            version_place(self.prefix, name): version.encode()
            for name, version in entry.versions.items()
        }
        try:
            await self.store.put(place, data, seconds, versions, lease, owner)
        except StoreError as error:
            log.warning("Cache store failed: %s", error)
            return False
        return True

    async def fence(self, namespaces: Iterable[str], owner: bytes) -> None:
        """Close the namespaces, until this owner invalidates them or dies.

        It never raises: without a fence, only a crash leaves something stale.
        """
        places = {version_place(self.prefix, owner_of(name)) for name in namespaces}
        try:
            await self.store.fence(places, owner, self.settings.cache_fence_ttl)
        except StoreError as error:
            log.warning("Cache fence failed: %s", error)

    async def invalidate(
        self, namespaces: Iterable[str], cause: str, owner: bytes = b""
    ) -> None:
        """Drop every entry below each of the namespaces; an empty one drops all.

        With `owner`, lift the fence that it has put up. The log says the `cause`.
        """
        names = sorted({owner_of(name) for name in namespaces})
        fresh = {version_place(self.prefix, n): new_version().encode() for n in names}
        try:
            await self.store.renew(fresh, VERSION_TTL, owner)
        except StoreError as error:
            log.error("Cache invalidation failed for %s: %s", names, error)
        else:
            shown = ", ".join(name or "everything" for name in names)
            log.info("Cache invalidated by %s: %s", cause, shown)
            for heard in self.on_invalidation:
                heard(cause, names)
        finally:
            self.renewals += 1

    def tables(self) -> set[str]:
        """Return the namespaces of the tables whose changes it hears of."""
        return all_tables()

    def numbers(self) -> dict[str, float]:
        """Return what there is now, in this process."""
        flights = {"flights": len(self.flights), "waiters": self.flights.waiting}
        return {**self.store.numbers(), **flights}


_CLOSED = CLOSED.decode()


def _text(version: bytes | None) -> str:
    return (version or b"").decode("ascii", "replace")
