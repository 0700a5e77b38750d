"""C1: who begins to read after a write was acknowledged is never given older data.

A state machine interleaves reads, writes, expiry and evictions at every point where
one of them waits for the store or for the handler. Some writers die after their
commit (C4). The same machine finds the stale reads of fastapi-cache2's own decorator.
"""

import asyncio
import json
import secrets
import time
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterator,
)
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from typing import Any

import hypothesis
import pytest
from fastapi import FastAPI
from fastapi_cache import FastAPICache
from fastapi_cache.backends.inmemory import InMemoryBackend
from fastapi_cache.decorator import cache
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)
from starlette.types import Message

from app.cache import (
    cache_lifespan,
    cached,
    install_cache,
    invalidate_namespace,
    setup,
)
from app.cache.engine.cache import Cache
from app.cache.engine.entry import version_place
from app.cache.engine.exchange import running
from app.cache.engine.memory import Memory
from app.cache.engine.store import Store
from app.config import Settings
from app.database import Database
from tests.asgi import lifespan
from tests.engine.answers import evict
from tests.engine.each import OUTLIVING, THOROUGH, on_any_storage, opener
from tests.engine.gated import gated, put_gates
from tests.engine.schedule import Schedule

EXAMPLES = 2000 if THOROUGH else 150
WORKERS = st.integers(0, 1)
STEPS = st.integers(0, 6)
HOW = ["route", "no-cache", "function"]


NAMESPACES = st.sampled_from(["item:{}", "item", ""])
FENCE_TTL = 1_000_000  # seconds: here, a fence falls when it is evicted


class StaleRead(AssertionError):
    """Somebody was given data that is older than what was acknowledged before."""


class World:
    """A service with one resource per key, its cache, and who reads and writes it."""

    def __init__(self, schedule: Schedule, app: FastAPI, storage: str = "") -> None:
        self.schedule = schedule
        self.app = app
        self.storage = storage
        self.keys = count(1)
        self.data: dict[int, int] = {}
        self.reads = 0
        self.now = 0.0
        self.outcomes: Counter[str] = Counter()
        self.caches: list[Cache] = []  # none with fastapi-cache2's own decorator
        self.places: set[str] = set()  # where entries were stored
        self.call: Callable[[int], Awaitable[int]] = self.handler

    async def handler(self, key: int) -> int:
        """Read the data at a moment between a beginning and an end."""
        await self.schedule.gate()
        found = self.data[key]
        self.reads += 1
        await self.schedule.gate()
        return found

    async def read(self, key: int, how: str) -> int:
        """Return the version that a reader is given."""
        if how == "function":
            return await self.call(key)
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": f"/items/{key}",
            "query_string": b"",
            "headers": [(b"cache-control", b"no-cache")] if how == "no-cache" else [],
        }
        await self.app(scope, receive, send)
        outcome = dict(sent[0]["headers"]).get(b"x-fastapi-cache", b"?")
        self.outcomes[outcome.decode()] += 1
        version: int = json.loads(b"".join(m.get("body", b"") for m in sent))
        return version

    def evict(self, key: str) -> None:
        """Drop the entries of a key, as a full store does."""
        if not self.caches:
            with suppress(KeyError):  # the stock backend's answer where there is none
                self.schedule.run(FastAPICache.get_backend().clear(key=f"app:{key}"))
        for place in sorted(self.places):
            if place.startswith(f"app:entry:{key}#"):
                self.schedule.run(evict(self.storage, place))

    def forget(self, namespace: str) -> None:
        """Drop the version of a namespace, as a full store does."""
        if self.caches:
            place = version_place("app", namespace)
            self.schedule.run(evict(self.storage, place))

    async def invalidate(self, namespace: str) -> None:
        if self.caches:
            await invalidate_namespace(namespace)
        else:
            await FastAPICache.clear(namespace=namespace)

    @property
    def outlives_its_writers(self) -> bool:
        """Whether the cache does, so that it has fences."""
        return not (self.caches and isinstance(self.caches[0].store, Memory))

    async def close(self, namespace: str, owner: bytes) -> None:
        """Do what a commit does before the data is changed."""
        if self.caches:
            await running[-1].fence({namespace}, owner)

    async def open(self, namespace: str, owner: bytes) -> None:
        """Do what a commit does after it."""
        if self.caches:
            await running[-1].invalidate({namespace}, "a test", owner)
        else:
            await self.invalidate(namespace)

    def be_worker(self, number: int) -> None:
        """Let what comes next happen in one of two processes that share a store."""
        if self.caches:
            running[:] = [self.caches[number]]
            self.app.state.response_cache.cache = running[-1]


