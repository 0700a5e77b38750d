"""Whether a value reads back as what it was: in value and in type, all the way down."""

import pickle
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from itertools import count
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, PrivateAttr, SecretStr, TypeAdapter

from app.cache.engine.forms import equal
from app.models import User
from tests.engine.test_values import described


class Text(str):
    """A subclass."""


class Numbers(list[int]):
    """A subclass."""


class Color(Enum):
    RED = 1


class Size(IntEnum):
    SMALL = 1


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclass
class Point:
    x: Any
    seen: Any = field(default=None, compare=False)


@dataclass
class Other:
    x: Any
    seen: Any = None


class Model(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: Any = None
    _note: Any = PrivateAttr(default=None)

    def with_note(self, note: object) -> "Model":
        self._note = note
        return self


class Submodel(Model):
    pass


ROME, BERLIN = ZoneInfo("Europe/Rome"), ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)

# Pairs of which the second is not what the first was, though Python may call it equal.
NEAR_MISSES: list[tuple[Any, Any]] = [
    (1, True),
    (0, False),
    (1, 1.0),
    (1, Decimal(1)),
    (1, Size.SMALL),
    (0.0, -0.0),
    (0j, complex(0.0, -0.0)),
    (Decimal("1.10"), Decimal("1.1")),
    (Decimal("1E+3"), Decimal(1000)),
    (Decimal(0), Decimal("-0")),
    ("a", Text("a")),
    ("a", b"a"),
    (b"a", bytearray(b"a")),
    ([1], (1,)),
    ([1], Numbers([1])),
    ((1, 2), Pair(1, 2)),
    ({1}, frozenset({1})),
    ([1], [True]),
    ([[1]], [[1.0]]),
    ([1, 2], [2, 1]),
    ([1], [1, 1]),
    ({"a": 1}, {"a": True}),
    ({1: "a"}, {True: "a"}),
    ({1: "a"}, {"1": "a"}),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),  # it is written in another order
    ({"a": 1}, OrderedDict(a=1)),
    ({"a": 1}, defaultdict(int, a=1)),
    ({1}, {True}),
    ({1, 2.0}, {1.0, 2}),
    ({0.0}, {-0.0}),
    ({Decimal("1.10")}, {Decimal("1.1")}),
    ({(1,)}, {(True,)}),
    (frozenset({(0.0,)}), frozenset({(-0.0,)})),
    ({1: {2}}, {1: {2.0}}),
    (Color.RED, 1),
    (date(2026, 1, 1), datetime(2026, 1, 1)),
    (NOON, NOON.replace(tzinfo=None)),
    (NOON, NOON.astimezone(timezone(timedelta(hours=2)))),
    (NOON.astimezone(ROME), NOON.astimezone(timezone(timedelta(hours=2)))),
    (
        datetime(2026, 10, 25, 2, 30, tzinfo=ROME),
        datetime(2026, 10, 25, 2, 30, tzinfo=ROME, fold=1),
    ),
    (datetime(2026, 10, 25, 2), datetime(2026, 10, 25, 2, fold=1)),
    (time(12, tzinfo=UTC), time(14, tzinfo=timezone(timedelta(hours=2)))),
    (time(12, tzinfo=ROME), time(12)),
    (UUID(int=1), str(UUID(int=1))),
    (SecretStr("a"), SecretStr("b")),
    (SecretStr("a"), "a"),
    (Point(1), Point(True)),
    (Point(1, seen="a"), Point(1, seen="b")),
    (Point(1), Other(1)),
    (Point(1), Model(x=1)),
    (Model(x=1), Model(x=True)),
    (Model(x=1), Submodel(x=1)),
    (Model(x=None), Model()),  # one of them says that it was given
    (Model(x=1, more=1), Model(x=1)),  # an extra attribute
    (Model(x=1, more=1), Model(x=1, more=1.0)),
    (Model(x=1).with_note(1), Model(x=1)),
    (Model(x=1).with_note(1), Model(x=1).with_note(True)),
    (User(first_name="a"), User(first_name="b")),
    (None, False),
    (None, ""),
    (float("nan"), 0.0),
]


