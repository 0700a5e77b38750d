"""What happened to each request, in the log and in its span."""

import logging
import re
import secrets
import time
from collections.abc import Sequence
from contextvars import Token
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from opentelemetry import trace
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import AppError, problem_response
from app.logs import PROBES, REQUESTS, SERVER, request_id

HEADER = "X-Request-ID"
PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestLog:
    """Give every request an id, log its end, and answer 500 to what nobody caught.

    Neither query strings nor headers are logged: they may hold credentials. A probe is
    logged when its answer is no 200. `proxies` are those whose ids are taken over.
    """

    def __init__(self, app: ASGIApp, proxies: Sequence[str] = ()) -> None:
        self.app = app
        self._proxies = _Proxies(proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        given = Headers(scope=scope).get(HEADER)
        if not (given and PLAIN_ID.fullmatch(given) and self._proxies.sent(scope)):
            given = None
        answer = _Answer(scope, send, given or secrets.token_hex(8))
        scope.setdefault("state", {})["request_id"] = answer.id
        token: Token[str] | None = request_id.set(answer.id)
        try:
            await self.app(scope, receive, answer.send)
        except Exception:
            if answer.status is not None:
                token = None  # The server will log what it was, still with this id.
                raise  # The answer has begun: all that is left is to break it off.
            SERVER.exception("%s %s failed", scope["method"], scope["path"])
            await problem_response(AppError())(scope, receive, answer.send)
        finally:
            answer.log()
            if token is not None:
                request_id.reset(token)


class _Answer:
    """What is known of a request and of its answer."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self.id = request_id
        self.status: int | None = None
        self._scope = scope
        self._send = send
        self._started = time.perf_counter()
        self._ended = False
        self._cache: str | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[HEADER] = self.id
            self._describe(headers)
        elif not message.get("more_body"):
            self._ended = True
        await self._send(message)

    def _describe(self, headers: Headers) -> None:
        """Note what the cache did, also in the request's span, which ends first."""
        self._cache = _outcome(headers.get("cache-status", ""))
        span = trace.get_current_span()
        if span.is_recording():
            if self._cache == "hit":
                age = int(headers.get("age", "0"))
                span.set_attributes({"cache.outcome": "hit", "cache.age": age})
            elif self._cache is not None:
                span.set_attribute("cache.outcome", self._cache)

    def log(self) -> None:
        scope = self._scope
        method, path, status = scope["method"], scope["path"], self.status
        if status == 200 and path.removeprefix(scope.get("root_path", "")) in PROBES:
            return
        if not REQUESTS.isEnabledFor(logging.INFO):
            return
        ms = (time.perf_counter() - self._started) * 1000
        end = "cancelled" if status is None else status
        if status is not None and not self._ended:
            end = f"{status} cut off"
        fields = {
            "method": method,
            "path": path,
            "route": route_path(scope),
            "status": status,
            "complete": self._ended,
            "ms": round(ms, 2),
            "cache": self._cache,
        }
        REQUESTS.info(
            *("%s %s %s (%.2fms)", method, path, end, ms), extra={"fields": fields}
        )


class _Proxies:
    """The proxies that are trusted, FORWARDED_ALLOW_IPS."""

    def __init__(self, names: Sequence[str]) -> None:
        self._all = "*" in names
        networks = [ip_network(name) for name in names if name != "*"]

        @lru_cache(maxsize=1024)
        def trusted(host: str) -> bool:
            try:
                address = ip_address(host)
            except ValueError:
                return False
            return any(address in network for network in networks)

        self._trusted = trusted

    def sent(self, scope: Scope) -> bool:
        """Tell whether one of them sent this request.

        uvicorn has put the client that a trusted proxy names in the proxy's place, and
        0 for its port, which no connection has. Where a proxy names the port, too,
        there is no telling, so it counts as nobody's.
        """
        client = scope.get("client")
        if self._all or client is None:
            return self._all
        return client[1] == 0 or self._trusted(client[0])


def _outcome(status: str) -> str | None:
    """Return what the cache did, in one word, by Cache-Status (RFC 9211)."""
    _, ours, what = status.rpartition("fastapi; ")
    if not ours:
        return None
    for word in ("collapsed", "bypass", "hit"):
        if word in what:
            return word
    return "miss"


class HiddenQuery:
    """Hide the query that FastAPI has put into a request's span: it may hold a token.

    It is the outermost, so that it also runs where another one refuses the request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["query_string"]:
            trace.get_current_span().set_attribute("url.query", "REDACTED")
        await self.app(scope, receive, send)


def route_path(scope: Scope) -> str | None:
    """Return the route's path as it was declared, with the prefixes of its routers.

    And with those of mounts. None before a route was found, or where there is none.
    """
    # FastAPI keeps here what a router's prefixes make of its routes.
    included: Any = scope.get("fastapi", {}).get("effective_route_context")
    route: Any = included or scope.get("route")
    path = getattr(route, "path_format", None) or getattr(route, "path", None)
    if not path:
        return None
    root: str = scope.get("root_path", "")
    return root.removeprefix(scope.get("app_root_path", root)) + str(path)