class Interleavings(RuleBasedStateMachine):
    """Reads and writes of one resource, one step at a time."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.key = next(world.keys)
        self.acknowledged = self.world.data[self.key] = 0
        self.workers: dict[int, int] = {}
        self.closing = 0

    @precondition(lambda self: len(self.world.schedule.waiting) < 5)
    @rule(worker=WORKERS, how=st.sampled_from(HOW), steps=STEPS)
    def read_begins(self, worker: int = 0, how: str = "route", steps: int = 0) -> None:
        self._start(worker, self._read(how), steps)

    @precondition(lambda self: len(self.world.schedule.waiting) < 5)
    @rule(worker=WORKERS, namespace=NAMESPACES, steps=STEPS)
    def write_commits(
        self, worker: int = 0, namespace: str = "item:{}", steps: int = 0
    ) -> None:
        self.world.data[self.key] += 1
        self._start(worker, self._acknowledge(namespace.format(self.key)), steps)

    @precondition(lambda self: len(self.world.schedule.waiting) < 5)
    @rule(
        worker=WORKERS,
        namespace=NAMESPACES,
        steps=STEPS,
        dies=st.sampled_from([False, False, True]),
    )
    def transaction_ends(
        self,
        worker: int = 0,
        namespace: str = "item:{}",
        steps: int = 0,
        dies: bool = False,
    ) -> None:
        dies = dies and self.world.outlives_its_writers
        write = self._commit(namespace.format(self.key), dies)
        self._start(worker, write, steps)

    @precondition(lambda self: self.world.schedule.waiting)
    @rule(who=st.integers(0, 4), steps=STEPS)
    def goes_on(self, who: int, steps: int) -> None:
        waiting = self.world.schedule.waiting
        self._step(waiting[who % len(waiting)], 1 + steps)

    @rule(lost=st.sampled_from(["time", "entry", "item:{}:one", "item:{}", "item", ""]))
    def is_lost(self, lost: str) -> None:
        if lost == "time":
            self.world.now += 400
        elif lost == "entry":
            self.world.evict(f"item:{self.key}:one")
        elif not self.closing:  # a fence that is lost before the commit is none
            self.world.forget(lost.format(self.key))

    def teardown(self) -> None:
        self.world.schedule.finish()
        assert self.acknowledged == self.world.data[self.key]
        self.read_begins()
        self.world.schedule.finish()
        for closed in ("", "item", f"item:{self.key}"):
            self.world.forget(closed)
        hits = self.world.outcomes["HIT"]
        for _ in range(2):
            self.read_begins()
            self.world.schedule.finish()
        assert self.world.outcomes["HIT"] > hits

    def _start(
        self, worker: int, process: Coroutine[Any, Any, None], steps: int
    ) -> None:
        self.world.be_worker(worker)
        number = self.world.schedule.start(process)
        self.workers[number] = worker
        self._step(number, steps)

    def _step(self, number: int, steps: int) -> None:
        self.world.be_worker(self.workers[number])
        for _ in range(steps):
            if number in self.world.schedule.waiting:
                self.world.schedule.step(number)

    async def _read(self, how: str) -> None:
        at_least = self.acknowledged
        version = await self.world.read(self.key, how)
        if version < at_least:
            raise StaleRead(f"{version} was read after {at_least} was acknowledged")

    async def _acknowledge(self, namespace: str) -> None:
        version = self.world.data[self.key]
        await self.world.schedule.gate()
        await self.world.invalidate(namespace)
        self.acknowledged = max(self.acknowledged, version)

    async def _commit(self, namespace: str, dies: bool) -> None:
        owner = secrets.token_hex(8).encode()
        self.closing += 1
        await self.world.close(namespace, owner)
        await self.world.schedule.gate()
        version = self.world.data[self.key] = self.world.data[self.key] + 1
        self.closing -= 1
        if self.world.outlives_its_writers:
            # Who reads from now on may not know it yet, but has to be given it.
            self.acknowledged = max(self.acknowledged, version)
        if not dies:
            await self.world.schedule.gate()
            await self.world.open(namespace, owner)
            self.acknowledged = max(self.acknowledged, version)


@pytest.fixture
def schedule() -> Iterator[Schedule]:
    with asyncio.Runner() as runner:
        yield Schedule(runner.get_loop())


@pytest.fixture
def world(
    settings: Settings,
    storage: str,
    schedule: Schedule,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    """Yield a service of our own."""

    async def open_gated(settings: Settings) -> Store:
        return gated(await opener(storage)(settings), schedule)

    monkeypatch.setattr(setup, "open_store", open_gated)
    settings = settings.model_copy(update={"cache_fence_ttl": FENCE_TTL})
    app = FastAPI(lifespan=lambda app: cache_lifespan(app, settings))
    app.state.database = Database(settings)
    install_cache(app, settings)
    world = World(schedule, app, storage)
    app.get("/items/{key}")(cached(namespace="item", key_builder=_one)(world.handler))
    world.call = cached(namespace="item", key_builder=_value)(world.handler)
    with _running(world, monkeypatch):
        (first,) = running
        _note_places(first.store, world.places)
        world.caches = [first, schedule.run(_another(first, settings))]
        yield world
        world.be_worker(0)


@pytest.fixture
def stock_world(schedule: Schedule, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Yield a service with fastapi-cache2's decorator and a backend of its own."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        FastAPICache.reset()
        monkeypatch.setattr(InMemoryBackend, "_store", {})
        backend = InMemoryBackend()
        put_gates(backend, ("get", "get_with_ttl", "set", "clear"), schedule)
        FastAPICache.init(backend, prefix="app", expire=300)
        yield
        FastAPICache.reset()

    world = World(schedule, FastAPI(lifespan=lifespan))
    world.app.get("/items/{key}")(
        cache(namespace="item", key_builder=_one)(world.handler)
    )
    with _running(world, monkeypatch):
        yield world


async def _another(first: Cache, settings: Settings) -> Cache:
    return Cache(first.store, settings)


def _note_places(store: Store, places: set[str]) -> None:
    put = store.put

    async def noted(key: str, *args: Any) -> None:
        places.add(key)
        await put(key, *args)

    vars(store)["put"] = noted


def _one(_: Any, namespace: str = "", *, kwargs: dict[str, Any], **__: Any) -> str:
    return f"{namespace}:{kwargs['key']}:one"


def _value(_: Any, namespace: str = "", *, kwargs: dict[str, Any], **__: Any) -> str:
    return f"{namespace}:{kwargs['key']}:value"


@contextmanager
def _running(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + world.now)
    context = lifespan(world.app)
    world.schedule.run(context.__aenter__())
    yield
    world.schedule.run(context.__aexit__(None, None, None))


def explore(world: World, phases: Collection[Phase] = tuple(Phase)) -> None:
    """Look for a stale read in many interleavings, the same ones each time."""

    class InThisWorld(Interleavings):
        def __init__(self) -> None:
            super().__init__(world)

    run_state_machine_as_test(
        InThisWorld,
        settings=hypothesis.settings(
            max_examples=EXAMPLES,
            stateful_step_count=30,
            phases=phases,
            report_multiple_bugs=False,
            database=None,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@on_any_storage
def test_no_read_is_older_than_the_last_acknowledged_write(world: World) -> None:
    explore(world)
    assert world.outcomes["HIT"] > 1.1 * EXAMPLES  # one is the last read of each
    assert world.outcomes["MISS"] > EXAMPLES / 4


@on_any_storage
def test_a_slow_read_that_stores_after_a_write_stores_nothing(world: World) -> None:
    store_after_write(world)


def test_the_stock_decorator_serves_what_a_slow_read_stored(stock_world: World) -> None:
    with pytest.raises(StaleRead, match="0 was read after 1 was acknowledged"):
        store_after_write(stock_world)


@pytest.mark.parametrize("storage", OUTLIVING, indirect=True)
def test_a_writer_that_dies_after_its_commit_leaves_nothing_stale(world: World) -> None:
    die_after_commit(world)


def test_the_stock_decorator_serves_what_was_there_before_a_writer_that_died(
    stock_world: World,
) -> None:
    with pytest.raises(StaleRead, match="0 was read after 1 was acknowledged"):
        die_after_commit(stock_world)


def test_the_same_search_finds_the_stock_decorators_stale_read(
    stock_world: World,
) -> None:
    with pytest.raises(StaleRead):
        explore(stock_world, [Phase.generate])


def store_after_write(world: World) -> None:
    """Replay the interleaving that breaks a cache which only deletes what it has."""
    machine, schedule = Interleavings(world), world.schedule
    machine.read_begins()
    [reader] = schedule.waiting
    while not world.reads:
        schedule.step(reader)
    machine.write_commits()
    writer = schedule.waiting[-1]
    while writer in schedule.waiting:
        schedule.step(writer)
    assert machine.acknowledged == 1
    while reader in schedule.waiting:
        schedule.step(reader)
    machine.teardown()


def die_after_commit(world: World) -> None:
    """Replay the death of a writer while one entry is cached and a read is slow."""
    machine, schedule = Interleavings(world), world.schedule
    machine.read_begins()
    schedule.finish()
    machine.read_begins(how="no-cache")
    [reader] = schedule.waiting
    while world.reads < 2:
        schedule.step(reader)
    machine.transaction_ends(dies=True)
    writer = schedule.waiting[-1]
    while writer in schedule.waiting:
        schedule.step(writer)
    assert machine.acknowledged == 1
    schedule.finish()
    machine.teardown()
