"""Whether Redis is used, and what it does not know yet.

Closed, Redis is used; open, it is not. It opens at any failure, so that no request
waits where another one has waited in vain, and stays open while this process or another
one on this machine keeps an invalidation that Redis has not confirmed.

The processes of a machine know how each other stands with Redis by files, the markers.
A process has one of a kind while that holds. Its lock on the file ends with the
process, however that ends: a file without a lock was left behind.
"""

import logging
import os
import secrets
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app.cache.engine.memory import EPOCH_FILE, end_epoch

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("app.cache")

UNDELIVERED = "cache-undelivered-"  # it keeps invalidations for Redis
ALONE = "cache-alone-"  # it answers from its own memory
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


@dataclass(eq=False, slots=True)
class Undelivered:
    """An invalidation for Redis, not due before the time `due`.

    That is by the monotonic clock, and to come while its transaction is under way.
    """

    due: float


Kept = dict[tuple[str, bytes], Undelivered]  # by version and owner of its fence


class Breaker:
    """What one process knows of Redis.

    Nothing here awaits, so each step is one for all that run on the event loop.
    `on_open` is called when it opens.
    """

    def __init__(self, root: str, location: str, on_open: Callable[[], None]) -> None:
        self.outage: Outage | None = None
        self.openings = 0  # but for the first, before Redis was used at all
        self.kept: Kept = {}
        self.undelivered = Marker(UNDELIVERED)
        self.alone = Marker(ALONE)
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
        self.kept.update(((key, owner), Undelivered(due)) for key in keys)
        if len(self.kept) > LIMIT:
            self.kept = {(self._root, b""): Undelivered(0.0)}
        if self.outage is not None:
            self.outage.works = False
        self._tell(self.undelivered.show)
        self._tell(end_epoch)

    def tell_those_alone(self) -> None:
        """Have processes that answer from their memory forget it."""
        if self.alone.others():
            self._tell(end_epoch)

    def due(self) -> Kept:
        """Return what can be delivered now."""
        now = time.monotonic()
        return {each: kept for each, kept in self.kept.items() if kept.due <= now}

    def deliver(self, tried: Kept) -> None:
        """Forget what Redis has confirmed, but not what was kept again meanwhile."""
        for each, kept in tried.items():
            if self.kept.get(each) is kept:
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
                else "The service drops everything from it as soon as both run.",
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


class Marker:
    """The file of one process, and its view of those of others of the same kind."""

    def __init__(self, kind: str, folder: Path = EPOCH_FILE.parent) -> None:
        self._folder = folder
        self._kind = kind
        self._path = folder / f"{kind}{secrets.token_hex(8)}"
        self._file: IO[str] | None = None
        self._done = {self._path}

    def show(self) -> None:
        """Have the file there; OSError when the folder cannot be written."""
        if fcntl is None:
            raise OSError("this system has no flock")
        if self._file is None:
            self._folder.mkdir(0o700, parents=True, exist_ok=True)
            hidden = self._path.with_name(f".{self._path.name}")
            self._file = hidden.open("w")
            fcntl.flock(self._file, fcntl.LOCK_EX)
            hidden.replace(self._path)  # nobody finds it unlocked

    def remove(self) -> None:
        """Have no file."""
        if self._file is not None:
            with suppress(OSError):
                self._path.unlink()
            self.leave()

    def leave(self) -> None:
        """Let the others find the file as that of a process which has ended."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def others(self) -> int:
        """Return how many other processes on this machine have a file."""
        return len(self._found())

    def left_behind(self) -> Iterator[Path]:
        """Yield each file whose process has ended; no other process gets it meanwhile.

        It is removed when the next one is asked for.
        """
        for path in self._found():
            with suppress(OSError), closing(path.open()) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(file.fileno()).st_nlink:  # else its owner has removed it
                    yield path
                    self._done.add(path)  # even if it may not be removed
                    path.unlink()

    def _found(self) -> set[Path]:
        return set(self._folder.glob(f"{self._kind}*")) - self._done
