"""The numbers of /metrics about the cache, put together as the page shows them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from prometheus_client.metrics_core import Metric

from app.metrics.cache import HELD, HITS
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
