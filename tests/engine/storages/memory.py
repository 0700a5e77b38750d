from app.cache.engine.memory import Memory
from app.config import Settings


async def open_store(settings: Settings) -> Memory:
    memory = Memory(settings.cache_max_bytes, settings.cache_max_entries)
    await memory.open()
    return memory


async def contents(store: Memory) -> bytes:
    return b"\n".join(key.encode() + b"\n" + v for key, (v, _) in store._values.items())
