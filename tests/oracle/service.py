"""The applications of a scenario, and asking them without a server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter, FastAPI
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Scope

from app.config import Settings
from app.errors import install_error_handlers
from app.main import create_app
from tests.oracle import parts, tables, values
from tests.oracle.scenario import Scenario
from tests.oracle.source import PREAMBLE, code

Pairs = list[tuple[str, str]]


@dataclass
class Answer:
    method: str
    path: str
    status: int = 0  # stays 0 where the application raises before it answers
    headers: Pairs = field(default_factory=list)
    body: bytes = b""
    broken: str = ""  # what was raised


class Service:
    """One or two applications with the same routes, each with its own database."""

    def __init__(self, scenario: Scenario, settings: list[Settings]) -> None:
        self.apps: list[FastAPI] = []
        self._running: list[AsyncExitStack] = []
        self._routers = _routers(scenario)
        if "edited rule" in scenario.around:
            parts.edit_auth_manager()
        for site, each in zip("ab", settings[: scenario.apps], strict=False):
            self.apps.append(self._make(scenario, each, site))

    def _make(self, scenario: Scenario, settings: Settings, site: str) -> FastAPI:
        app = create_app(settings)
        app.state.site = site
        self._include(app)
        for router in (tables.router, values.router):
            app.include_router(router)
        if scenario.mounted:
            below = FastAPI(title="below")
            below.state = app.state
            install_error_handlers(below)
            self._include(below)
            app.mount("/v1", below)
        for name in scenario.around:
            match name:
                case "tenant":
                    app.add_middleware(parts.TenantMiddleware)
                case "members":
                    app.add_middleware(
                        AuthenticationMiddleware, backend=parts.Members()
                    )
                case "gzip":
                    app.add_middleware(GZipMiddleware, minimum_size=1)
        return app

    def _include(self, app: FastAPI) -> None:
        for router, arguments in self._routers:
            app.include_router(router, **arguments)

    async def start(self) -> None:
        for app in self.apps:
            stack = AsyncExitStack()
            await stack.enter_async_context(_lifespan(app))
            self._running.append(stack)

    async def stop(self, which: int = 0) -> None:
        """Stop an application and those after it."""
        while len(self._running) > which:
            await self._running.pop().aclose()

    def override(self) -> None:
        """Set the overrides, or remove them."""
        for app in self.apps:
            if app.dependency_overrides:
                app.dependency_overrides.clear()
            else:
                app.dependency_overrides.update(parts.OVERRIDES)

    async def ask(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        *,
        which: int = 0,
        data: Any = None,
    ) -> Answer:
        body = b"" if data is None else json.dumps(data).encode()
        if body:
            headers = headers | {"content-type": "application/json"}
        app = self.apps[min(which, len(self.apps) - 1)]
        # In a task of its own, as servers do it: each request has its own context.
        return await asyncio.create_task(_ask(app, method, target, headers, body))


def _routers(scenario: Scenario) -> list[tuple[APIRouter, dict[str, Any]]]:
    found: list[tuple[APIRouter, dict[str, Any]]] = []

    def include(router: APIRouter, **arguments: Any) -> None:
        found.append((router, arguments))

    names: dict[str, Any] = {"include": include, "__name__": "tests.oracle.made"}
    exec(PREAMBLE, names)  # noqa: S102 - the code is ours
    for name, route in scenario.named():
        try:
            exec(code(name, route), names)  # noqa: S102
        except Exception as error:
            raise RuntimeError(f"{name}: {type(error).__name__}: {error}") from error
    return found


async def _ask(
    app: ASGIApp, method: str, target: str, headers: dict[str, str], body: bytes
) -> Answer:
    path, _, query = target.partition("?")
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    answer = Answer(method, target)
    done = asyncio.Event()
    unread = [body]

    async def receive() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        await done.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = [(k.decode(), v.decode()) for k, v in message["headers"]]
        elif message["type"] == "http.response.body":
            answer.body += message.get("body", b"")
            if not message.get("more_body"):
                done.set()

    try:
        await app(scope, receive, send)
    except Exception as error:  # a server would log it
        answer.broken = type(error).__name__
    return answer


@asynccontextmanager
async def _lifespan(app: ASGIApp) -> AsyncIterator[None]:
    received: asyncio.Queue[Message] = asyncio.Queue()
    sent: asyncio.Queue[Message] = asyncio.Queue()
    scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    task = asyncio.ensure_future(app(scope, received.get, sent.put))
    await received.put({"type": "lifespan.startup"})
    message = await sent.get()
    if message["type"] != "lifespan.startup.complete":
        await asyncio.wait([task])
        raise RuntimeError(str(task.exception() or message.get("message")))
    try:
        yield
    finally:
        await received.put({"type": "lifespan.shutdown"})
        await task
