"""What the cache's promises are tested on, and how long."""

import os
from collections.abc import Awaitable, Callable
from importlib import import_module
from pkgutil import iter_modules

import pytest

from app.cache.engine.store import Store
from app.config import Settings
from tests.engine import storages

# Tests that look for rare events look longer with HYPOTHESIS_PROFILE=thorough.
THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"

Opener = Callable[[Settings], Awaitable[Store]]

ALL = [module.name for module in iter_modules(storages.__path__)]
# What outlives a process that writes to it: memory needs no fence.
OUTLIVING = [name for name in ALL if name != "memory"]
CONFIGURED = ALL[-1]  # what the service's settings choose, for processes of their own

on_any_storage = pytest.mark.parametrize("storage", ALL, indirect=True)
# Of modules that test what is done before a store is asked: each test has one of the
# storages, unless there is time for all.
on_one_storage = pytest.mark.on_one_storage


def opener(name: str) -> Opener:
    """Return the function that opens a store."""
    found: Opener = import_module(f"{storages.__name__}.{name}").open_store
    return found
