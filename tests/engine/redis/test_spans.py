"""What a trace shows of the cache's own requests to Redis."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from app.cache import cached
from app.config import Settings
from app.main import create_app
from tests.asgi import lifespan
from tests.environment import settings_from
from tests.servers.valkey import Valkey

router = APIRouter(prefix="/traced")


@router.get("/{number}")
@cached(namespace="hush")
async def traced(number: int) -> int:
    return number


@pytest.fixture
def valkey(start_valkey: Callable[..., Valkey]) -> Valkey:
    return start_valkey()


@pytest.fixture
def settings(database_url: str, valkey: Valkey) -> Iterator[Settings]:
    with settings_from(DATABASE_URL=database_url, REDIS_URL=valkey.url) as settings:
        yield settings


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Trace into memory from now on; there is no public way to end that."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    return exporter


@asynccontextmanager
async def asking(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app: FastAPI = create_app(settings)
    app.include_router(router)
    transport = httpx.ASGITransport(app)
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        yield client


async def test_each_batch_is_a_child_of_its_request(
    settings: Settings, valkey: Valkey, exporter: InMemorySpanExporter
) -> None:
    async with asking(settings) as client:
        for outcome in ("MISS", "HIT"):
            exporter.clear()
            answer = await client.get("/traced/5")
            assert answer.headers["x-fastapi-cache"] == outcome
            *batches, request = exporter.get_finished_spans()
            assert request.name == "GET /traced/{number}"
            for span in batches:
                assert span.parent == request.context
                assert span.kind == SpanKind.CLIENT
                assert "hush" not in span.to_json()
                told = of(span)
                assert told["db.system.name"] == "redis"
                assert told["db.operation.name"] == span.name
                assert told["server.address"] == "127.0.0.1"
                assert told["server.port"] == valkey.port
            if outcome == "HIT":
                assert [span.name for span in batches] == ["MGET"]
            else:
                begun, leased, stored = batches[-3:]
                assert begun.name.startswith("PIPELINE SET")
                assert leased.name == stored.name == "PIPELINE"
                sizes = [of(span)["db.operation.batch.size"] for span in batches[-3:]]
                assert all(isinstance(n, int) and n > 1 for n in sizes)


async def test_a_request_that_redis_does_not_answer_has_failed(
    settings: Settings, valkey: Valkey, exporter: InMemorySpanExporter
) -> None:
    async with asking(settings) as client:
        await client.get("/traced/5")
        exporter.clear()
        valkey.stop()
        answer = await client.get("/traced/5")
        assert "fallback" in answer.headers["cache-status"]
        failed = [span for span in exporter.get_finished_spans() if span.name == "MGET"]
        assert [span.status.status_code for span in failed] == [StatusCode.ERROR]
        assert "error.type" in of(failed[0])


async def test_what_the_cache_asks_for_itself_is_no_span(
    settings: Settings, exporter: InMemorySpanExporter
) -> None:
    async with asking(settings) as client:
        await client.get("/readyz")
    assert not exporter.get_finished_spans()


def of(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})
