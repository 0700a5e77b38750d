"""Traces, as an exporter sees them."""

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from app import logs
from app.config import Settings
from app.logs import telemetry
from app.main import create_app
from tests.asgi import lifespan
from tests.people import Person

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"

NAMES = {"email": "a@example.com", "first_name": "A", "last_name": "hush"}


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Trace into memory from now on; there is no public way to end that."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    return exporter


async def test_a_request_is_a_span_without_its_secrets(
    client: httpx.AsyncClient, user: Person, exporter: InMemorySpanExporter
) -> None:
    path = f"/users/{user.id}"
    await client.put(
        path + "?token=hush",
        json=NAMES,
        headers=user.headers,
    )
    await client.get("/livez")
    await client.get("/readyz")

    spans = exporter.get_finished_spans()  # others are of what it asked Redis
    (span,) = [span for span in spans if span.kind is SpanKind.SERVER]
    assert span.name == "PUT /users/{user_id}"
    attributes = dict(span.attributes or {})
    assert attributes["http.route"] == "/users/{user_id}"
    assert attributes["url.path"] == path
    assert attributes["http.response.status_code"] == 200
    assert "hush" not in "".join(span.to_json() for span in spans)


async def test_a_line_names_the_span_that_it_belongs_to(
    client: httpx.AsyncClient,
    exporter: InMemorySpanExporter,
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure_logs("INFO", ("REQUESTS",), "json")
    await client.get("/users/me")

    (span,) = exporter.get_finished_spans()
    shown = capsys.readouterr().err
    logs.configure_logs("INFO", ("REQUESTS", "AUTH"))
    context = span.context
    assert context is not None
    assert f'"trace_id": "{context.trace_id:032x}"' in shown
    assert f'"span_id": "{context.span_id:016x}"' in shown


async def test_the_query_of_a_refused_request_is_hidden_too(
    settings: Settings, exporter: InMemorySpanExporter
) -> None:
    app = create_app(settings.model_copy(update={"allowed_hosts": ("a.example",)}))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://b") as client:
        await client.get("/users/me?token=hush")

    (span,) = exporter.get_finished_spans()
    assert dict(span.attributes or {})["http.response.status_code"] == 400
    assert "hush" not in span.to_json()


async def test_a_failure_is_an_error_of_its_span(
    app: FastAPI, client: httpx.AsyncClient, exporter: InMemorySpanExporter
) -> None:
    @app.get("/of-a-test/broken")
    async def broken() -> None:
        raise LookupError("the reason")

    await client.get("/of-a-test/broken")

    (span,) = exporter.get_finished_spans()
    assert not span.status.is_ok


def test_nothing_is_exported_unless_asked_for() -> None:
    assert not telemetry("")["auto_configure"]


async def test_the_log_says_what_traces_need(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4318")
    monkeypatch.setattr("app.logs._NEEDED", ("opentelemetry.not_there.at_all",))
    async with lifespan(create_app(settings)):
        pass

    (line,) = capsys.readouterr().err.splitlines()
    assert f"WARNING: {ENDPOINT} needs packages for traces: uv add opente" in line


def test_probes_below_a_prefix_are_not_traced() -> None:
    exclude = telemetry("/api")["exclude"]
    assert exclude is not None
    paths = ("/livez", "/api/readyz", "/api/users/me")
    assert [exclude({"path": path}) for path in paths] == [True, True, False]
