"""Which storages there are to test the cache's promises on."""

from collections.abc import Awaitable, Callable
from importlib import import_module
from pkgutil import iter_modules

import pytest
from fastapi_cache.types import Backend

from app.config import Settings
from tests.cache import storages

Opener = Callable[[Settings], Awaitable[Backend]]

ALL = [module.name for module in iter_modules(storages.__path__)]
STOCK = [name for name in ALL if name.startswith("stock")]
OWN = [name for name in ALL if name not in STOCK]

on_any_storage = pytest.mark.parametrize("storage", ALL, indirect=True)


def opener(name: str) -> Opener:
    """Return the function that opens a storage."""
    found: Opener = import_module(f"{storages.__name__}.{name}").open_backend
    return found
