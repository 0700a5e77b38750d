"""C2: a namespace that names parameters is, for each call, the one `touches` has."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.cache import (
    cached,
    invalidate_namespace,
    provider,
    segment,
    shared_key_builder,
    touches,
    watch_commits,
)
from app.cache.engine import rules
from app.config import Settings
from tests.engine.answers import outcome
from tests.engine.conftest import Serve
from tests.engine.each import on_any_storage, on_one_storage
from tests.people import Person

pytestmark = on_one_storage


class Colour(Enum):
    red = "RED"


class Size(StrEnum):
    small = "s:m%all"


class Level(IntEnum):
    low = 77


ONE, TWO = UUID(int=1), UUID(int=2)
VALUES = [5, 50, "5 ", "b:c é", "b%3Ac é", "%", "", None, True, 1.5, ONE, *Colour]
VALUES += [*Size, *Level, "{thing}", "a*", "\n", "x" * 500, "x" * 501]


runs: Counter[object] = Counter()


@cached(namespace="named:{thing}:in:{place}-{size}", expire=100)
async def named(thing: Any, place: str = "here", *, size: int = 1) -> int:
    runs[thing] += 1
    return 1


@pytest.fixture(autouse=True)
def _none_has_run() -> None:
    runs.clear()


@on_any_storage
async def test_each_value_is_a_segment_of_its_own(app: FastAPI) -> None:
    for value in VALUES:
        await named(value)
    for value in VALUES:
        runs.clear()
        await invalidate_namespace(f"named:{segment(value)}")
        for each in VALUES:
            await named(each)
        assert runs == {value: 1}


@on_any_storage
@pytest.mark.parametrize("namespace", ["named", "named:5:in", "named:5:in:here-1"])
async def test_a_call_is_the_same_however_it_is_written(
    app: FastAPI, namespace: str
) -> None:
    calls: list[Callable[[], Awaitable[int]]] = [
        lambda: named(5),
        lambda: named(thing=5),
        lambda: named(5, "here"),
        lambda: named(size=1, place="here", thing=5),
    ]
    for number, call in enumerate(calls, 1):
        await call()
        assert runs == {5: number}
        for each in calls:
            await each()
        for other in ("named:5:in:here", "named:5:in:here-2", "named:5:in:there-1"):
            await invalidate_namespace(other)
        await call()
        assert runs == {5: number}
        await invalidate_namespace(namespace)


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "named_things"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    number: Mapped[int]
    note: Mapped[str] = mapped_column(default="")


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(settings.database_url)
    watch_commits(engine, Base.metadata, settings)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        session.add_all(
            [Thing(id=ONE, name="b:c é", number=5), Thing(id=TWO, name="b", number=50)]
        )
        await session.commit()
    yield engine
    await engine.dispose()


@pytest.fixture
async def client(
    serve: Serve, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> httpx.AsyncClient:
    """Return a client of routes that find a thing by each of its columns."""
    monkeypatch.setattr(rules, "rules", dict(rules.rules))
    touches(Thing, "things:{id}", "names:{name}", "numbers:{number}")
    router = APIRouter()

    async def notes(*where: Any) -> list[str]:
        async with AsyncSession(engine) as session:
            return [*await session.scalars(select(Thing.note).where(*where))]

    @router.get("/things/{thing_id}")
    @cached(namespace="things:{thing_id}", key_builder=shared_key_builder)
    async def by_id(thing_id: UUID) -> list[str]:
        return await notes(Thing.id == thing_id)

    @router.get("/named/{name}")
    @cached(namespace="names:{name}", key_builder=shared_key_builder)
    async def by_name(name: str) -> list[str]:
        return await notes(Thing.name == name)

    @router.get("/numbered/{number}")
    @cached(namespace="numbers:{number}")
    async def by_number(number: int) -> list[str]:
        return await notes(Thing.number == number)

    @router.get("/coloured/{colour}")
    @cached(namespace="colours:{colour}")
    def by_colour(colour: Colour) -> str:
        return colour.value

    return await serve(router)


@on_any_storage
@pytest.mark.parametrize(
    ("where", "of_it", "of_others"),
    [
        (Thing.id == ONE, [f"/things/{ONE}"], [f"/things/{TWO}"]),
        (Thing.name == "b:c é", ["/named/b:c é"], ["/named/b", "/named/b:c"]),
        (Thing.number == 5, ["/numbered/5", "/numbered/05"], ["/numbered/50"]),
    ],
    ids=["UUID", "text", "number"],
)
async def test_a_change_of_one_row_drops_what_is_about_it_and_nothing_else(
    client: httpx.AsyncClient,
    engine: AsyncEngine,
    where: Any,
    of_it: list[str],
    of_others: list[str],
) -> None:
    for url in of_it + of_others:
        await client.get(url)
        assert outcome(await client.get(url)) == "HIT"
    async with engine.begin() as connection:
        await connection.execute(update(Thing).where(where).values(note="new"))
    for url in of_others:
        assert outcome(await client.get(url)) == "HIT", url
    for url in of_it:
        answer = await client.get(url)
        assert answer.json() == ["new"]


@on_any_storage
async def test_a_member_of_an_enum_is_named_as_segment_writes_it(
    client: httpx.AsyncClient,
) -> None:
    url = "/coloured/RED"
    await client.get(url)
    await invalidate_namespace("colours:RED")
    assert outcome(await client.get(url)) == "HIT"
    await invalidate_namespace(f"colours:{segment(Colour.red)}")
    assert outcome(await client.get(url)) == "MISS"


async def test_a_row_is_dropped_by_the_value_that_it_had_and_by_the_one_it_gets(
    client: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    urls = ["/named/b", "/named/c", "/named/d"]
    for url in urls:
        await client.get(url)
    async with engine.begin() as connection:
        where = Thing.name == "b"
        await connection.execute(update(Thing).where(where).values(name="c"))
    answers = [await client.get(url) for url in urls]
    assert [answer.json() for answer in answers] == [[], [""], []]
    assert [outcome(answer) for answer in answers] == ["MISS", "MISS", "HIT"]


@on_any_storage
async def test_a_shared_key_is_one_for_all_who_may_ask(
    client: httpx.AsyncClient, user: Person, other: Person
) -> None:
    shared, own = f"/things/{ONE}", "/numbered/5"
    found = []
    for headers in ({}, user.headers, other.headers):
        answers = [await client.get(url, headers=headers) for url in (shared, own)]
        found.append([outcome(answer) for answer in answers])
    assert found == [["MISS", "MISS"], ["HIT", "MISS"], ["HIT", "MISS"]]


@pytest.mark.parametrize(
    ("namespace", "problem"),
    [
        ("things:{id}", "has no parameter 'id'; did you mean 'thing_id'"),
        ("things:{things_id}", "no parameter 'things_id'; did you mean 'thing_id'"),
        ("things:{thing_id!r}", "braces hold a name, and nothing else"),
        ("things:{thing_id:>5}", "braces hold a name, and nothing else"),
        ("things:{thing_id.hex}", "braces hold a name, and nothing else"),
        ("things:{}", "braces hold a name, and nothing else"),
        ("things:{thing_id", "expected '}'"),
    ],
)
def test_a_namespace_that_names_no_parameter_is_refused(
    namespace: str, problem: str
) -> None:
    async def read_thing(thing_id: UUID, size: int) -> None: ...

    with pytest.raises(ValueError, match=problem):
        cached(namespace=namespace)(read_thing)


def test_a_function_without_parameters_has_none_to_name() -> None:
    with pytest.raises(ValueError, match=r"nothing has no parameter 'id'$"):

        @cached(namespace="things:{id}")
        async def nothing() -> None: ...


@pytest.mark.parametrize("braces", ["{id:>5}", "{id!r}", "{id.x}", "{}"])
def test_a_rule_has_nothing_but_names_in_its_braces(braces: str) -> None:
    with pytest.raises(ValueError, match="braces hold a name"):
        touches(Thing, f"things:{braces}")


@provider
def shop() -> str:
    return "toys"


async def test_a_namespace_may_name_what_a_provider_makes(serve: Serve) -> None:
    router = APIRouter()

    @router.get("/named")
    @cached(namespace="named:{of}")
    async def named(of: Annotated[str, Depends(shop)]) -> str:
        return of

    client = await serve(router)
    for expected in ("MISS", "HIT", "HIT"):
        answer = await client.get("/named")
        assert (answer.status_code, answer.json()) == (200, "toys")
        assert outcome(answer) == expected
