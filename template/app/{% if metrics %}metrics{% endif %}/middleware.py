"""Counts requests, and answers /metrics."""

import hmac
import time
from typing import NamedTuple

from prometheus_client import Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, State
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import NotAuthenticated, problem_response
from app.metrics.cache import CacheNumbers
from app.metrics.numbers import Numbers
from app.metrics.totals import totals
from app.middleware.requests import route_path

PATH = "/metrics"
UNMATCHED = "unmatched"
METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"}
)


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
