"""What the log and the traces say of the cache."""

import json

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from app import logs
from tests.people import Person


async def test_a_hit_and_a_miss_are_told_apart(
    client: httpx.AsyncClient,
    user: Person,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    capsys.readouterr()
    logs.configure_logs("INFO", ("REQUESTS",), "json")
    try:
        for asked in ("GET", "GET", "HEAD"):
            await client.request(asked, "/users/me", headers=user.headers)
        refused = {**user.headers, "Cache-Control": "no-store"}
        await client.get("/users/me", headers=refused)
        await client.get("/nowhere")
    finally:
        logs.configure_logs("INFO", ("REQUESTS", "AUTH"))

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    outcomes = ["miss", "hit", "hit", "bypass", None]
    assert [line["cache"] for line in lines] == outcomes
    assert [line["route"] for line in lines] == ["/users/me"] * 4 + [None]
    spans = [
        dict(span.attributes or {})
        for span in exporter.get_finished_spans()
        if span.kind is SpanKind.SERVER  # others are of what it asked Redis
    ]
    assert [span.get("cache.outcome") for span in spans] == outcomes
    assert [span.get("cache.age") for span in spans] == [None, 0, 0, None, None]
    assert [span.get("http.route") for span in spans] == ["/users/me"] * 4 + [None]
