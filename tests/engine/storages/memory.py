from app.cache.engine.memory import Memory
from app.cache.engine.processes import epoch_file
from app.config import Settings


async def open_store(settings: Settings) -> Memory:
    memory = Memory(
        settings.cache_max_bytes,
        settings.cache_max_entries,
        epoch_file(settings.database_url),
        shares=True,
    )
    await memory.open()
    return memory


async def contents(store: Memory) -> bytes:
    return b"\n".join(key.encode() + b"\n" + v for key, v in _all(store))


async def evict(store: Memory, place: str) -> None:
    store._drop(place)


def _all(store: Memory) -> list[tuple[str, bytes]]:
    kept = {**store._values, **store._versions}
    return [(key, value) for key, (value, _) in kept.items()]
