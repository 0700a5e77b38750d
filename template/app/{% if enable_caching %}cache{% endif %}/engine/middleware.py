"""Pure ASGI middleware: it begins and ends each request's exchange with the cache."""

import logging
import time
from collections import OrderedDict
from contextlib import suppress
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.cache.engine.cache import Cache, reading_now
from app.cache.engine.exchange import SCOPE_KEY, Exchange, current
from app.cache.engine.http import CREDENTIALS
from app.cache.engine.start import Routes
from app.cache.engine.store import StoreError

log = logging.getLogger("app.cache")

_MOST_HINTS = 4096
_MOST_PLACES = 64  # of one hint
_FOUND_INSIDE = ("endpoint", "fastapi", "path_params", "route", "router", SCOPE_KEY)


class Served:
    """What an application's middleware knows; no cache until it has started."""

    def __init__(self) -> None:
        self.cache: Cache | None = None
        self.routes = Routes([], [], "strong")
        # What a request needed the last time: a hint what to fetch ahead, in one go.
        self._hints: OrderedDict[int, tuple[str, ...]] = OrderedDict()
        self._warned = False

    def hint(self, request: int) -> tuple[str, ...]:
        """Return which places the same request asked for before."""
        return self._hints.get(request, ())

    def remember(self, request: int, places: tuple[str, ...]) -> None:
        """Take a request's places as the hint for the next one like it."""
        if places and len(places) <= _MOST_PLACES:
            self._hints[request] = places
            self._hints.move_to_end(request)
            if len(self._hints) > _MOST_HINTS:
                self._hints.popitem(last=False)

    def warn(self) -> None:
        """Say once that nothing is cached, because the application was not started."""
        if not self._warned:
            self._warned = True
            log.warning(
                "Nothing is cached: the application was not started. Its lifespan has "
                "to run, as in `with TestClient(app)`."
            )


class CacheMiddleware:
    """Tells a request's cache, answers HEAD from GET, and logs the outcome."""

    def __init__(self, app: ASGIApp, served: Served) -> None:
        self._app = app
        self._served = served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        served = self._served
        if served.cache is None:
            served.warn()
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, served.cache, served.routes.tags)
        inner = scope
        if scope["method"] == "HEAD" and served.routes.answers_head(_path(scope)):
            # The server looks at the method of its own scope when it sends.
            inner, send = {**scope, "method": "GET"}, _without_body(send)
        inner[SCOPE_KEY] = exchange
        exchange.scope = inner
        same = _same_request(inner, exchange)
        hint = served.hint(same)
        outer = reading_now.get()
        if outer is not None:
            outer.use(
                None
            )  # a handler asks its own service: nobody tells what that read
        tokens = current.set(exchange), reading_now.set(exchange.reading)
        try:
            if hint:
                with suppress(StoreError):
                    await exchange.reading.look_ahead(served.cache, hint)
            await self._app(inner, receive, send)
        finally:
            current.reset(tokens[0])
            reading_now.reset(tokens[1])
            for name in _FOUND_INSIDE:  # for the middleware that sent it
                if name in inner:
                    scope[name] = inner[name]
        if exchange.outcome in ("HIT", "MISS"):
            served.remember(same, tuple(exchange.reading.used))
        if exchange.outcome is not None and log.isEnabledFor(logging.INFO):
            log.info(
                "CACHE %s: %s %s (%.2fms)",
                exchange.outcome,
                scope["method"],
                quote(scope["path"], safe="/"),
                (time.perf_counter() - exchange.started) * 1000,
            )


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _same_request(scope: Scope, exchange: Exchange) -> int:
    """Return the same number for what is probably the same request again."""
    shown = (tuple(exchange.headers.getlist(name)) for name in CREDENTIALS)
    where = scope.get("root_path"), scope["path"], scope["query_string"]
    return hash((*where, *shown))


def _without_body(send: Send) -> Send:
    async def headers_only(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return headers_only
