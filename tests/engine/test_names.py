"""Segments of keys, the namespaces above a key, and what a request's state tells."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cache import segment, touches
from app.cache.engine import rules
from app.cache.engine.entry import (
    MAX_DEPTH,
    ROOT,
    namespaces_of,
    new_version,
    owner_of,
    place,
    version_place,
)
from app.cache.engine.exchange import RecordedState
from app.cache.engine.store import CLOSED
from app.cache.keys import user_scoped_key_builder
from app.models import User

TEXT = st.text(st.sampled_from("ab:%3A25é \0"), max_size=8)


@given(TEXT, TEXT)
def test_two_values_are_two_segments(one: str, other: str) -> None:
    assert (segment(one) == segment(other)) == (one == other)
    assert ":" not in segment(one)


@given(st.text(st.characters(exclude_characters=":%")))
def test_a_plain_value_is_its_own_segment(value: str) -> None:
    assert segment(value) == value


@pytest.mark.parametrize("value", [5, -1, 1.5, None, True, "a b", "é", ""])
def test_any_value_has_a_segment(value: object) -> None:
    assert segment(value) == str(value)


@given(st.lists(TEXT, min_size=1, max_size=4), TEXT)
def test_a_value_in_the_middle_of_a_key_invents_no_namespace(
    parts: list[str], foreign: str
) -> None:
    key = ":".join(["user", *map(segment, parts)])
    assert len(namespaces_of(key)) == len(parts) + 2
    below = owner_of(f"user:{segment(foreign)}")
    assert (below in namespaces_of(key)) == (segment(foreign) == segment(parts[0]))


def test_rules_and_builders_write_a_value_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that a row's rule matches the key which its value is in."""
    monkeypatch.setattr(rules, "rules", {})
    touches(User, "user:{email}")
    tables = rules.Tables(User.metadata)
    for value in ("b:c é", "a%3Ab", "50 %", "x@example.com"):
        key = user_scoped_key_builder(key_of, "user", kwargs={"user_id": value})
        (reached,) = tables.reached(tables.named()["users"], {"email": value})
        assert reached in namespaces_of(key)


def key_of() -> None: ...


@given(st.text(max_size=20))
def test_a_key_is_below_the_root_and_itself(key: str) -> None:
    found = namespaces_of(key)
    assert found[0] == ROOT
    assert len(found) <= MAX_DEPTH
    assert found[-1] == owner_of(key)
    assert all(f"{key}:".startswith(f"{name}:") for name in found[1:])


@given(st.integers(1, 100))
def test_a_key_from_outside_asks_for_a_bounded_number_of_versions(depth: int) -> None:
    key = ":".join(["a"] * depth)
    assert len(namespaces_of(key)) == min(depth + 1, MAX_DEPTH)
    assert owner_of(key) == namespaces_of(f"{key}:b")[min(depth, MAX_DEPTH - 1)]


def test_no_version_looks_like_a_closed_one_or_comes_twice() -> None:
    versions = {new_version() for _ in range(1000)}
    assert len(versions) == 1000
    assert not any(version.encode().startswith(CLOSED) for version in versions)


@given(st.text(max_size=400))
def test_a_place_is_of_bounded_length(name: str) -> None:
    assert len(place("app", "entry", name)) < 300
    assert version_place("app", name) == place("app", "token", name)


def test_a_state_tells_what_was_read_that_was_there_before() -> None:
    state = RecordedState({"tenant": "a", "language": "en"})
    assert state["tenant"] == "a"
    assert state.read == {"tenant"}
    assert "language" in state
    assert state.read == {"tenant", "language"}
    assert state.get("absent") is None  # others may have it
    assert state.read == {"tenant", "language", "absent"}


def test_what_the_request_put_into_its_state_itself_is_its_own() -> None:
    given_: dict[str, Any] = {"tenant": "a"}
    state = RecordedState(given_)
    state["tenant"] = "b"
    state["principal"] = 5
    assert (state["tenant"], state["principal"], state.read) == ("b", 5, set())
    assert given_ == {"tenant": "b", "principal": 5}  # the middleware may look at it
    del state["principal"]
    with pytest.raises(KeyError):
        state["principal"]
    assert state.read == set()


@pytest.mark.parametrize("look", [dict, list, len, bool, "tenant".__eq__, dict.items])
def test_who_looks_at_a_whole_state_has_seen_all_of_it(look: Any) -> None:
    state = RecordedState({"tenant": "a", "language": "en"})
    state["own"] = 1
    if look is dict.items:
        list(state.items())
    elif look in (dict, list):
        look(state)
    else:
        assert state == {"tenant": "a", "language": "en", "own": 1}
    assert "*" in state.read  # also what it lacks


@pytest.mark.parametrize("change", ["pop", "popitem", "clear", "setdefault", "update"])
def test_a_state_can_be_changed_in_every_way(change: str) -> None:
    state = RecordedState({"tenant": "a"})
    if change == "setdefault":
        assert state.setdefault("tenant", "b") == "a"
        assert state.read == {"tenant"}
    elif change == "update":
        state.update(tenant="b")
        assert state.read == set()
    else:
        getattr(state, change)(*(["tenant"] if change == "pop" else []))
        assert len(state) == 0
