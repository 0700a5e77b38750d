"""Functions that are no routes: what they return is cached, with the same promises."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from functools import wraps
from itertools import count
from typing import Annotated, Any, Self
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
import pytest
from anyio import to_thread
from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import PlainTextResponse
from fastapi_cache.coder import PickleCoder
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    computed_field,
)
from pydantic.alias_generators import to_camel
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import TypedDict

from app.cache import cached, invalidate_namespace
from app.database import Database, SessionDep
from app.models import User
from tests.engine.answers import contents
from tests.engine.conftest import Serve
from tests.engine.each import on_any_storage, on_one_storage
from tests.people import Person

pytestmark = on_one_storage


def above(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(function)
    async def inner(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return inner


class Product(BaseModel):
    name: str
    seen: datetime


@dataclass(frozen=True)
class Point:
    x: int
    y: int


class Narrow(Product):
    more: str


class Alias(BaseModel):
    amount: Decimal = Field(default=Decimal(0), alias="Amount")


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    first_name: str | None = None


class Priced(BaseModel):
    price: float = Field(default=0.0, validation_alias="unit_price")


class Excluded(BaseModel):
    id: int
    note: str = Field(default="", exclude=True)


class Hidden(BaseModel):
    token: SecretStr


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no such property
    @property
    def b(self) -> int:
        return self.a * 2


class Noted(BaseModel):
    id: int
    _note: str = PrivateAttr(default="")

    def noted(self, note: str) -> Self:
        self._note = note
        return self


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    id: int


class Typed(TypedDict):
    at: datetime
    n: int


SEEN = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


@on_any_storage
async def test_a_value_comes_back_as_it_was(app: FastAPI) -> None:
    runs = count(1)

    @cached(namespace="values")
    async def product(name: str) -> Product | None:
        next(runs)
        return Product(name=name, seen=SEEN) if name else None

    @cached(namespace="values")
    async def points() -> dict[str, tuple[Point, ...]]:
        next(runs)
        return {"all": (Point(1, 2), Point(3, 4))}

    for _ in "123":
        assert await product("a") == Product(name="a", seen=SEEN)
        assert await product("") is None
        assert await points() == {"all": (Point(1, 2), Point(3, 4))}
    assert next(runs) == 4


async def test_a_call_is_told_apart_by_all_its_arguments(app: FastAPI) -> None:
    runs: list[Any] = []

    @cached(namespace="sums")
    async def total(first: int, *more: int, times: int = 1, **named: int) -> int:
        runs.append((first, more, times, named))
        return (first + sum(more) + sum(named.values())) * times

    assert await total(1) == await total(first=1) == await total(1, times=1) == 1
    assert len(runs) == 1
    assert await total(1, 2) == 3
    assert await total(2, 1) == 3
    assert await total(1, 2, times=2) == 6
    assert await total(1, other=2) == 3
    assert len(runs) == 5


async def test_two_functions_of_one_name_have_entries_of_their_own(
    app: FastAPI,
) -> None:
    class One:
        @staticmethod
        @cached(namespace="names")
        async def name() -> str:
            return "one"

    class Two:
        @staticmethod
        @cached(namespace="names")
        async def name() -> str:
            return "two"

    for _ in "12":
        assert await One.name() == "one"
        assert await Two.name() == "two"


async def test_an_argument_that_no_key_can_name_is_not_cached(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    runs = count(1)

    @cached(namespace="objects")
    async def describe(thing: object) -> int:
        return next(runs)

    assert await describe(object()) == 1
    assert await describe(object()) == 2
    assert "give @cached a key_builder" in caplog.text


async def test_a_function_that_encloses_too_much_to_look_into_runs_uncached(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    things, runs = [object() for _ in range(501)], count(1)

    @cached(namespace="enclosing")
    async def number() -> int:
        return next(runs) + len(things)

    assert [await number() for _ in "12"] == [502, 503]
    (warning,) = warnings(caplog)
    assert "what it encloses (a list of more than 500 items)" in warning
    assert "give @cached a key_builder" in warning


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


async def test_a_function_without_a_return_type_or_a_coder_runs_uncached(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    runs = count(1)

    @cached(namespace="untyped")
    async def untyped():  # type: ignore[no-untyped-def]  # that is what this is about
        return next(runs)

    assert [await untyped() for _ in "123"] == [1, 2, 3]
    (warning,) = warnings(caplog)
    assert "untyped is not cached" in warning
    assert "add one, or a coder" in warning


async def test_a_type_that_nobody_can_store_by_runs_uncached(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    runs = count(1)

    class Opaque:
        pass

    @cached(namespace="opaque")
    async def opaque() -> Opaque:
        next(runs)
        return Opaque()

    @cached(namespace="nowhere")
    async def nowhere() -> "Nowhere":  # type: ignore[name-defined]  # noqa: F821
        next(runs)

    @cached(namespace="response")
    async def response() -> PlainTextResponse:
        next(runs)
        return PlainTextResponse("x")

    for function in (opaque, nowhere, response):
        for _ in "12":
            await function()
    assert next(runs) == 7
    assert len(warnings(caplog)) == 3


async def test_what_reads_back_as_something_else_is_said_once_and_how_to_mend_it(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    runs = count(1)

    @cached(namespace="narrow")
    async def narrow() -> Product:
        next(runs)
        return Narrow(name="a", seen=SEEN, more="kept")

    found = [await narrow() for _ in "123"]
    assert next(runs) == 4
    assert [type(each) for each in found] == [Narrow] * 3
    (warning,) = warnings(caplog)
    assert "narrow is not cached" in warning
    assert "Narrow does not read back" in warning


KINDS: dict[str, tuple[Any, Callable[[], Any]]] = {
    "alias": (Alias, lambda: Alias(Amount=Decimal("9.99"))),
    "camel": (Camel, lambda: Camel(firstName="Ann")),
    "validation alias": (Priced, lambda: Priced(unit_price=3.5)),
    "excluded field": (Excluded, lambda: Excluded(id=1, note="for the caller")),
    "secret": (Hidden, lambda: Hidden(token=SecretStr("s3cr3t"))),
    "computed field": (Computed, lambda: Computed(a=2)),
    "private attribute": (Noted, lambda: Noted(id=1).noted("x")),
    "extra attribute": (Open, lambda: Open.model_validate({"id": 1, "more": SEEN})),
    "subclass": (Product, lambda: Narrow(name="a", seen=SEEN, more="x")),
    "subclasses": (list[Product], lambda: [Narrow(name="a", seen=SEEN, more="x")]),
    "any": (Any, lambda: {"at": SEEN, "price": Decimal("1.10"), "tags": {"a"}}),
    "object": (object, lambda: Decimal("1.10")),
    "plain dict": (dict, lambda: {1: "one", date(2026, 1, 1): 2}),
    "plain list": (list, lambda: [(1, "a"), (2, "b")]),
    "date or text": (str | date, lambda: date(2026, 1, 1)),
    "id or text": (UUID | str, lambda: str(UUID(int=5))),
    "number or text": (Decimal | str, lambda: "1.10"),
    "not a number": (float | None, lambda: math.nan),
    "infinite": (dict[str, float | None], lambda: {"a": math.inf}),
    "minus zero": (float, lambda: -0.0),
    "an int as a float": (float, lambda: 1),
    "a bool as an int": (int, lambda: True),
    "bools in sets": (set[tuple[int, ...]], lambda: {(True,)}),
    "binary": (bytes, lambda: b"\xff\xfe"),
    "surrogate": (str, lambda: "a\ud800b"),
    "decimal": (Decimal, lambda: Decimal("1E+3")),
    "large": (int, lambda: 2**70),
    "naive": (datetime, lambda: datetime(2026, 1, 1)),
    "zone": (datetime, lambda: datetime(2026, 7, 1, tzinfo=ZoneInfo("Europe/Rome"))),
    "offset": (
        datetime,
        lambda: datetime(2026, 1, 1, tzinfo=timezone(timedelta(1 / 8))),
    ),
    "utc": (datetime, lambda: SEEN),
    "typed dict": (Typed, lambda: Typed(at=SEEN, n=1)),
    "generator": (Iterable[int], lambda: iter([1, 2])),
}


@pytest.mark.parametrize(("kind", "make"), KINDS.values(), ids=KINDS)
async def test_a_second_value_equals_the_first_in_value_and_in_type(
    app: FastAPI, kind: Any, make: Callable[[], Any]
) -> None:
    async def function() -> Any:
        return make()

    function.__annotations__["return"] = kind
    function.__qualname__ = repr(make)
    again = cached(namespace="kinds")(function)
    wanted = described(make())
    assert [described(await again()) for _ in "123"] == [wanted] * 3


def described(value: Any) -> Any:
    """Return all that can be told of a value, its type and those of its parts."""
    kind = type(value)
    if isinstance(value, BaseModel):
        more = value.__pydantic_extra__, value.__pydantic_private__
        return kind, value.model_fields_set, described(value.__dict__), described(more)
    if isinstance(value, dict):
        return kind, [(described(k), described(v)) for k, v in value.items()]
    if isinstance(value, list | tuple):
        return kind, [described(each) for each in value]
    if isinstance(value, set | frozenset):
        return kind, sorted(repr(described(each)) for each in value)
    if isinstance(value, SecretStr):
        return kind, value.get_secret_value()
    if isinstance(value, datetime):
        zone = value.tzinfo
        fixed = zone is None or not isinstance(zone, ZoneInfo)
        return kind, value.isoformat(), value.fold, None if fixed else zone
    if isinstance(value, Iterator):
        return kind, [described(each) for each in value]
    return kind, repr(value)


async def test_a_coder_stores_what_no_type_describes(app: FastAPI) -> None:
    runs = count(1)

    @cached(namespace="coded", coder=PickleCoder)
    async def coded():  # type: ignore[no-untyped-def]  # that is what this is about
        next(runs)
        return {1: {2, 3}}

    assert await coded() == await coded() == {1: {2, 3}}
    assert next(runs) == 2


async def test_an_exception_is_not_stored(app: FastAPI) -> None:
    runs = count(1)

    @cached(namespace="errors")
    async def fails_first() -> int:
        if (run := next(runs)) == 1:
            raise LookupError("not yet")
        return run

    with pytest.raises(LookupError):
        await fails_first()
    assert await fails_first() == await fails_first() == 2


async def test_a_value_that_its_type_does_not_describe_is_returned_and_not_stored(
    app: FastAPI,
) -> None:
    runs = count(1)

    @cached(namespace="wrong")
    async def wrong() -> Point:
        next(runs)
        return object()  # type: ignore[return-value]  # that is what this is about

    assert type(await wrong()) is type(await wrong()) is object
    assert next(runs) == 3


@on_any_storage
async def test_concurrent_calls_are_one_run(app: FastAPI) -> None:
    runs = count(1)
    go_on = asyncio.Event()

    @cached(namespace="slow")
    async def slow() -> int:
        await go_on.wait()
        return next(runs)

    calls = [asyncio.create_task(slow()) for _ in range(50)]
    await asyncio.sleep(0)
    go_on.set()
    assert set(await asyncio.gather(*calls)) == {1}


async def test_a_value_that_was_read_before_a_write_is_not_stored_after_it(
    app: FastAPI,
) -> None:
    data = ["old"]
    has_read, go_on = asyncio.Event(), asyncio.Event()

    @cached(namespace="fresh")
    async def read() -> str:
        found = data[0]
        has_read.set()
        await go_on.wait()
        return found

    slow = asyncio.create_task(read())
    await has_read.wait()
    data[0] = "new"
    await invalidate_namespace("fresh")
    second = asyncio.create_task(read())
    go_on.set()
    assert await slow == "old"
    assert await second == await read() == "new"


async def test_a_sync_function_is_cached_in_a_worker_thread_only(app: FastAPI) -> None:
    runs = count(1)

    @cached(namespace="sync")
    def number() -> int:
        return next(runs)

    assert [await to_thread.run_sync(number) for _ in "12"] == [1, 1]
    assert number() == 2


async def test_without_a_running_service_nothing_is_cached() -> None:
    runs = count(1)

    @cached(namespace="alone")
    async def number() -> int:
        return next(runs)

    assert [await number(), await number()] == [1, 2]


async def test_what_a_transaction_under_way_reads_is_not_stored(
    database: Database, user: Person
) -> None:
    runs = 0

    @cached(namespace="names")
    async def name(session: AsyncSession, user_id: int) -> str:
        nonlocal runs
        runs += 1
        query = select(User.first_name).where(User.id == user_id)
        return str(await session.scalar(query))

    async with database.session(writes=False) as old:
        await old.execute(select(User.id))  # its snapshot is taken here
        async with database.session() as session:
            await session.execute(update(User).values(first_name="New"))
        await invalidate_namespace("names")
        await name(old, user.id)
    async with database.session(writes=False) as session:
        assert await name(session, user.id) == "New"
    assert runs == 2
    async with database.session(writes=False) as session:
        assert await name(session, user.id) == "New"  # so it is stored otherwise
    assert runs == 2


async def test_what_a_task_s_own_transaction_has_changed_is_seen_in_it(
    database: Database, user: Person
) -> None:
    """As without a cache; and an entry that it has not touched is served."""
    runs: list[str] = []

    @cached(namespace="names")
    async def name(session: AsyncSession) -> str:
        runs.append("name")
        return str(await session.scalar(select(User.first_name)))

    @cached(namespace="weather")
    async def weather() -> str:
        runs.append("weather")
        return "fine"

    await weather()
    async with database.session(writes=False) as session:
        before = await name(session)
    async with database.session() as session:
        await session.execute(update(User).values(first_name="New"))
        assert await name(session) == "New"
        await weather()
        await session.rollback()
        assert await name(session) == before
    assert runs.count("weather") == 1


async def test_a_task_s_transaction_under_way_stores_nothing_for_others(
    database: Database, user: Person
) -> None:
    """Also where no argument is the session, and no request is served."""

    class Names:
        def __init__(self, session: AsyncSession) -> None:
            self.session = session

        @cached(namespace="names", key_builder=lambda *_, **__: "names:all")
        async def all(self) -> list[str]:
            return list(await self.session.scalars(select(User.first_name)))

    async with database.session(writes=False) as old:
        await old.execute(select(User.id))  # its snapshot is taken here
        context = copy_context()
        async with database.session() as session:
            await session.execute(update(User).values(first_name="New"))
        await asyncio.create_task(Names(old).all(), context=context)
    async with database.session(writes=False) as session:
        assert await Names(session).all() == ["New"]


async def test_functions_of_one_factory_are_told_apart(app: FastAPI) -> None:
    def made(of: Any) -> Callable[[], Awaitable[str]]:
        @cached(namespace="made")
        async def name() -> str:
            return str(of)

        return name

    kinds = [1, 2, "a", User, Person]
    for _ in range(2):
        assert [await made(of)() for of in kinds] == [str(of) for of in kinds]


async def test_sessions_that_see_other_rows_are_told_apart(database: Database) -> None:
    @cached(namespace="tenants")
    async def tenant(session: AsyncSession) -> str:
        return str(session.info.get("tenant"))

    for name in ("a", "b", "a"):
        async with database.session(writes=False) as session:
            session.info["tenant"] = name
            assert await tenant(session) == name


async def test_a_session_with_an_engine_for_each_table_is_no_error(
    app: FastAPI,
) -> None:
    @cached()
    async def users(session: AsyncSession) -> list[int]:
        return [*await session.scalars(select(User.id))]

    async with AsyncSession(binds={User: app.state.database.engine}) as session:
        for _ in range(2):
            assert await users(session) == []


async def test_a_route_whose_transaction_began_before_its_lookup_stores_nothing(
    serve: Serve,
) -> None:
    router = APIRouter()
    began, go_on = asyncio.Event(), asyncio.Event()

    async def reading(session: SessionDep) -> AsyncSession:
        await session.execute(select(User.id))  # its snapshot is taken here
        began.set()
        await go_on.wait()
        return session

    @router.get("/count")
    @cached(namespace="counts")
    async def users(session: Annotated[AsyncSession, Depends(reading)]) -> list[str]:
        return list((await session.scalars(select(User.email))).all())

    client: httpx.AsyncClient = await serve(router)
    slow = asyncio.create_task(client.get("/count"))
    await began.wait()
    person = {
        "email": "new@example.com",
        "password": "correct horse battery staple",
        "first_name": "New",
        "last_name": "Person",
    }
    assert (await client.post("/register/", json=person)).status_code == 201
    await invalidate_namespace("counts")
    go_on.set()
    assert "stored" not in (await slow).headers["Cache-Status"]
    assert (await client.get("/count")).json() == ["new@example.com"]


class Account(BaseModel):
    name: str
    password_hash: str


class Shown(BaseModel):
    name: str


@dataclass(frozen=True)
class Login:
    name: str
    hash: str


HASH = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA"


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, "4711") for name in ("password", "hash", "access_token", "api_key")),
        *(("refreshToken", "4711"), ("next", JWT)),
    ],
)
async def test_no_value_with_a_secret_is_stored(
    app: FastAPI, storage: str, field: str, value: str
) -> None:
    runs = count(1)

    @cached(namespace="secret")
    async def shown() -> dict[str, str]:
        return {field: value, "run": str(next(runs))}

    assert app.state.settings.cache_enabled
    assert [(await shown())["run"] for _ in range(2)] == ["1", "2"]
    assert value.encode() not in await contents(storage)


@pytest.mark.parametrize("path", ["model", "dataclass", "coder"])
async def test_no_hash_of_a_password_is_stored(
    app: FastAPI, storage: str, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    runs = count(1)

    @cached(namespace="secret")
    async def model(name: str) -> Account:
        return Account(name=f"{name}{next(runs)}", password_hash="4711")

    @cached(namespace="secret")
    async def of_dataclass(name: str) -> Login:
        return Login(f"{name}{next(runs)}", HASH)

    @cached(namespace="secret", coder=PickleCoder)
    async def by_coder(name: str) -> Account:
        return Account(name=f"{name}{next(runs)}", password_hash="4711")

    functions: dict[str, Any] = {
        "model": model,
        "dataclass": of_dataclass,
        "coder": by_coder,
    }
    assert app.state.settings.cache_enabled
    assert [(await functions[path]("Ann")).name for _ in range(2)] == ["Ann1", "Ann2"]
    stored = await contents(storage)
    assert b"4711" not in stored
    assert HASH.encode() not in stored
    assert caplog.text.count("holds a password, a token, or a hash of one") == 1
    assert "4711" not in caplog.text


async def test_a_value_below_a_decorator_may_hold_what_the_answer_does_not(
    serve: Serve, storage: str
) -> None:
    router = APIRouter()

    @router.get("/account", response_model=Shown)
    @above
    @cached(namespace="secret")
    async def account() -> Account:
        return Account(name="Ann", password_hash="4711")

    client = await serve(router)
    for _ in range(2):
        assert (await client.get("/account")).json() == {"name": "Ann"}
    assert b"4711" not in await contents(storage)


async def test_what_only_speaks_of_secrets_is_stored(app: FastAPI) -> None:
    runs = count(1)

    @cached(namespace="secret")
    async def page() -> dict[str, str]:
        text = f'{{"password": "secret"}} or token {next(runs)}, api_key, eyJ'
        return {"text": text, "next_token": "5", "hashes": "2"}

    assert app.state.settings.cache_enabled
    assert await page() == await page()
