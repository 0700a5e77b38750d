"""What it costs to watch a hit: log lines for machines, and traces.

Counted, not timed, on a route of the service's own, all of which look who asks. The
same 215 calls are a third of what a hit does that looks at nobody.
"""

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.types import Message, Scope

from app import logs
from app.config import Settings
from app.main import create_app
from tests.asgi import lifespan
from tests.people import Person

HITS = 20
MOST = 1.3  # times the calls of a hit that nobody watches


@contextmanager
def nobody_watching(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Log warnings only, and trace nothing."""
    with monkeypatch.context() as patch:
        patch.setattr(logging.root, "handlers", [])  # pytest keeps all that is logged
        logs.configure_logs("INFO", ("NONE",))
        yield


@contextmanager
def everything_watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Log as JSON, and trace. What else is measured of a request belongs here, too."""
    provider = TracerProvider()
    exporter = InMemorySpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    written = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(logging.root, "handlers", [])
        patch.setattr(sys, "stderr", written)
        patch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
        logs.configure_logs("INFO", ("REQUESTS", "AUTH"), "json")
        yield
    provider.force_flush()
    assert '"cache": "hit"' in written.getvalue().splitlines()[-1]
    attributes = exporter.get_finished_spans()[-1].attributes or {}
    assert attributes["cache.outcome"] == "hit"


async def hit(app: FastAPI, token: bytes) -> None:
    """Ask as a server does: what a client of the tests would do is not counted."""
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/users/me",
        "raw_path": b"/users/me",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"service"), (b"authorization", token)],
        "client": ("127.0.0.1", 1234),
        "server": ("service", 80),
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        pass

    await app(scope, receive, send)


async def calls_of_a_hit(app: FastAPI, token: bytes) -> float:
    """Return how many functions in Python are called for it."""
    calls = 0

    def note(_: FrameType, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    for _ in range(3):
        await hit(app, token)
    sys.setprofile(note)
    try:
        for _ in range(HITS):
            await hit(app, token)
    finally:
        sys.setprofile(None)
    return calls / HITS


async def test_a_statement_is_a_span_below_that_of_its_request(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    app = create_app(settings)
    library = import_module("opentelemetry.instrumentation.sqlalchemy")
    if library.SQLAlchemyInstrumentor().is_instrumented_by_opentelemetry:
        library.SQLAlchemyInstrumentor().uninstrument()  # the engine of another test
    try:
        async with lifespan(app):
            exporter.clear()
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://a") as c:
                await c.post("/login/", json={"email": "a@b.com", "password": "hush"})
    finally:
        library.SQLAlchemyInstrumentor().uninstrument()
    *statements, request = exporter.get_finished_spans()
    assert request.name == "POST /login/"
    assert any(span.name.startswith("SELECT") for span in statements)
    for span in statements:
        assert span.parent == request.context
        assert "a@b.com" not in span.to_json()


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    yield
    logs.configure_logs("INFO", ("REQUESTS", "AUTH"))


async def test_a_hit_that_is_watched_costs_little_more(
    app: FastAPI, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = user.headers["Authorization"].encode()
    with nobody_watching(monkeypatch):
        without = await calls_of_a_hit(app, token)
    with everything_watched(monkeypatch):
        watched = await calls_of_a_hit(app, token)
    assert watched <= MOST * without, (watched, without)
