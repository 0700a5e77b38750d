"""fastapi-cache2's interface does what its documentation says."""

import ast
import time
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi_cache import FastAPICache

import app as service
from app.config import Settings
from tests.engine.entries import Entries


@pytest.fixture
async def entries(app: FastAPI) -> Entries:
    entries = Entries(["user:1", "user:10", "products"])
    await entries.store()
    return entries


async def test_clear_of_a_namespace_drops_that_one(entries: Entries) -> None:
    await FastAPICache.clear(namespace="user:1")
    assert await entries.dropped() == {"user:1"}
    await FastAPICache.clear(namespace="user")
    assert await entries.dropped() == {"user:1", "user:10"}


async def test_clear_drops_everything(entries: Entries) -> None:
    await FastAPICache.clear()
    assert await entries.dropped() == {"user:1", "user:10", "products"}


async def test_clear_of_a_key_drops_that_one(entries: Entries) -> None:
    backend = FastAPICache.get_backend()
    await backend.set("a", b"1")
    await backend.set("b", b"2")
    await FastAPICache.clear(key="a")
    assert [await backend.get("a"), await backend.get("b")] == [None, b"2"]
    await FastAPICache.clear(key="products:entry")
    assert await entries.dropped() == {"products"}


async def test_the_backend_gets_and_sets(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = FastAPICache.get_backend()
    assert await backend.get("a") is None
    assert await backend.get_with_ttl("a") == (0, None)
    await backend.set("a", b"\x00\xff", 60)
    await backend.set("b", b"")
    assert (await backend.get("a"), await backend.get("b")) == (b"\x00\xff", b"")
    ttl, value = await backend.get_with_ttl("a")
    assert (value, 58 <= ttl <= 60) == (b"\x00\xff", True)
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    assert (await backend.get("a"), await backend.get("b")) == (None, b"")


async def test_what_was_set_is_gone_after_clear(app: FastAPI) -> None:
    """As the documentation has it: it clears the whole cache."""
    backend = FastAPICache.get_backend()
    await backend.set("a", b"1")
    await FastAPICache.clear()
    assert await backend.get("a") is None


async def test_the_prefix_is_the_services(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    assert FastAPICache.get_prefix() == settings.cache_prefix


def test_one_module_imports_it() -> None:
    importing = set()
    for file in Path(*service.__path__[:1]).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.partition(".")[0] == "fastapi_cache" for name in names):
                importing.add(file.name)
    assert importing == {"face.py"}
