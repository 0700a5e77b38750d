"""Whether Redis is used, and what was invalidated without it.

Closed, Redis is used; open, it is not. It opens at any failure, so that no request
waits where another one has waited in vain, and stays open while this process or another
one on this machine keeps an invalidation that Redis has not confirmed.
"""

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from app.cache.engine.memory import EPOCH_FILE, Epoch, end_epoch
from app.cache.engine.redis.markers import ALONE, UNDELIVERED, Marker

log = logging.getLogger("app.cache")

OTHERS = "another process on this machine could not invalidate in it"
LIMIT = 1000  # invalidations; beyond that, everything is invalidated


@dataclass(slots=True)
class Outage:
    """A time in which Redis is not used; `since` is by the monotonic clock.

    It is `confirmed` when a second attempt has failed, too: then the log has it. When
    Redis `works`, it lasts only until the others have delivered what they keep, and
    this process keeps nothing any more.
    """

    reason: str
    since: float
    confirmed: bool = False
    works: bool = False
    replayed: int = 0


@dataclass(eq=False, slots=True)
class Entry:
    """A version to renew; one of a transaction under way is due when that has ended."""

    held_until: float  # by the monotonic clock


class Unconfirmed:
    """Versions that have to be renewed in Redis, each with the owner of its fence."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._entries: dict[tuple[str, bytes], Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, keys: Collection[str], owner: bytes, hold: float = 0.0) -> None:
        """Keep versions; those of a transaction under way are due in `hold` seconds."""
        until = time.monotonic() + hold
        self._entries.update(((key, owner), Entry(until)) for key in keys)
        if len(self._entries) > LIMIT:
            self._entries = {(self._root, b""): Entry(0.0)}

    def due(self) -> dict[tuple[str, bytes], Entry]:
        """Return what can be delivered now."""
        now = time.monotonic()
        return {k: e for k, e in self._entries.items() if e.held_until <= now}

    def all(self) -> dict[tuple[str, bytes], Entry]:
        """Return everything."""
        return dict(self._entries)

    def confirm(self, tried: dict[tuple[str, bytes], Entry]) -> None:
        """Forget what was delivered, but not what was added again meanwhile."""
        for key, entry in tried.items():
            if self._entries.get(key) is entry:
                del self._entries[key]


class Breaker:
    """The state that one process shares: its outage, and what it has to deliver.

    Nothing here awaits, so each step is one for all that run on the event loop.
    `on_open` is called when it opens.
    """

    def __init__(self, root: str, location: str) -> None:
        self.outage: Outage | None = None
        self.openings = 0
        self.unconfirmed = Unconfirmed(root)
        self.undelivered = Marker(UNDELIVERED)
        self.alone = Marker(ALONE)
        self.on_open: Callable[[], None] = lambda: None
        self._location = location
        self._used = False
        self._epoch = Epoch(EPOCH_FILE)
        self._warned = False

    @property
    def is_open(self) -> bool:
        """Whether Redis may not be read."""
        return self.outage is not None

    @property
    def takes_writes(self) -> bool:
        """Whether invalidations can go to Redis."""
        return self.outage is None or self.outage.works

    def look_around(self) -> bool:
        """Open if another process was just cut off from Redis; return `is_open`."""
        if self.outage is None and self._epoch.ended() and self.undelivered.others():
            self.open(OTHERS)
        return self.outage is not None

    def open(self, reason: str) -> None:
        """Stop using Redis."""
        if self.outage is None:
            self.outage = Outage(reason, time.monotonic())
            self.openings += self._used
            log.debug("Redis at %s: %s", self._location, reason)
            self._write(self.alone.show)
            self.on_open()

    def keep_open(self, reason: str, *, works: bool = False) -> None:
        """Take note that Redis cannot be used now; the first time, say so."""
        self.open(reason)
        outage = self.outage
        if outage is None:
            return
        outage.works = works
        if not outage.confirmed:
            outage.confirmed = True
            outage.reason = reason
            log.warning(
                "%s Redis at %s: %s. Caching in this process's memory until it works.",
                "Lost" if self._used else "Failed to connect to",
                self._location,
                reason,
            )

    def close(self) -> bool:
        """Use Redis, unless there is anything that it does not know of."""
        self._epoch.ended()  # what comes from here on is seen by `look_around`
        outage = self.outage
        if outage is None or self.unconfirmed or self.undelivered.others():
            return False
        self.outage = None
        self.alone.remove()
        how_long = time.monotonic() - outage.since
        if not self._used:
            log.log(
                logging.WARNING if outage.confirmed else logging.INFO,
                "Caching in Redis at %s",
                self._location,
            )
        elif outage.confirmed:
            log.warning(
                "Redis at %s works again, after %.1f s; delivered %d invalidations",
                *(self._location, how_long, outage.replayed),
            )
        else:
            log.info(
                "Redis at %s failed for %.0f ms: %s",
                *(self._location, how_long * 1000, outage.reason),
            )
        self._used = True
        return True

    def keep(self, keys: Collection[str], owner: bytes, hold: float = 0.0) -> None:
        """Keep versions that Redis did not renew, or did not close, until it does."""
        self.unconfirmed.add(keys, owner, hold)
        if self.outage is not None:
            self.outage.works = False
        self._write(self.undelivered.show)
        if not hold:
            self._write(end_epoch)

    def tell_others(self) -> None:
        """Have processes that answer from their memory forget it."""
        if self.outage is not None or self.alone.others():
            self._write(end_epoch)

    def delivered(self, tried: dict[tuple[str, bytes], Entry]) -> None:
        """Take note that Redis has renewed versions."""
        self.unconfirmed.confirm(tried)
        if self.outage is not None:
            self.outage.replayed += len(tried)
        if not self.unconfirmed:
            self.undelivered.remove()

    def end(self) -> None:
        """Leave what is undelivered to another process, with one line."""
        self.alone.remove()
        if not self.unconfirmed or self.outage is None:
            return
        log.warning(
            "Redis at %s has not confirmed %d invalidations: %s. %s",
            self._location,
            len(self.unconfirmed),
            self.outage.reason,
            "Run `api-admin cache clear` when it works."
            if self._warned
            else "The service drops everything from it as soon as both run.",
        )
        self.undelivered.leave()

    def _write(self, file: Callable[[], None]) -> None:
        if self._warned:
            return
        try:
            file()
        except OSError as error:
            self._warned = True
            log.warning(
                "Other processes cannot be told of changes while Redis is away, and "
                "may answer for a short time with what was before: %s",
                error,
            )
