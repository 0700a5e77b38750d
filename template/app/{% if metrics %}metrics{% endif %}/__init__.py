"""Numbers for Prometheus at /metrics; nothing is counted without METRICS_TOKEN.

`totals` gives the same numbers to a page of your own. A number of yours goes into
`numbers.py`: it has to be made after the files' folder is known.
"""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, State
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.config import Settings
from app.errors import NotAuthenticated, StartupError, problem_response
from app.metrics.cache import CacheNumbers, saved
from app.metrics.numbers import Numbers, forget_dead, numbers
from app.middleware.requests import route_path

__all__ = ["MIDDLEWARE", "install_metrics", "metrics_lifespan", "totals"]

PATH = "/metrics"
UNMATCHED = "unmatched"
METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"}
)
PAUSE = 1.0  # seconds between two looks at what is held


def install_metrics(app: FastAPI, settings: Settings) -> None:
    """Count requests and answer /metrics; nothing without METRICS_TOKEN."""
    token = settings.metrics_token.get_secret_value()
    if token:
        app.state.counted = None
        app.add_middleware(RequestMetrics, state=app.state, token=token)


@asynccontextmanager
async def metrics_lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Count while the application runs: its cache has to be open.

    Raises StartupError where the numbers cannot be written.
    """
    if not hasattr(app.state, "counted"):
        yield
        return
    try:
        made = numbers()
    except OSError as error:
        raise StartupError(
            f"METRICS_TOKEN is set, but data/metrics cannot be written: {error}"
        ) from error
    cache = CacheNumbers(app, made)
    cache.begin()
    app.state.counted = Counted(made, cache)
    looking = asyncio.create_task(_look(cache), name="metrics")
    try:
        yield
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        cache.look()


async def _look(cache: CacheNumbers) -> None:
    while True:
        cache.look()
        await asyncio.sleep(PAUSE)


class Counted(NamedTuple):
    """Where a running application counts."""

    numbers: Numbers
    cache: CacheNumbers


class RequestMetrics:
    """Count each request that reaches the service, but those for the metrics.

    `state` has what it counts in as `counted`, from the application's start on.
    """

    def __init__(self, app: ASGIApp, state: State, token: str) -> None:
        self.app = app
        self._state = state
        self._expected = f"Bearer {token}".encode()
        self._counters: dict[tuple[str, str, int | str], Counter] = {}
        self._seconds: dict[str, Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        counted: Counted | None = getattr(self._state, "counted", None)
        if scope["type"] != "http" or counted is None:
            await self.app(scope, receive, send)
            return
        if scope["path"] == scope.get("root_path", "") + PATH:
            await (await self._answer(scope, counted))(scope, receive, send)
            return

        start = time.perf_counter()
        status: int | str = "cancelled"

        async def send_with_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_with_status)
        finally:
            seconds = time.perf_counter() - start
            route = route_path(scope) or UNMATCHED
            self._count(counted.numbers, scope["method"], route, status, seconds)
            counted.cache.count(scope, route, status, seconds)

    def _count(
        self,
        numbers: Numbers,
        method: str,
        route: str,
        status: int | str,
        seconds: float,
    ) -> None:
        labels = method if method in METHODS else "other", route, status
        counter = self._counters.get(labels)
        if counter is None:
            counter = numbers.requests.labels(*labels)
            self._counters[labels] = counter
        counter.inc()
        histogram = self._seconds.get(route)
        if histogram is None:
            histogram = self._seconds[route] = numbers.seconds.labels(route)
        histogram.observe(seconds)

    async def _answer(self, scope: Scope, counted: Counted) -> Response:
        shown = Headers(scope=scope).get("authorization", "")
        if not hmac.compare_digest(shown.encode(), self._expected):
            return problem_response(NotAuthenticated())
        if scope["method"] != "GET":
            return Response(status_code=405, headers={"Allow": "GET"})
        counted.cache.look()
        text = await run_in_threadpool(generate_latest, totals())
        return Response(
            text,
            media_type=CONTENT_TYPE_PLAIN_0_0_4,
            headers={"Cache-Control": "no-store"},
        )


class Totals(Collector):
    """What the processes have written, and what follows from it."""

    def collect(self) -> Iterator[Metric]:
        folder = numbers().folder
        forget_dead(folder)
        files = [str(file) for file in folder.glob("*.db")]
        # The library does not say its types.
        merge: Callable[[list[str]], Iterable[Metric]] = MultiProcessCollector.merge
        found = list(merge(files))
        yield from found
        yield from saved(found)


def totals() -> CollectorRegistry:
    """Return a registry whose `collect` gives the numbers as they are then."""
    registry = CollectorRegistry()
    registry.register(Totals())
    return registry


# What leaves bodies as they are.
MIDDLEWARE: frozenset[object] = frozenset({RequestMetrics})
