"""Of 1,000 requests of known outcome, and what else the cache does, each counter."""

import asyncio
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import httpx
import pytest

from app.config import Settings
from tests.engine.each import THOROUGH
from tests.engine.redis.known import OPENED
from tests.engine.served import all_of, all_there, are, served, until
from tests.environment import settings_from
from tests.people import PASSWORD
from tests.servers.service import API_ADMIN
from tests.servers.valkey import Valkey
from tests.test_metrics import TOKEN, scrape

ANN = {"email": "ann@example.com", "first_name": "Ann", "last_name": "Lee"}
ALL = "http_requests_total"
CACHED = "cache_request_seconds_count"
CAUSES = "cache_invalidations_total"
GROWING = ("cache_evictions_total", "cache_openings_total")
HELD = ("cache_flights", "cache_waiters")
ENTRIES = 100


class Kind(NamedTuple):
    """So many requests, and what is counted of each."""

    times: int
    url: str
    outcome: str  # "detail outcome"; empty where the cache has no part in it
    status: int
    method: str = "GET"
    headers: Mapping[str, str] = MappingProxyType({})


FIRST = [Kind(1, "value/1", " miss", 200), Kind(1, "coded/1", " miss", 200)]
# All of them wait for one run.
WAITING = [Kind(1, "slow", " miss", 200), Kind(59, "slow", " collapsed", 200)]
KINDS = [
    Kind(228, "value/1", " hit", 200),
    Kind(60, "value/1", " hit", 200, "HEAD"),
    Kind(100, "value/1", " revalidated", 304, headers={"If-None-Match": "*"}),
    Kind(40, "value/1", " bypass", 200, headers={"Cache-Control": "no-store"}),
    Kind(30, "value/1", " bypass", 200, headers={"Range": "bytes=0-1"}),
    Kind(50, "value/1", "no-cache miss", 200, headers={"Cache-Control": "no-cache"}),
    Kind(
        *(30, "value/9", "only-if-cached miss", 504),
        headers={"Cache-Control": "only-if-cached"},
    ),
    Kind(20, "value/none", "", 422),
    Kind(30, "coded/1", " hit", 200),
    Kind(30, "cookie", "not-storable miss", 200),
    Kind(20, "large", "not-storable miss", 200),
    Kind(30, "streamed", "not-storable miss", 200),
    Kind(20, "yielded", "", 200),
    Kind(50, "missing", "status miss", 404),
    Kind(20, "failing", "status miss", 500),
    Kind(40, "status", "status bypass", 202),
    Kind(50, "overridden", "override bypass", 200),
    Kind(40, "unshareable", "unshareable bypass", 200),
    Kind(30, "coded-unshareable", "unshareable bypass", 200),
    Kind(20, "nowhere", "", 404),
]


@pytest.fixture
def valkey(start_valkey: Callable[..., Valkey]) -> Valkey:
    return start_valkey()


@pytest.fixture
def settings(database_url: str, valkey: Valkey) -> Iterator[Settings]:
    with settings_from(
        DATABASE_URL=database_url,
        REDIS_URL=valkey.url,
        METRICS_TOKEN=TOKEN,
        CACHE_MAX_BODY_BYTES="1000",
        CACHE_MAX_ENTRIES=str(ENTRIES),
        CACHE_FALLBACK_TTL="300",
        LOG_CATEGORIES="NONE",
    ) as settings:
        yield settings


@pytest.mark.parametrize("workers", [1, 4] if THOROUGH else [2])
async def test_each_counter_is_exact(
    workers: int, settings: Settings, valkey: Valkey, tmp_path: Path
) -> None:
    with served("tests.engine.redis.known:create", workers, tmp_path) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            await all_there(client, workers, tmp_path)
            numbers = Numbers(client)
            await thousand_requests(client, numbers, tmp_path)
            await invalidations(client, numbers, tmp_path)
            await outage(client, numbers, valkey, workers)
            await migrations(client, numbers, tmp_path)


