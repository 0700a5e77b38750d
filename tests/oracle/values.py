"""Cached functions with values of all kinds, and the description of what they gave.

`GET /values/{kind}` calls one; its handler is not cached. It spoils what it got, as a
caller may: the next one must not see that.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, SecretStr, computed_field
from pydantic.alias_generators import to_camel

from app.cache import cached
from tests.oracle.parts import ran


class Alias(BaseModel):
    amount: Decimal = Field(default=Decimal(0), alias="Amount")


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    first_name: str | None = None


class Required(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    first_name: str


class Validated(BaseModel):
    price: float = Field(default=0.0, validation_alias="unit_price")


class Excluded(BaseModel):
    id: int
    note: str = Field(default="", exclude=True)


class Secret(BaseModel):
    token: SecretStr


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int

    @computed_field  # type: ignore[prop-decorator] # as pydantic documents it
    @property
    def b(self) -> int:
        return self.a * 2


class Animal(BaseModel):
    name: str


class Dog(Animal):
    breed: str = "mutt"


class Color(Enum):
    red = "r"


class Typed(BaseModel):
    names: set[str] = {"a", "b"}
    pair: tuple[int, ...] = (1, 2)
    when: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    id: UUID = UUID(int=1)
    color: Color = Color.red
    took: timedelta = timedelta(days=1)


@dataclass
class Point:
    x: float
    y: float | None


class Pair(NamedTuple):
    left: int
    right: str


NOW = datetime(2026, 1, 1, tzinfo=UTC)

# The function's return annotation, and its value.
VALUES: dict[str, tuple[Any, Callable[[], Any]]] = {
    "int": (int, lambda: 2**70),
    "any": (Any, lambda: {"a": [1, None, True]}),
    "alias": (Alias, lambda: Alias(Amount=Decimal("9.99"))),
    "camel": (Camel, lambda: Camel(firstName="Ann")),
    "camel required": (Required, lambda: Required(firstName="Ann")),
    "validation alias": (Validated, lambda: Validated(unit_price=3.5)),
    "excluded": (Excluded, lambda: Excluded(id=1, note="for the caller")),
    "secret": (Secret, lambda: Secret(token=SecretStr("s3cr3t"))),
    "computed": (Computed, lambda: Computed(a=2)),
    "subclass": (Animal, lambda: Dog(name="Rex", breed="collie")),
    "subclasses": (list[Animal], lambda: [Dog(name="Rex", breed="collie")]),
    "any datetime": (Any, lambda: {"at": NOW}),
    "dict of any": (dict[str, Any], lambda: {"d": Decimal("1.10"), "pair": (1, {2})}),
    "bare dict": (dict, lambda: {1: "one", date(2026, 1, 1): 2}),
    "bare list": (list, lambda: [(1, "a"), (2, "b")]),
    "object": (object, lambda: Decimal("1.10")),
    "date or text": (str | date, lambda: date(2026, 1, 1)),
    "UUID or text": (UUID | str, lambda: str(UUID(int=5))),
    "Decimal or text": (Decimal | str, lambda: "1.10"),
    "int or float": (int | float, lambda: 1.0),
    "not a number": (float | None, lambda: math.nan),
    "infinite": (dict[str, float | None], lambda: {"a": math.inf, "b": -0.0}),
    "bytes": (bytes, lambda: b"\xff\xfe"),
    "typed": (Typed, Typed),
    "dataclass": (Point, lambda: Point(1.5, None)),
    "named tuple": (Pair, lambda: Pair(1, "r")),
    "surrogate": (str, lambda: "a\ud800b"),
    "naive": (datetime, lambda: datetime(2026, 1, 1)),
    "exponent": (Decimal, lambda: Decimal("1E+3")),
    "not as annotated": (int, lambda: "one"),
    "none": (None, lambda: None),
    "unannotated": (..., lambda: [1, 2]),
}
ARGUMENTS = [1, True, 1.0, "1", None, "None", [1], (1,), {"a": 1}, {"a": "1"}, NOW]


def describe(value: Any) -> str:
    """The value with all types in it."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    name = type(value).__name__
    if isinstance(value, BaseModel):
        value = dict(value)
    if isinstance(value, dict):
        items = [f"{describe(k)}: {describe(v)}" for k, v in value.items()]
    elif isinstance(value, list | tuple):
        items = [describe(each) for each in value]
    elif isinstance(value, set | frozenset):
        items = sorted(describe(each) for each in value)
    else:
        return f"{name} {value!a}"
    return f"{name} [{', '.join(items)}]"


def spoil(value: Any) -> None:
    if isinstance(value, list):
        value.append("spoilt")
    elif isinstance(value, dict):
        value["spoilt"] = True
    elif isinstance(value, BaseModel):
        value.__dict__.clear()


def _function(kind: str, thread: bool = False) -> Any:
    annotation, value = VALUES[kind]

    async def made() -> Any:
        ran(f"handler {kind}")
        return value()

    def made_in_thread() -> Any:
        ran(f"handler {kind}")
        return value()

    function: Any = made_in_thread if thread else made
    function.__name__ = function.__qualname__ = f"{kind.replace(' ', '_')}_{thread}"
    if annotation is ...:
        del function.__annotations__["return"]
    else:
        function.__annotations__["return"] = annotation
    return cached(expire=60, namespace="values")(function)


FUNCTIONS = {kind: _function(kind) for kind in VALUES}
IN_THREAD = {kind: _function(kind, thread=True) for kind in ("alias", "any", "typed")}


@cached(namespace="values")
async def echo(value: Any, *, other: Any = None) -> str:
    return describe([value, other])


class Desk:
    def __init__(self, name: str) -> None:
        self.name = name

    @cached(namespace="values")
    async def read(self) -> str:
        return self.name


router = APIRouter(prefix="/values")
READS = ["/values/arguments", "/values/methods", *(f"/values/{k}" for k in VALUES)]
READS += [f"/values/thread/{kind}" for kind in IN_THREAD]


@router.get("/arguments")
async def arguments() -> list[str]:
    found = [await echo(each) for each in ARGUMENTS]
    return found + [await echo(0, other=each) for each in ARGUMENTS]


@router.get("/methods")
async def methods() -> list[str]:
    return [await Desk(name).read() for name in "abab"]


@router.get("/{kind}")
async def value(kind: str) -> str:
    return _described(await FUNCTIONS[kind]())


@router.get("/thread/{kind}")
def value_in_thread(kind: str) -> str:
    return _described(IN_THREAD[kind]())


def _described(found: Any) -> str:
    description = describe(found)
    spoil(found)
    return description
