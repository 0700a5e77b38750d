from asyncio import Lock

from fastapi_cache.backends.inmemory import InMemoryBackend
from fastapi_cache.types import Backend

from app.config import Settings


async def open_backend(_: Settings) -> Backend:
    # All its instances share one store, and one lock that belongs to one event loop.
    InMemoryBackend._store = {}
    InMemoryBackend._lock = Lock()
    return InMemoryBackend()
