"""What the cache's promises are tested on, and how long."""

import os
from collections.abc import Awaitable, Callable
from importlib import import_module
from pkgutil import iter_modules

import pytest
from fastapi_cache.types import Backend

from app.cache.storage import PlainStorage
from app.config import Settings
from tests.cache import storages

# Tests that look for rare events look longer with HYPOTHESIS_PROFILE=thorough.
THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"

Opener = Callable[[Settings], Awaitable[Backend]]

ALL = [module.name for module in iter_modules(storages.__path__)]
STOCK = [name for name in ALL if name.startswith("stock")]
# What outlives a process that writes to it: memory needs no fence.
OUTLIVING = [name for name in ALL if name != "memory"]
OWN = [name for name in ALL if name not in STOCK]
CONFIGURED = OWN[-1]  # what the service's settings choose, for processes of their own

on_any_storage = pytest.mark.parametrize("storage", ALL, indirect=True)


def opener(name: str) -> Opener:
    """Return the function that opens a storage."""
    found: Opener = import_module(f"{storages.__name__}.{name}").open_backend
    return found


async def close_stock(storage: PlainStorage) -> None:
    """Close a stock backend's connections, which are not ours but in tests."""
    close = getattr(storage._backend, "close", None)
    if close is not None:
        await close()
