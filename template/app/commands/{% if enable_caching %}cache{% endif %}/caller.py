"""The service in this process, which answers to any user: for commands that ask it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from fastapi import FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Scope

from app.cache import CachePolicy, authenticator, cache_policy
from app.cache.engine.providers import nodes_of
from app.commands.running import find_user
from app.config import Settings
from app.main import create_app
from app.managers.auth import AuthManager
from app.managers.principal import Principal, principal_of
from app.managers.scopes import role_scopes
from app.models.user import User

_KEPT = "/?%:@!$&'()*+,;=~"  # what is not escaped again, or at all


class Answer(NamedTuple):
    """An answer, the scope of its request, and the seconds of processor time it took.

    It is the time of the whole process, because handlers and databases may work in
    threads. The names of the headers are in lower case.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    scope: Scope
    seconds: float


@dataclass(slots=True)
class Client:
    """Sends GETs to an application that has started; `state` is of its lifespan.

    `headers` are sent with each.
    """

    app: ASGIApp
    state: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask for a path with its query; what stands before the path is left out."""
        scope = _scope(url, {**self.headers, **(headers or {})}, self.state)
        status, lines, body = 0, {}, bytearray()
        asked, done = False, asyncio.Event()

        async def receive() -> Message:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await done.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                for name, value in message["headers"]:
                    lines[name.decode("latin-1").lower()] = value.decode("latin-1")
            elif message["type"] == "http.response.body":
                body.extend(message.get("body", b""))
                if not message.get("more_body"):
                    done.set()

        start = time.process_time()
        try:
            await self.app(scope, receive, send)
        except Exception:
            if not status:  # else it was answered before it was raised on, for the log
                raise
        seconds = time.process_time() - start
        return Answer(status, lines, bytes(body), scope, seconds)


class Cached(NamedTuple):
    """A cached route of the service, or of an application mounted in it."""

    path: str
    route: RouteContext
    policy: CachePolicy

    @property
    def reasons(self) -> str:
        """Why it was not cached so far, as the log said it; empty when nothing was."""
        return "; ".join(sorted(self.policy.reasons))


def quiet_app(settings: Settings) -> FastAPI:
    """Return a service that logs nothing but warnings. It has not started."""
    quiet = {"log_categories": frozenset(), "log_format": "text"}
    return create_app(settings.model_copy(update=quiet))


@asynccontextmanager
async def started(
    app: FastAPI, who: str | None, headers: Mapping[str, str]
) -> AsyncIterator[Client]:
    """Start a service that takes each request to a cached route for one of this user.

    Each has these headers, whose names are in lower case.
    Raises Refused when there is no such user (id or e-mail).
    """
    try:
        if who:
            await _act_as(app, who)
        async with app.router.lifespan_context(app) as state:
            yield Client(app, state or {}, headers)
    finally:
        await app.state.database.dispose()


def cached_routes(app: object, above: str = "") -> Iterator[Cached]:
    """Yield the routes that are cached, in the order in which they match."""
    for route in iter_route_contexts(getattr(app, "routes", ())):
        if isinstance(route.original_route, Mount):
            mounted = f"{above}{route.path or ''}"
            yield from cached_routes(route.original_route.app, mounted)
        policy = cache_policy(getattr(route.endpoint, "func", route.endpoint))
        if policy is not None:
            yield Cached(f"{above}{route.path or ''}", route, policy)


def route_of(app: FastAPI, scope: Scope) -> Cached | None:
    """Return the cached route that a request got to."""
    path = scope["path"].removeprefix(scope["root_path"])  # below its mounts
    for found in cached_routes(app):
        route = found.route
        if route.original_route is scope.get("route") and route.path_regex.match(path):
            return found
    return None


async def _act_as(app: FastAPI, who: str) -> None:
    """Let the guards of cached routes find this user, who needs no credentials.

    He does need the rights that a route asks for. FastAPI's own overrides would have it
    look at every dependency anew for each request.
    """
    async with app.state.database.session(writes=False) as session:
        user = await find_user(session, who)
    principal = principal_of(user, role_scopes(user.role))
    for _, route, _ in cached_routes(app):
        for node in nodes_of(route.dependant):
            node.dependencies = [_as(principal, each) for each in node.dependencies]


def _as(principal: Principal, node: Dependant) -> Dependant:
    guard: Any = node.call
    if not isinstance(guard, AuthManager):
        return node

    @authenticator
    async def authenticated(request: Request) -> User:
        guard.authorize(principal, request)
        request.state.principal = principal
        return principal.as_user()

    return Dependant(
        call=authenticated,
        name=node.name,
        path=node.path,
        request_param_name="request",
    )


def _scope(url: str, headers: Mapping[str, str], state: Mapping[str, Any]) -> Scope:
    parts = urlsplit(url)
    path = quote("/" + parts.path.lstrip("/"), safe=_KEPT)
    fields = {"host": "localhost", **headers}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode("ascii"),
        "query_string": quote(parts.query, safe=_KEPT).encode("ascii"),
        "root_path": "",
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in fields.items()
        ],
        "client": ("127.0.0.1", 0),
        "server": ("localhost", 80),
        "state": dict(state),
    }
