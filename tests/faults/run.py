"""Runs the faults one after the other, and tells what the requests met."""

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator, Callable, Container, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from faults.faults import FAULTS, World
from faults.load import Load, Tally
from faults.proxy import Proxy
from faults.routes import read_of, reads, writes
from faults.service import WORKERS, Service
from faults.valkey import valkey_in
from tables import table


@dataclass(frozen=True)
class Length:
    """How long and how much."""

    rate: float  # requests a second
    warm: float  # seconds before each fault
    fault: float  # seconds of it
    recovery: float  # seconds after which a recovery counts as none
    rounds: int


FULL = Length(rate=200, warm=3, fault=10, recovery=30, rounds=100)
SHORT = Length(rate=40, warm=0.3, fault=1.5, recovery=60, rounds=3)

WAITED = "waited for CACHE_TIMEOUT"
ROUNDS = "rounds of: cut, write, heal, read at once"
LIMITED = {"one of two workers cut off"}
"""Faults in which the workers do not see the same: documented as a limit."""


@dataclass
class Outcome:
    """What one fault did; times are in seconds."""

    fault: str
    during: Tally = field(default_factory=Tally)
    after: Tally = field(default_factory=Tally)
    recovery: float | None = None

    @property
    def errors(self) -> int:
        return self.during.errors.total() + self.after.errors.total()

    @property
    def late(self) -> float:
        """By how much the load itself was late at most."""
        return max(self.during.late, self.after.late)

    @property
    def stale(self) -> int:
        """Stale reads that break a promise."""
        others = 0 if self.fault in LIMITED else self.during.stale["others"]
        return self.during.stale["own"] + others + self.after.stale.total()


ServiceOpener = Callable[[list[str]], AbstractAsyncContextManager[Service]]


@asynccontextmanager
async def world_of(
    project: Path, opener: ServiceOpener, length: Length
) -> AsyncIterator[World]:
    """A server, a proxy for each worker, the service and its load; all at work."""
    async with AsyncExitStack() as stack:
        # Nothing of what is loaded is garbage. To look for it there would hold up the
        # load, and the proxies, for a tenth of a second now and then.
        gc.freeze()
        stack.callback(gc.unfreeze)
        valkey = stack.enter_context(valkey_in(project))
        await valkey.start()
        proxies = [Proxy(valkey.socket) for _ in WORKERS]
        for proxy in proxies:
            await proxy.start()
            stack.push_async_callback(proxy.stop)
        urls = [f"redis://127.0.0.1:{proxy.port}/0" for proxy in proxies]
        service = await stack.enter_async_context(opener(urls))
        load = Load(service, length.rate, patience=length.fault + 10)
        stack.push_async_callback(load.disconnect)
        load.start()
        stack.push_async_callback(load.stop)
        assert await load.until_hits(length.recovery) is not None, "no hits"
        yield World(valkey, proxies, service, load)


async def run_all(
    project: Path, opener: ServiceOpener, length: Length, names: Iterable[str]
) -> list[Outcome]:
    """Let faults happen one after the other to one service."""
    outcomes = []
    async with world_of(project, opener, length) as world:
        for name in names:
            print(name, file=sys.stderr, flush=True)  # at full length it takes long
            run = run_rounds if name == ROUNDS else run_fault
            outcomes.append(await run(world, name, length))
    return outcomes


async def run_fault(world: World, name: str, length: Length) -> Outcome:
    """Let one fault happen and end; the load runs all the time."""
    load, outcome = world.load, Outcome(name)
    await asyncio.sleep(length.warm)
    load.tally = outcome.during
    await FAULTS[name](world, length.fault)
    load.healed_at = healed = time.monotonic()
    back = await load.until_hits(length.recovery)
    outcome.recovery = None if back is None else back - healed
    load.tally = outcome.after
    load.healed_at = None
    await asyncio.sleep(length.warm)
    await sweep(world)
    load.tally = Tally()
    await world.valkey.ask("FLUSHALL")
    return outcome


async def sweep(world: World) -> None:
    """Ask each worker for everything once."""
    load, service = world.load, world.service
    await load.stop()
    for worker in WORKERS:
        for person in service.people:
            for read in reads(service, person):
                await load.read(worker, read)
        for row in service.crowd:
            if row.acknowledged:
                await load.read(worker, read_of(service, row))
    load.start()


async def run_rounds(world: World, name: str, length: Length) -> Outcome:
    """Cut, write on one worker, heal, and read at once on both; again and again."""
    load, service = world.load, world.service
    outcome = Outcome(name)
    load.tally = outcome.during
    for turn in range(length.rounds):
        load.healed_at = healed = time.monotonic()
        back = await load.until_hits(length.recovery)
        if back is None:
            outcome.recovery = None
            return outcome
        outcome.recovery = max(outcome.recovery or 0, back - healed)
        await load.stop()
        person = service.people[turn % len(service.people)]
        order = WORKERS if turn % 2 else WORKERS[::-1]
        for worker in order:
            for read in reads(service, person):
                await load.read(worker, read)
        await world.cut()
        for write in writes(person):
            await load.write(order[0], write)
        await world.heal()
        for worker in order[::-1]:
            for read in reads(service, person):
                await load.read(worker, read)
        load.start()
    load.healed_at = None
    load.tally = Tally()
    return outcome


COLUMNS: dict[str, Callable[[Outcome], str]] = {
    "fault": lambda each: each.fault,
    "requests": lambda each: str(each.during.requests),
    "hits": lambda each: f"{each.during.hits / max(1, each.during.requests):.0%}",
    "errors": lambda each: str(each.errors),
    "slowest, ms": lambda each: f"{each.during.slowest * 1000:.0f}",
    "> 100 ms": lambda each: str(each.during.slow),
    WAITED: lambda each: str(each.during.waited.total()),
    "stale: own writes": lambda each: str(each.during.stale["own"]),
    "stale: others' writes": lambda each: str(each.during.stale["others"]),
    "stale after recovery": lambda each: str(each.after.stale.total()),
    "hits from Redis after, s": lambda each: (
        "never" if each.recovery is None else f"{each.recovery:.1f}"
    ),
}


def as_table(outcomes: list[Outcome], leave_out: Container[str] = ()) -> str:
    """A row for each outcome, without the columns that are left out."""
    columns = {k: cell for k, cell in COLUMNS.items() if k not in leave_out}
    rows = [tuple(cell(each) for cell in columns.values()) for each in outcomes]
    return table(tuple(columns), rows)
