from fastapi_cache.types import Backend

from app.cache.backends.memory import MemoryBackend
from app.config import Settings


async def open_backend(settings: Settings) -> Backend:
    memory = MemoryBackend(settings.cache_max_bytes, settings.cache_max_entries)
    await memory.open()
    return memory


async def contents(backend: MemoryBackend) -> bytes:
    return b"\n".join(
        key.encode() + b"\n" + v for key, (v, _) in backend._values.items()
    )
