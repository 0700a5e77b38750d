"""Whether Redis is used, and what it does not know yet.

Closed, Redis is used; open, it is not. It opens at any failure, so that no request
waits where another one has waited in vain, and stays open while this process or another
one on this machine keeps an invalidation that Redis has not confirmed.

The processes of a machine know how each other stands with Redis by their markers. A
process has one of a kind while that holds.
"""

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.cache.engine.processes import Marker, end_epoch

log = logging.getLogger("app.cache")

UNDELIVERED = "undelivered"  # it keeps invalidations for Redis
ALONE = "alone"  # it answers from its own memory
OTHERS = "another process on this machine could not invalidate in it"
LIMIT = 1000  # invalidations; beyond that, everything is invalidated


@dataclass(slots=True)
class Outage:
    """A time in which Redis is not used; `since` is by the monotonic clock.

    It is `confirmed` when a second attempt has failed, too: then the log has it. When
    Redis `works`, it lasts only until nobody keeps anything.
    """

    reason: str
    since: float
    confirmed: bool = False
    works: bool = False
    delivered: int = 0


# Undelivered invalidations by version and owner of its fence, with the time from which
# on they are due, by the monotonic clock: for some, a transaction is under way.
Kept = dict[tuple[str, bytes], float]


class Breaker:
    """What one process knows of Redis.

    Nothing here awaits, so each step is one for all that run on the event loop. The
    processes of a machine share the `epoch`, and its folder. `on_open` is called
    when it opens.
    """

    def __init__(
        self, root: str, location: str, epoch: Path, on_open: Callable[[], None]
    ) -> None:
        self.outage: Outage | None = None
        self.openings = 0  # but for the first, before Redis was used at all
        self.kept: Kept = {}
        self.undelivered = Marker(epoch, UNDELIVERED)
        self.alone = Marker(epoch, ALONE)
        self._end_epoch = partial(end_epoch, epoch)
        self._root = root
        self._location = location
        self._on_open = on_open
        self._used = False
        self._unheard = False

    @property
    def takes_writes(self) -> bool:
        """Whether invalidations can go to Redis."""
        return self.outage is None or self.outage.works

    def open(self, reason: str) -> None:
        """Stop using Redis."""
        if self.outage is None:
            self.outage = Outage(reason, time.monotonic())
            if self._used:
                self.openings += 1
                log.info("Redis at %s failed: %s", self._location, reason)
            self._tell(self.alone.show)
            self._on_open()

    def take_writes(self) -> None:
        """Let invalidations go to Redis, so that there is an end to what is kept."""
        if self.outage is not None:
            self.outage.works = True

    def stay_open(
        self, reason: str, *, works: bool = False, refused: bool = False
    ) -> None:
        """Take note that Redis cannot be used yet; the first time, say so.

        It may have answered, and `refused` what it was asked for.
        """
        outage = self.outage
        if outage is None:
            return
        outage.reason, outage.works = reason, works
        if not outage.confirmed:
            outage.confirmed = True
            what = "Lost" if self._used else "Failed to connect to"
            log.warning(
                "%s Redis at %s: %s. Caching in this process's memory until it works.",
                "Refused by" if refused else what,
                self._location,
                reason,
            )

    def close(self) -> bool:
        """Use Redis, unless there is anything that it does not know of.

        While it is the others who keep something, let at least writes go to it.
        """
        outage = self.outage
        if outage is None or self.kept:
            return False
        if self.undelivered.others():
            self.stay_open(OTHERS, works=True)
            return False
        self.outage = None
        self.alone.remove()
        level = logging.WARNING if outage.confirmed else logging.INFO
        if self._used:
            log.log(
                level,
                "Redis at %s works again, after %.1f s; delivered %d invalidations",
                *(self._location, time.monotonic() - outage.since, outage.delivered),
            )
        else:
            log.log(level, "Caching in Redis at %s", self._location)
        self._used = True
        return True

    def keep(self, keys: Collection[str], owner: bytes, hold: float = 0.0) -> None:
        """Keep versions that Redis did not renew, or did not close, until it does.

        Those of a transaction under way are due in `hold` seconds.
        """
        due = time.monotonic() + hold
        self.kept.update(((key, owner), due) for key in keys)
        if len(self.kept) > LIMIT:
            self.kept = {(self._root, b""): time.monotonic()}
        if self.outage is not None:
            self.outage.works = False
        self._tell(self.undelivered.show)
        self._tell(self._end_epoch)

    def tell_those_alone(self) -> None:
        """Have processes that answer from their memory forget it."""
        if self.alone.others_live():
            self._tell(self._end_epoch)

    def due(self) -> Kept:
        """Return what can be delivered now."""
        now = time.monotonic()
        return {each: due for each, due in self.kept.items() if due <= now}

    def kept_of(self, keys: Collection[str], owner: bytes) -> Kept:
        """Return what is kept of these versions for this owner."""
        mine = ((key, owner) for key in keys)
        return {each: self.kept[each] for each in mine if each in self.kept}

    def deliver(self, tried: Kept) -> None:
        """Forget what Redis has confirmed, but not what was kept again meanwhile."""
        for each, due in tried.items():
            if self.kept.get(each) is due:  # one kept again is another object
                del self.kept[each]
        if self.outage is not None:
            self.outage.delivered += len(tried)
        if not self.kept:
            self.undelivered.remove()

    def end(self) -> None:
        """Leave what is undelivered to another process, with one line."""
        self.alone.remove()
        if self.kept and self.outage is not None:
            log.warning(
                "Redis at %s has not confirmed %d invalidations: %s. %s",
                self._location,
                len(self.kept),
                self.outage.reason,
                "Run `api-admin cache clear` when it works."
                if self._unheard
                else "A service that shares this folder drops everything from it as "
                "soon as both run; for one elsewhere, run `api-admin cache clear`.",
            )
            self.undelivered.leave()

    def _tell(self, others: Callable[[], None]) -> None:
        """Write what the others look at; say once that it cannot be written."""
        if self._unheard:
            return
        try:
            others()
        except OSError as error:
            self._unheard = True
            log.warning(
                "Other processes cannot be told of changes while Redis is away, and "
                "may answer for a short time with what was before: %s",
                error,
            )
