"""What the page shows of all processes of this service: numbers, and the last events.

The numbers are those of /metrics. Each process keeps the last events of each kind, and
writes them as lines of JSON beside the files of its numbers, where the others find
them: names and reasons, as the log has them, and no more.
"""

import asyncio
import json
import os
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from prometheus_client.metrics_core import Metric

from app.logs import CACHE
from app.metrics.cache import HELD, HITS
from app.metrics.numbers import numbers
from app.metrics.store import GROWS

OUTCOMES = ("hit", "revalidated", "collapsed", "miss", "bypass")


@dataclass(slots=True)
class Route:
    """What became of the requests of a cached route."""

    name: str
    counts: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    saved: float | None = None  # seconds

    @property
    def requests(self) -> float:
        return sum(self.counts.values())

    @property
    def ratio(self) -> float | None:
        """How many of all were answered without a run of the handler, 0 to 1."""
        hits = sum(self.counts[outcome] for outcome in HITS)
        return hits / self.requests if self.requests else None

    def average(self, *outcomes: str) -> float | None:
        """Return the seconds that one takes of these."""
        number = sum(self.counts[outcome] for outcome in outcomes)
        total = sum(self.sums[outcome] for outcome in outcomes)
        return total / number if number else None


class Reason(NamedTuple):
    """Why requests of a route were no plain hits, and how many; mostly in a word."""

    route: str
    outcome: str
    detail: str
    number: float


class Numbers(NamedTuple):
    """All that the page shows; `all` is the sum of the routes."""

    routes: list[Route]
    all: Route
    reasons: list[Reason]
    causes: list[tuple[str, float]]
    held: dict[str, float]


def put_together(found: Iterable[Metric]) -> Numbers:
    """Sort what was counted by route, by reason and by cause."""
    samples = [sample for metric in found for sample in metric.samples]
    routes: dict[str, Route] = {}
    reasons: list[Reason] = []
    causes: list[tuple[str, float]] = []
    held = dict.fromkeys([*HELD, *GROWS], 0.0)
    for name, labels, value, *_ in samples:
        if name.startswith("cache_request_seconds_"):
            route = routes.setdefault(labels["route"], Route(labels["route"]))
            counts = name.endswith("_count")
            (route.counts if counts else route.sums)[labels["outcome"]] += value
            if counts and (labels["detail"] or labels["outcome"] not in HITS):
                reasons.append(Reason(*_words(labels), value))
        elif name == "cache_invalidations_total":
            causes.append((labels["cause"], value))
        elif (short := name.removeprefix("cache_").removesuffix("_total")) in held:
            held[short] = value
    for name, labels, value, *_ in samples:
        if name == "cache_saved_seconds":
            routes[labels["route"]].saved = value
    return Numbers(
        sorted(routes.values(), key=lambda route: (-route.requests, route.name)),
        _sum_of(routes.values()),
        sorted(reasons, key=lambda reason: (-reason.number, reason)),
        sorted(causes, key=lambda cause: (-cause[1], cause)),
        held,
    )


def _words(labels: dict[str, str]) -> tuple[str, str, str]:
    return labels["route"], labels["outcome"], labels["detail"]


def _sum_of(routes: Iterable[Route]) -> Route:
    total = Route("")
    for route in routes:
        for outcome, number in route.counts.items():
            total.counts[outcome] += number
            total.sums[outcome] += route.sums[outcome]
        if route.saved is not None:
            total.saved = (total.saved or 0.0) + route.saved
    return total


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
