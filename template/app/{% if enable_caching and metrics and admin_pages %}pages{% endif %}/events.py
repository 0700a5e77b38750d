"""What happened to the cache lately, in all processes of this service.

Each process keeps the last events of each kind, and writes them as lines of JSON beside
the files of its numbers, where the others find them: names and reasons, as the log has
them, and no more.
"""

import asyncio
import json
import os
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from app.logs import CACHE
from app.metrics.numbers import numbers

MOST = 50  # of a kind, in each process
MOST_NAMES = 8
LONGEST = 120  # characters of a name or a reason
PAUSE = 1.0  # seconds between two writes


class Event(NamedTuple):
    """What happened at `time`, in Unix time, to what, why, and in which process."""

    time: float
    kind: str
    why: str
    names: list[str]
    process: int


class Events:
    """The events of this process, in a file that all can read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / f"events_{os.getpid()}.jsonl"
        self._kept: dict[str, deque[Event]] = defaultdict(partial(deque, maxlen=MOST))
        self._changed = False
        self._warned = False

    def note(self, kind: str, why: str, names: Iterable[str] = ()) -> None:
        """Keep an event."""
        all_names = [name[:LONGEST] for name in names]
        shown = all_names[:MOST_NAMES]
        if more := len(all_names) - len(shown):
            shown.append(f"and {more} more")
        event = Event(time.time(), kind, why[:LONGEST], shown, os.getpid())
        self._kept[kind].append(event)
        self._changed = True

    def write(self) -> None:
        """Write what is new."""
        if not self._changed:
            return
        self._changed = False
        lines = [json.dumps(each) for kept in self._kept.values() for each in kept]
        new = self._file.with_suffix(".new")
        try:
            new.touch(mode=0o600)
            new.write_text("\n".join(lines), "utf-8")
            new.replace(self._file)  # nobody reads half of it
        except OSError as error:
            if not self._warned:
                self._warned = True
                CACHE.warning("/admin/cache lacks what happens here: %s", error)

    def of_all(self) -> list[Event]:
        """Return what all processes have written, the last one first."""
        found: list[Event] = []
        for file in self._folder.glob("events_*.jsonl"):
            lines = file.read_text("utf-8").splitlines()
            found += [Event(*json.loads(line)) for line in lines]
        return sorted(found, reverse=True)

    @asynccontextmanager
    async def written(self) -> AsyncIterator[None]:
        """Write them down, soon after they happened."""
        writing = asyncio.create_task(self._go_on(), name="events")
        try:
            yield
        finally:
            writing.cancel()
            with suppress(asyncio.CancelledError):
                await writing
            self.write()

    async def _go_on(self) -> None:
        while True:
            self.write()
            await asyncio.sleep(PAUSE)


@cache
def events() -> Events:
    """Return those of this process: its applications share them."""
    return Events(numbers().folder)
