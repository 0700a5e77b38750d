"""C2: a namespace drops what is below it, by whole segments, and nothing else.

At a cost that does not depend on what else is stored.
"""

from collections.abc import Sequence
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from app.cache import invalidate_namespace
from app.cache.engine.entry import MAX_DEPTH, namespaces_of, owner_of, place, segment
from app.cache.engine.exchange import running
from tests.engine.each import on_any_storage
from tests.engine.entries import Entries

LONG = "x" * 65_536
ODD = [
    *"*?[]'\"{}%\\",
    "[a-z]",
    "a*",
    "o'brien",
    "'..server.call('FLUSHALL')..'",
    "%s%d",
    "\n",
    "\r\n",
    "\0",
    "é",
    "e\N{COMBINING ACUTE ACCENT}",
    "😀",
    " ",
    LONG,
    f"{LONG}y",
    f"y{LONG}",
]


@on_any_storage
async def test_any_text_is_a_namespace_of_its_own(app: FastAPI) -> None:
    entries = Entries([*ODD, *(text * 2 for text in ODD), "a", "user"])
    await entries.store()
    for text in ODD:
        await invalidate_namespace(text)
        assert await entries.dropped() == {text}


@on_any_storage
async def test_a_namespace_is_a_prefix_of_whole_segments(app: FastAPI) -> None:
    below = {"user:1", "user:1:keys", "user:1:keys:2"}
    others = {"user:10", "user:1x", "user:", "user", "users:1", "x:user:1", "user:2"}
    entries = Entries(below | others)
    await entries.store()
    await invalidate_namespace("user:1")
    assert await entries.dropped() == below
    await invalidate_namespace("user:1:keys:2")
    assert await entries.dropped() == {"user:1:keys:2"}


@on_any_storage
async def test_the_empty_namespace_is_above_everything(app: FastAPI) -> None:
    entries = Entries(["user:1", "products", ":", "::", ":x"])
    await entries.store()
    await invalidate_namespace("")
    assert await entries.dropped() == {"user:1", "products", ":", "::", ":x"}


@on_any_storage
async def test_a_key_may_be_deeper_than_its_namespaces_are_told_apart(
    app: FastAPI,
) -> None:
    deep = ":".join(["a"] * 3 * MAX_DEPTH)
    entries = Entries([deep, f"{deep}:b", "a:b", "b"])
    await entries.store()
    await invalidate_namespace(f"{deep}:b")
    assert {f"{deep}:b"} <= await entries.dropped() <= {deep, f"{deep}:b"}


async def test_several_namespaces_are_dropped_at_once(app: FastAPI) -> None:
    entries = Entries(["a", "b", "c"])
    await entries.store()
    await running[-1].invalidate({"a", "c"}, "a test")
    assert await entries.dropped() == {"a", "c"}


TEXT = st.text(st.sampled_from("ab:*é"), max_size=12)


@given(key=TEXT, namespace=TEXT)
def test_a_namespace_holds_a_key_if_it_is_a_prefix_of_its_segments(
    key: str, namespace: str
) -> None:
    is_prefix = namespace == "" or f"{key}:".startswith(f"{namespace}:")
    assert (owner_of(namespace) in namespaces_of(key)) == is_prefix


@given(st.text())
def test_a_value_is_one_segment_whatever_it_holds(value: str) -> None:
    value = value.encode("utf-8", "replace").decode()
    assert ":" not in segment(value)


@given(st.text(max_size=10), st.text(max_size=10))
def test_two_names_have_two_places(one: str, two: str) -> None:
    for name, other in [(one, two), (one * 100, two * 100)]:
        same = place("app", "token", name) == place("app", "token", other)
        assert same == (name == other)
    assert place("app", "token", one) != place("app", "entry", one)


class Counted:
    """What a store is asked, in all."""

    def __init__(self, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, int]] = []
        for name in ("get_many", "put", "add_many", "renew", "acquire"):
            operation = self._counted(name, getattr(store, name))
            monkeypatch.setattr(store, name, operation)

    def _counted(self, name: str, operation: Any) -> Any:
        async def counted(keys: Any = None, *args: Any, **kwargs: Any) -> Any:
            several = isinstance(keys, dict | list | tuple)
            self.calls.append((name, len(keys) if several else 1))
            return await operation(keys, *args, **kwargs)

        return counted


@on_any_storage
async def test_an_invalidation_asks_the_same_however_much_is_stored(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sequence[tuple[str, int]]] = []
    for stored in (0, 1000):
        entries = Entries(f"unrelated:{number}" for number in range(stored))
        await entries.store()
        with monkeypatch.context() as patch:
            counted = Counted(running[-1].store, patch)
            await invalidate_namespace("user:1")
            asked.append(counted.calls)
        assert await entries.dropped() == set()
    assert asked[0] == asked[1]
    assert sum(keys for _, keys in asked[0]) <= 1 + len(asked[0])