@pytest.mark.parametrize(("one", "other"), NEAR_MISSES, ids=map(str, count()))
def test_what_is_nearly_equal_is_not(one: Any, other: Any) -> None:
    assert not equal(one, other)
    assert not equal([one], [other])
    assert not equal({"key": (1, one)}, {"key": (1, other)})
    assert not equal(Point(one), Point(other))
    assert not equal(Model(x=one), Model(x=other))


def test_what_a_row_holds_is_compared_and_not_how_sqlalchemy_keeps_it() -> None:
    assert equal(User(first_name="a"), User(first_name="a"))
    assert not equal(User(first_name="a"), User(first_name="a", last_name="b"))


def test_attributes_beside_the_fields_are_part_of_a_value() -> None:
    one, other = Point(1), Point(1)
    vars(one)["more"] = "by hand"
    assert not equal(one, other)
    numbers, tagged = Numbers([1]), Numbers([1])
    tagged.tag = "x"  # type: ignore[attr-defined]
    assert not equal(tagged, numbers)


ZONES: Any = st.one_of(
    st.none(),
    st.just(UTC),
    st.builds(timezone, st.timedeltas(timedelta(hours=-12), timedelta(hours=12))),
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(-2, 2, width=16),
    st.sampled_from([0.0, -0.0, 1.0]),
    st.decimals(-2, 2, places=1),
    st.sampled_from([Decimal("1.0"), Decimal(1), Decimal("1E+1"), Decimal(10)]),
    st.sampled_from(["", "1", "a", Text("a"), b"a", b""]),
    st.sampled_from([Color.RED, Size.SMALL]),
    st.dates(date(2026, 1, 1), date(2026, 1, 3)),
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 2), timezones=ZONES),
    st.timedeltas(timedelta(0), timedelta(3)),
    st.uuids(),
)
HASHABLE = st.recursive(
    LEAVES, lambda each: st.tuples(each) | st.frozensets(each, max_size=2), max_leaves=3
)


def _containers(each: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(each, max_size=3),
        st.tuples(each, each),
        st.dictionaries(HASHABLE, each, max_size=2),
        st.sets(HASHABLE, max_size=3),
        st.builds(Point, each, each),
        st.builds(Other, each),
        st.builds(Pair, each, each),
        st.builds(lambda x, note: Model(x=x).with_note(note), each, each),
        st.builds(lambda x, more: Model(x=x, more=more), each, each),
    )


VALUES = st.recursive(LEAVES | st.sets(HASHABLE, max_size=2), _containers, max_leaves=8)


@given(VALUES)
def test_a_copy_is_equal(value: Any) -> None:
    # Not by `deepcopy`, which gives small values back themselves.
    assert equal(value, pickle.loads(pickle.dumps(value)))  # noqa: S301 - just made


@given(VALUES, VALUES)
def test_what_is_equal_cannot_be_told_apart(one: Any, other: Any) -> None:
    if equal(one, other):
        assert described(one) == described(other)


ALIKE: list[list[Any]] = [
    [1, 1.0, True],
    [0.0, -0.0, 0],
    [Decimal("1.0"), Decimal(1)],
    [(1,), (True,)],
]
MEMBERS: st.SearchStrategy[Any] = st.one_of(*map(st.sampled_from, ALIKE))


@given(st.lists(MEMBERS, max_size=3), st.lists(MEMBERS, max_size=3))
def test_sets_that_are_equal_cannot_be_told_apart(left: Any, right: Any) -> None:
    one, other = set(left), set(right)
    assert equal(one, other) == (described(one) == described(other))


@given(
    st.dictionaries(st.text(max_size=2), st.integers() | st.text(max_size=3)),
    st.datetimes(timezones=ZONES),
    st.decimals(allow_nan=False, allow_infinity=False),
)
def test_what_pydantic_reads_back_well_is_equal(
    plain: dict[str, Any], when: datetime, number: Decimal
) -> None:
    """Else nothing of these kinds would ever be cached."""
    zone = timezone(timedelta(minutes=90)) if when.tzinfo else None
    second = when.replace(tzinfo=zone, fold=0)
    for kind, value in (
        (dict[str, int | str], plain),
        (datetime, second),
        (Decimal, number),
        (list[UUID], [UUID(int=7)]),
        (tuple[int, ...], (1, 2)),
        (set[str], {"a", "b"}),
    ):
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        assert equal(value, adapter.validate_json(adapter.dump_json(value)))
