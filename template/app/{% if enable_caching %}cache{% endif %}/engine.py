"""Looking up, storing and invalidating, over any backend.

The order of steps is what makes a stale read impossible: a lookup reads the versions
of an entry's namespaces *before* the handler runs, a store writes those versions with
the entry, and a write renews them after its commit and before it is acknowledged. A
slow handler that read old data therefore stores it under versions that are gone.

A write whose process may die before it renews them closes them before its commit, for
a few seconds: a fence. What is read while one stands is neither served nor stored.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from app.cache.entry import Entry, decode
from app.cache.flight import Flights
from app.cache.journal import Journal
from app.cache.namespaces import namespaces_of, new_token, owner_of, storage_key
from app.cache.storage import FENCE, Storage, StorageError
from app.config import Settings

log = logging.getLogger("app.cache")

# A token that expires costs a miss, never a stale read; 32 days outlive any entry.
TOKEN_TTL = 2_764_800
ATTEMPTS = 3  # at an invalidation, before it is left to the journal
LEASE = 10  # seconds that other processes wait for the one that runs a handler


class Lookup(NamedTuple):
    """What the cache knew of a key, read in one moment.

    `tokens` are the current versions, None when the backend could not be asked or one
    of them is closed: then nothing may be stored. `entry` is set when there is one that
    is valid now.
    """

    key: str
    tokens: tuple[str, ...] | None
    entry: Entry | None


class Engine:
    """The cache of one running application."""

    def __init__(
        self,
        storage: Storage,
        *,
        prefix: str,
        ttl: int,
        fence_ttl: float,
        max_body: int,
        secret: bytes,
    ) -> None:
        self.storage = storage
        self.prefix = prefix
        self.ttl = ttl
        self.fence_ttl = fence_ttl
        self.max_body = max_body
        self.secret = secret
        self.loop = asyncio.get_running_loop()
        self.flights: Flights[Entry] = Flights()
        self.journal = Journal(self._renew)

    @classmethod
    def over(cls, storage: Storage, settings: Settings) -> "Engine":
        """Return the cache that the settings describe."""
        secret = settings.secret_key.get_secret_value().encode()
        return cls(
            storage,
            prefix=settings.cache_prefix,
            ttl=settings.cache_default_ttl,
            fence_ttl=settings.cache_fence_ttl,
            max_body=settings.cache_max_body_bytes,
            secret=blake2b(secret, digest_size=32, person=b"cache identity").digest(),
        )

    async def lookup(self, key: str, fingerprint: str) -> Lookup:
        """Read an entry and the versions of its namespaces, in one round trip."""
        if self.journal:
            return Lookup(key, None, None)
        places = _places(self.prefix, key, fingerprint)
        try:
            data, *tokens = await self.storage.get_many(places)
            if not all(tokens):
                tokens = await self._begin(places[1:], tokens)
        except StorageError as error:
            log.warning("Cache lookup failed: %s", error)
            return Lookup(key, None, None)
        current = tuple([(t or b"").decode("ascii", "replace") for t in tokens])
        entry = self.valid(data, current, fingerprint)
        if entry is None and any(t and t.startswith(FENCE) for t in tokens):
            return Lookup(key, None, None)
        return Lookup(key, current, entry)

    async def recall(
        self, key: str, fingerprint: str, sources: Mapping[str, str]
    ) -> Entry | None:
        """Return the entry of a key that is valid while these tokens are current.

        One round trip, which changes nothing.
        """
        if self.journal:
            return None
        places = _places(self.prefix, key, fingerprint)
        try:
            data, *now = await self.storage.get_many([*places, *sources])
        except StorageError as error:
            log.warning("Cache lookup failed: %s", error)
            return None
        found = tuple([(token or b"").decode("ascii", "replace") for token in now])
        tokens = found[: len(places) - 1]
        if found[len(tokens) :] != tuple(sources.values()):
            return None
        return self.valid(data, tokens, fingerprint)

    async def _begin(
        self, places: Sequence[str], tokens: Sequence[bytes | None]
    ) -> list[bytes | None]:
        """Return the tokens, with new ones stored for those that are not there."""
        now = dict(zip(places, tokens, strict=True))
        fresh = {place: new_token().encode() for place in places if not now[place]}
        begun = await self.storage.add_many(fresh, TOKEN_TTL)
        now.update(zip(fresh, begun, strict=True))
        return [now[place] for place in places]

    def valid(
        self, data: bytes | None, tokens: tuple[str, ...] | None, fingerprint: str
    ) -> Entry | None:
        """Return the entry that `data` holds if it may be served under `tokens`."""
        entry = decode(data)
        if (
            entry is None
            or entry.tokens != tokens
            or entry.fingerprint != fingerprint
            or entry.expires_at <= time.time()
        ):
            return None
        return entry

    def tokens_of(self, key: str, tokens: Sequence[str]) -> dict[str, str]:
        """Return where each of a key's tokens is stored, with its value."""
        return dict(zip(map(self.token_key, namespaces_of(key)), tokens, strict=False))

    async def unchanged(self, tokens: Mapping[str, str]) -> bool:
        """Tell whether these are still the versions, by where they are stored."""
        if not tokens:
            return True
        try:
            now = await self.storage.get_many(list(tokens))
        except StorageError:
            return False
        return now == [token.encode() for token in tokens.values()]

    async def store(
        self, key: str, entry: Entry, *, lease: str | None = None, owner: bytes = b""
    ) -> bool:
        """Store an entry until it expires; False when the backend did not take it.

        A lease goes back with it.
        """
        remaining = int(entry.expires_at - entry.stored_at)
        place, data = self.entry_key(key, entry.fingerprint), entry.encode()
        try:
            await self.storage.put(place, data, remaining, lease=lease, owner=owner)
        except StorageError as error:
            log.warning("Cache store failed: %s", error)
            return False
        return True

    async def fence(self, namespaces: Iterable[str], owner: bytes) -> None:
        """Close the namespaces, until this owner invalidates them or dies.

        It never raises: without a fence, only a crash leaves something stale.
        """
        keys = {self.token_key(owner_of(name)) for name in namespaces}
        try:
            await self.storage.fence(keys, owner, self.fence_ttl)
        except StorageError as error:
            log.warning("Cache fence failed: %s", error)

    async def invalidate(self, namespaces: Iterable[str], owner: bytes = b"") -> None:
        """Drop every entry below each of the namespaces; an empty one drops all.

        With `owner`, lift the fence that it has put up.
        """
        names = {owner_of(name) for name in namespaces}
        for _ in range(ATTEMPTS):
            if await self._renew(names, owner):
                return
        self.journal.add(names)

    async def _renew(self, names: Collection[str], owner: bytes = b"") -> bool:
        renewed = {self.token_key(name): new_token().encode() for name in names}
        try:
            await self.storage.renew(renewed, TOKEN_TTL, owner)
        except StorageError as error:
            log.error("Cache invalidation failed for %s: %s", sorted(names), error)
            return False
        log.debug("Cache invalidated: %s", ", ".join(sorted(names)))
        return True

    def entry_key(self, key: str, fingerprint: str) -> str:
        """Return where a route's entry of a key is stored."""
        return storage_key(self.prefix, "entry", f"{key}#{fingerprint}")

    def token_key(self, namespace: str) -> str:
        """Return where the version of a namespace is stored."""
        return storage_key(self.prefix, "token", namespace)


@lru_cache(maxsize=4096)
def _places(prefix: str, key: str, fingerprint: str) -> tuple[str, ...]:
    """Return where an entry is stored, and then its namespaces' tokens."""
    tokens = (storage_key(prefix, "token", name) for name in namespaces_of(key))
    return storage_key(prefix, "entry", f"{key}#{fingerprint}"), *tokens


_running: Engine | None = None


def running() -> Engine | None:
    """Return the cache of the running application, None while there is none."""
    return _running


def start(engine: Engine | None) -> None:
    """Make `engine` the running one; None ends it."""
    global _running
    _running = engine
