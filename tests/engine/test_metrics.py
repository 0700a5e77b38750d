"""What is counted of requests that wait for each other, and what counting costs."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr
from starlette.types import Message

from app.cache import cached
from app.config import Settings
from app.main import create_app
from tests.asgi import lifespan
from tests.environment import settings_from
from tests.people import Person
from tests.test_metrics import TOKEN

HITS = 50
MOST = 1.3  # times the calls of a hit that is not watched


@pytest.fixture
def settings(database_url: str) -> Iterator[Settings]:
    with settings_from(DATABASE_URL=database_url, METRICS_TOKEN=TOKEN) as settings:
        yield settings


class Gate:
    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()


router = APIRouter(prefix="/metered")
gates: list[Gate] = []


@router.get("/slow/{number}")
@cached(namespace="metered")
async def slow(number: int) -> int:
    gates[-1].entered.set()
    await gates[-1].opened.wait()
    return number


@router.get("/number/{number}")
@cached(namespace="metered")
async def number_of(number: int) -> int:
    return number


@router.get("/saved/{number}")
@cached(namespace="metered")
async def saved_by(number: int) -> int:
    return number


@router.get("/fast")
@cached(namespace="metered")
async def fast() -> str:
    return "done"


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (router,)


async def _numbers(client: httpx.AsyncClient) -> dict[str, float]:
    shown = {"Authorization": f"Bearer {TOKEN}"}
    lines = (await client.get("/metrics", headers=shown)).text.splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def _of(outcome: str, detail: str = "") -> str:
    return (
        f'cache_request_seconds_count{{detail="{detail}",outcome="{outcome}",'
        'route="/metered/slow/{number}"}'
    )


async def test_who_waits_for_another_ones_run_is_seen_and_counted(
    client: httpx.AsyncClient,
) -> None:
    before = await _numbers(client)
    gates.append(gate := Gate())
    first = asyncio.create_task(client.get("/metered/slow/1"))
    await gate.entered.wait()
    others = [asyncio.create_task(client.get("/metered/slow/1")) for _ in range(9)]
    async with asyncio.timeout(30):
        while (during := await _numbers(client))["cache_waiters"] < 9:
            pass
    assert during["cache_flights"] == 1
    gate.opened.set()
    await asyncio.gather(first, *others)
    after = await _numbers(client)
    assert after[_of("miss")] - before.get(_of("miss"), 0) == 1
    assert after[_of("collapsed")] - before.get(_of("collapsed"), 0) == 9
    assert (after["cache_waiters"], after["cache_flights"]) == (0, 0)


async def test_what_has_no_room_in_memory_is_counted(settings: Settings) -> None:
    few = {"cache_max_entries": 100, "redis_enabled": False}
    app = create_app(settings.model_copy(update=few))
    app.include_router(router)
    transport = httpx.ASGITransport(app)
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        before = await _numbers(client)
        for number in range(130):
            await client.get(f"/metered/number/{number}")
        after = await _numbers(client)
    assert after["cache_evictions_total"] - before["cache_evictions_total"] == 30
    assert after["cache_entries"] == 100


async def test_a_miss_that_nobody_waited_for_is_told_apart(
    client: httpx.AsyncClient,
) -> None:
    before = await _numbers(client)
    gates.append(gate := Gate())
    asked = asyncio.create_task(client.get("/metered/slow/2"))
    await gate.entered.wait()
    asked.cancel()
    with suppress(asyncio.CancelledError):
        await asked
    after = await _numbers(client)
    counted = _of("miss", "cancelled")
    assert after[counted] - before.get(counted, 0) == 1


async def test_what_hits_save_follows_from_misses_that_made_their_answer(
    client: httpx.AsyncClient,
) -> None:
    url, route = "/metered/saved/1", 'route="/metered/saved/{number}"'
    for headers in (
        *[{"Cache-Control": "only-if-cached"}] * 5,  # quicker than an answer
        *[{}] * 4,
    ):
        await client.get(url, headers=headers)
    after = await _numbers(client)

    def told(name: str, outcome: str) -> float:
        labels = f'{{detail="",outcome="{outcome}",{route}}}'
        return after[f"cache_request_seconds_{name}{labels}"]

    each = told("sum", "miss") / told("count", "miss")
    spared = told("count", "hit") * each - told("sum", "hit")
    assert after[f"cache_saved_seconds{{{route}}}"] == pytest.approx(spared)


@contextmanager
def _calls() -> Iterator[list[int]]:
    """Count all calls of functions, those that are written in C, too."""
    found = [0]

    def note(_: FrameType, event: str, __: object) -> None:
        if event in ("call", "c_call"):
            found[0] += 1

    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)


async def _ask(app: FastAPI, path: str, token: str) -> bytes:
    """Ask without a client, whose calls would be counted; return the outcome."""
    headers: dict[bytes, bytes] = {}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"service"), (b"authorization", token.encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        headers.update(message.get("headers", ()))

    await app(scope, receive, send)
    return headers[b"x-fastapi-cache"]


async def _cost(settings: Settings, path: str, token: str = "") -> float:
    app = create_app(settings)
    app.include_router(router)
    async with lifespan(app):
        for _ in range(3):
            await _ask(app, path, token)
        with _calls() as calls:
            for _ in range(HITS):
                assert await _ask(app, path, token) == b"HIT"
    return calls[0] / HITS


@pytest.mark.usefixtures("storage")
async def test_a_hit_calls_few_more_functions_with_metrics(settings: Settings) -> None:
    off = settings.model_copy(update={"metrics_token": SecretStr("")})
    without = await _cost(off, "/metered/fast")
    assert without < await _cost(settings, "/metered/fast") <= MOST * without


async def test_a_hit_calls_few_more_functions_with_all_that_can_be_watched(
    settings: Settings, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = user.headers["Authorization"]
    off = {"metrics_token": SecretStr(""), "log_categories": ()}
    without = await _cost(settings.model_copy(update=off), "/users/me", token)
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    # There is no public way to end that.
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    on = {"log_categories": ("REQUESTS",), "log_format": "json"}
    watched = await _cost(settings.model_copy(update=on), "/users/me", token)
    provider.shutdown()
    assert without < watched <= MOST * without
