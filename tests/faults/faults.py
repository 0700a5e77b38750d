"""What can happen to a Redis, and how it ends again."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from faults.load import Load
from faults.proxy import Proxy
from faults.routes import read_of, user_write
from faults.service import WORKERS, Service
from faults.valkey import Valkey

DELAY = 0.3  # seconds; three times CACHE_TIMEOUT
RATE = 2_000  # bytes a second
MEGABYTE = 1_048_576


@dataclass(frozen=True)
class World:
    """Everything that a fault can touch."""

    valkey: Valkey
    proxies: list[Proxy]  # one for each worker
    service: Service
    load: Load

    async def cut(self) -> None:
        for proxy in self.proxies:
            await proxy.cut()

    async def heal(self) -> None:
        for proxy in self.proxies:
            await proxy.heal()


Strike = Callable[[World, float], Awaitable[None]]
FAULTS: dict[str, Strike] = {}


def fault(name: str) -> Callable[[Strike], Strike]:
    def enlist(strike: Strike) -> Strike:
        FAULTS[name] = strike
        return strike

    return enlist


@fault("none, for comparison")
async def nothing(world: World, seconds: float) -> None:
    await asyncio.sleep(seconds)


@fault("SIGKILL, then an empty server")
async def kill(world: World, seconds: float) -> None:
    world.valkey.kill()
    world.valkey.forget_snapshot()
    await asyncio.sleep(seconds)
    await world.valkey.start()


@fault("SIGSTOP, then SIGCONT")
async def stop(world: World, seconds: float) -> None:
    world.valkey.freeze()
    await asyncio.sleep(seconds)
    world.valkey.thaw()


@fault("connections cut, new ones refused")
async def cut(world: World, seconds: float) -> None:
    await world.cut()
    await asyncio.sleep(seconds)
    await world.heal()


@fault("black hole")
async def black_hole(world: World, seconds: float) -> None:
    for proxy in world.proxies:
        proxy.freeze()
    await asyncio.sleep(seconds)
    await world.heal()


@fault("slow: each packet 0.3 s late")
async def slow(world: World, seconds: float) -> None:
    for proxy in world.proxies:
        proxy.delay(DELAY)
    await asyncio.sleep(seconds)
    await world.heal()


@fault("throttled to 2 kB/s")
async def throttle(world: World, seconds: float) -> None:
    for proxy in world.proxies:
        proxy.throttle(RATE)
    await asyncio.sleep(seconds)
    await world.heal()


@fault("a tenth of the replies damaged")
async def corrupt(world: World, seconds: float) -> None:
    for proxy in world.proxies:
        proxy.corrupt(0.1)
    await asyncio.sleep(seconds)
    await world.heal()


@fault("network flapping: 0.3 s off, 0.7 s on")
async def flap(world: World, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await world.cut()
        await asyncio.sleep(0.3)
        await world.heal()
        await asyncio.sleep(0.7)


@fault("FLUSHALL, ten times a second")
async def flush(world: World, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await world.valkey.ask("FLUSHALL")
        await asyncio.sleep(0.1)


@fault("1 MB, allkeys-lru, written full by others")
async def evict(world: World, seconds: float) -> None:
    limit = await world.valkey.used_memory() + MEGABYTE
    await world.valkey.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    await world.valkey.ask("CONFIG", "SET", "maxmemory", str(limit))
    end = time.monotonic() + seconds
    written = 0
    while time.monotonic() < end:
        for _ in range(10):
            written += 1
            await world.valkey.ask("SET", f"other:{written}", b"x" * 20_000)
        await asyncio.sleep(0.05)
    await world.valkey.ask("CONFIG", "SET", "maxmemory", "0")


@fault("full, noeviction")
async def full(world: World, seconds: float) -> None:
    await world.valkey.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await world.valkey.ask("CONFIG", "SET", "maxmemory", "1")
    await asyncio.sleep(seconds)
    await world.valkey.ask("CONFIG", "SET", "maxmemory", "0")


@fault("read-only replica")
async def read_only(world: World, seconds: float) -> None:
    # Of a master that is not there: it keeps its data, and refuses to write.
    await world.valkey.ask("REPLICAOF", "127.0.0.1", "1")
    await asyncio.sleep(seconds)
    await world.valkey.ask("REPLICAOF", "NO", "ONE")


@fault("SIGKILL, then an old snapshot")
async def old_snapshot(world: World, seconds: float) -> None:
    await world.valkey.ask("SAVE")
    await asyncio.sleep(seconds / 2)  # what is written now is not in it
    world.valkey.kill()
    await asyncio.sleep(seconds / 2)
    await world.valkey.start()
    world.valkey.forget_snapshot()


@fault("Redis down at the start")
async def down_at_start(world: World, seconds: float) -> None:
    await world.load.stop()
    await world.service.stop()
    world.valkey.kill()
    await world.service.start()
    world.load.start()
    await asyncio.sleep(seconds)
    await world.valkey.start()


@fault("one of two workers cut off")
async def one_cut(world: World, seconds: float) -> None:
    await world.proxies[0].cut()
    await asyncio.sleep(seconds)
    await world.heal()


@fault("cut, and more writes than the journal holds")
async def overflow(world: World, seconds: float) -> None:
    load, crowd = world.load, world.service.crowd
    writer, admin = WORKERS[0], world.service.admin
    for row in crowd:
        await load.read(writer, read_of(world.service, row))
    await world.cut()
    for row in crowd:
        await load.write(writer, user_write(row, admin))
        await asyncio.sleep(0.01)  # let the other worker's writes get a turn, too
    await world.heal()
