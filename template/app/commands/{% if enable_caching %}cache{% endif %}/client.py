"""Asking an application in this process, the way a server does."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from starlette.types import ASGIApp, Message, Scope

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
    """Sends GETs to an application that has started; `state` is of its lifespan."""

    app: ASGIApp
    state: Mapping[str, Any] = field(default_factory=dict)

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask for a path with its query; what stands before the path is left out."""
        scope = _scope(url, headers or {}, self.state)
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