class Numbers:
    """What was counted since the last look."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._before = Counter[str]()

    async def now(self) -> Counter[str]:
        """Return all there is."""
        return await scrape(self._client)

    async def more(self, *names: str) -> dict[str, float]:
        """Return what has been added to the counters of these names."""
        now = await self.now()
        before, self._before = self._before, now
        return {
            name: count - before[name]
            for name, count in now.items()
            if name.partition(" ")[0] in names and count != before[name]
        }


async def thousand_requests(
    client: httpx.AsyncClient, numbers: Numbers, folder: Path
) -> None:
    kinds = [*FIRST, *WAITING, *KINDS]
    assert sum(kind.times for kind in kinds) == 1000
    assert not await numbers.more(CACHED, CAUSES, *GROWING)
    for kind in FIRST:
        await asked(client, kind)
    waiting = asyncio.create_task(all_waiting(client))
    waiters = sum(kind.times for kind in WAITING)
    await until(numbers.now, lambda now: sum(now[name] for name in HELD) == waiters)
    (folder / OPENED).touch()
    await waiting
    await all_of(asked(client, kind) for kind in KINDS for _ in range(kind.times))

    outcomes, requests = Counter[str](), Counter[str]()
    for kind in kinds:
        requests[f"{ALL} {kind.method} {route(kind)} {kind.status}"] += kind.times
        if kind.outcome:
            outcomes[f"{CACHED} {kind.outcome} {route(kind)}"] += kind.times
    assert await numbers.more(CACHED, ALL, CAUSES, *GROWING) == outcomes | requests


async def invalidations(
    client: httpx.AsyncClient, numbers: Numbers, folder: Path
) -> None:
    given = [f"--{name.replace('_', '-')}={value}" for name, value in ANN.items()]
    command(folder, "user", "create", *given, "--password-stdin", stdin=PASSWORD)
    credentials = {"email": ANN["email"], "password": PASSWORD}
    tokens = (await client.post("/login/", json=credentials)).json()
    shown = {"Authorization": f"Bearer {tokens['token']}"}
    found = await numbers.more(CAUSES)
    assert found == {f"{CAUSES} command": 1, f"{CAUSES} commit auth_sessions": 1}

    me = (await client.get("/users/me", headers=shown)).json()["id"]
    for name in ("Anna", "Anne", "Ann"):
        changed = {**ANN, "first_name": name}
        answer = await client.put(f"/users/{me}", json=changed, headers=shown)
        assert answer.status_code == 200
    for path in ("explicit", "explicit", "clear", "statement", "unmodelled"):
        assert (await client.post(f"/known/{path}")).status_code == 200
    command(folder, "cache", "clear", "known")
    command(folder, "user", "ban", ANN["email"])
    assert await numbers.more(CAUSES) == {
        f"{CAUSES} commit users": 3,
        f"{CAUSES} explicit": 2,
        f"{CAUSES} clear": 1,
        f"{CAUSES} other": 2,
        f"{CAUSES} command": 2,
    }


async def outage(
    client: httpx.AsyncClient, numbers: Numbers, valkey: Valkey, workers: int
) -> None:
    valkey.stop()
    away = are(cache_fallback=workers, cache_openings_total=workers)
    await until(numbers.now, away)
    await numbers.more()
    # More than all processes together have room for, some of them twice.
    several = [Kind(1, f"value/{n}", "", 200) for n in range(ENTRIES * workers + 40)]
    answers = await all_of(asked(client, kind) for kind in [*several, *several[-40:]])
    told = Counter(outcome_of(answer) for answer in answers)
    stored = Counter(
        answer.headers["x-process"]
        for answer in answers
        if "stored" in answer.headers["cache-status"]
    )
    evicted = sum(stored.values()) - sum(min(n, ENTRIES) for n in stored.values())
    assert evicted
    found = {f"{CACHED} {kind} /known/value/{{number}}": n for kind, n in told.items()}
    await until(numbers.now, are(cache_evictions_total=evicted))
    found["cache_evictions_total"] = evicted
    assert await numbers.more(CACHED, CAUSES, *GROWING) == found

    assert (await client.post("/known/explicit")).status_code == 200
    await until(numbers.now, are(cache_undelivered=1))
    assert await numbers.more(CAUSES, *GROWING) == {f"{CAUSES} explicit": 1}

    valkey.start()
    back = are(cache_fallback=0, cache_undelivered=0, cache_entries=0)
    await until(numbers.now, back)
    await until(numbers.now, are(**{f"{CAUSES} outage": workers}))
    await asked(client, Kind(1, "value/1", "", 200))
    await all_of(asked(client, Kind(1, "value/1", "", 200)) for _ in range(40))
    assert await numbers.more(CACHED, CAUSES, *GROWING) == {
        f"{CACHED}  miss /known/value/{{number}}": 1,
        f"{CACHED}  hit /known/value/{{number}}": 40,
        f"{CAUSES} outage": workers,
    }


async def migrations(client: httpx.AsyncClient, numbers: Numbers, folder: Path) -> None:
    await numbers.more()
    command(folder, "db", "downgrade", "--yes")
    command(folder, "db", "upgrade")
    assert await numbers.more(CAUSES) == {f"{CAUSES} migration": 2}


async def all_waiting(client: httpx.AsyncClient) -> None:
    async with httpx.AsyncClient(base_url=client.base_url, timeout=60) as many:
        times = sum(kind.times for kind in WAITING)
        await asyncio.gather(*(many.get("/known/slow") for _ in range(times)))


async def asked(client: httpx.AsyncClient, kind: Kind) -> httpx.Response:
    url = f"/known/{kind.url}"
    answer = await client.request(kind.method, url, headers=kind.headers)
    assert answer.status_code == kind.status, kind
    return answer


def outcome_of(answer: httpx.Response) -> str:
    """Return what a response says of itself, as the metrics do."""
    _, *words = answer.headers["cache-status"].split("; ")
    assert "detail=fallback" in words
    told = [word for word in ("collapsed", "hit") if word in words]
    return f"fallback {[*told, 'miss'][0]}"


def route(kind: Kind) -> str:
    if kind.url == "nowhere":
        return "unmatched"
    path, _, number = kind.url.partition("/")
    return f"/known/{path}" + ("/{number}" if number else "")


def command(folder: Path, *arguments: str, stdin: str = "") -> None:
    subprocess.run(
        [API_ADMIN, *arguments], cwd=folder, input=stdin, text=True, check=True
    )
