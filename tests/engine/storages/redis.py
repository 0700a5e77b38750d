from app.cache.engine.redis.failover import Failover
from app.cache.engine.redis.server import name_of
from app.config import Settings

PATIENCE = 20.0  # seconds; this machine is busy with tests


async def open_store(settings: Settings) -> Failover:
    failover = Failover(settings.model_copy(update={"cache_timeout": PATIENCE}))
    await failover.open()
    assert not failover.fallback
    return failover


async def contents(store: Failover) -> bytes:
    redis = store._redis
    (names,) = await redis.line.ask(("KEYS", "*"))
    values = await redis.line.ask(keys=names)
    return b"\n".join([*names, *(value or b"" for value in values)])


async def evict(store: Failover, place: str) -> None:
    await store._redis.line.ask(("DEL", name_of(place)))
