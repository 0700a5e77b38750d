"""How long a response may be stored, by its own headers (RFC 9111 3, 4.2, 5.2.2)."""

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cache.engine.entry import Lifetime, lifetime_of

NOW = 1_800_000_000.5
TTL = 300

Headers = tuple[tuple[str, str], ...]


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)


def control(value: str, *more: tuple[str, str]) -> Headers:
    return (("cache-control", value), *more)


def expires(seconds: float) -> tuple[str, str]:
    return ("expires", formatdate(NOW + seconds, usegmt=True))


STORED: list[tuple[Headers, int, int]] = [
    ((), TTL, 0),
    (control("public"), TTL, 0),
    (control("must-revalidate, no-transform"), TTL, 0),
    (control("max-age=60"), 60, 0),
    (control("MAX-AGE=60"), 60, 0),
    (control('max-age="60"'), 60, 0),
    (control("max-age=9999"), TTL, 0),
    (control("max-age=" + "9" * 30), TTL, 0),
    (control("max-age=1"), 1, 0),
    # What is for shared caches goes before what is for all (5.2.2.10).
    (control("max-age=0, s-maxage=60"), 60, 0),
    (control("s-maxage=60, max-age=9999"), 60, 0),
    # A directive goes before Expires (5.3).
    (control("max-age=60", ("expires", "0")), 60, 0),
    ((expires(60),), 59, 0),
    ((expires(9999),), TTL, 0),
    # What another cache had for a while is as old (4.2.3).
    ((("age", "20"),), TTL, 20),
    (control("max-age=60", ("age", "20")), 40, 20),
    (control("max-age=9999", ("age", "20")), TTL, 20),
    # A header may come in several lines (RFC 9110 5.3).
    ((("cache-control", "public"), ("cache-control", "max-age=7")), 7, 0),
    (control('extension="no-store, max-age=0"'), TTL, 0),
    ((("vary", "Accept-Language"),), TTL, 0),
]


@pytest.mark.parametrize("number", range(len(STORED)))
@pytest.mark.parametrize("shared", [False, True])
def test_what_may_be_stored_and_for_how_long(number: int, shared: bool) -> None:
    headers, ttl, age = STORED[number]
    assert lifetime_of(headers, TTL, shared=shared) == Lifetime(ttl, age)


REFUSED: list[tuple[Headers, str]] = [
    (control("no-store"), "no-store"),
    (control("max-age=60, No-Store"), "no-store"),
    (control("no-cache"), "no-cache"),
    (control('no-cache="x-own"'), "no-cache"),
    ((("cache-control", "public"), ("cache-control", "no-cache")), "no-cache"),
    (control("max-age=0"), "stale"),
    (control("s-maxage=0, max-age=60"), "stale"),
    (control("max-age=-1"), "stale"),
    (control("max-age=soon"), "stale"),
    (control("max-age"), "stale"),
    (control("max-age=60", ("age", "60")), "stale"),
    (control("max-age=60", ("age", "61")), "stale"),
    ((expires(0),), "stale"),
    ((expires(-100),), "stale"),
    ((("expires", "0"),), "stale"),
    ((("expires", ""),), "stale"),
    ((("expires", "Thu, 99 Nil 2026"),), "stale"),
    ((("set-cookie", "a=b"),), "cookie"),
    ((("vary", "*"),), "varies"),
    ((("vary", "Accept, *"),), "varies"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
@pytest.mark.parametrize("shared", [False, True])
def test_what_may_not_be_stored_and_why(number: int, shared: bool) -> None:
    headers, why = REFUSED[number]
    assert why in lifetime_of(headers, TTL, shared=shared).why_not


@pytest.mark.parametrize("value", ["private", "PRIVATE, max-age=60", 'private="x-own"'])
def test_what_is_private_is_stored_for_one_person_only(value: str) -> None:
    assert lifetime_of(control(value), TTL, shared=False).why_not == ""
    assert "private" in lifetime_of(control(value), TTL, shared=True).why_not


FIELDS = st.sampled_from(
    ["cache-control", "expires", "age", "vary", "set-cookie", "x-own", "date"]
)
VALUES = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=20),
    st.sampled_from(["max-age=", "max-age=5", "no-cache", '"', "=", ",,;", "²", "-5"]),
)


@given(st.lists(st.tuples(FIELDS, VALUES), max_size=5), st.booleans())
def test_no_header_is_an_error_or_prolongs_a_life(
    headers: list[tuple[str, str]], shared: bool
) -> None:
    found = lifetime_of(tuple(headers), TTL, shared=shared)
    assert found.why_not or 1 <= found.ttl <= TTL
    assert found.age >= 0
