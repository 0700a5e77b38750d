"""What reviews found that looked where the code did not: each with its right answer."""

import asyncio
import dataclasses
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextvars import ContextVar
from datetime import datetime
from functools import wraps
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, PrivateAttr
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import ASGIApp, Receive, Scope, Send

from app.cache import cached, check
from app.cache.engine.policy import Unstable, code_of, stable
from app.config import Settings
from app.database import Database, SessionDep
from app.main import create_app
from app.models import User
from tests.asgi import lifespan
from tests.people import Person

router = APIRouter(prefix="/reported")
tenant_now: ContextVar[str] = ContextVar("tenant_now", default="")
tokens = iter(f"token{number}" for number in range(1000))


class Tenant:
    def __init__(self, name: str) -> None:
        self.name = name


async def tenant() -> Tenant:
    return Tenant(tenant_now.get())


class Search(BaseModel):
    term: str = ""
    _tenant: str = PrivateAttr(default_factory=lambda: tenant_now.get())


class ByLanguage(JSONResponse):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        language = Request(scope).headers.get("accept-language", "")
        await HTMLResponse(language)(scope, receive, send)


def plain(function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@check
async def there_are_users(session: SessionDep) -> None:
    session.info["users"] = list(await session.scalars(select(User)))


@router.get("/checked/{user_id}", dependencies=[Depends(there_are_users)])
@cached(namespace="reported")
async def get_checked(user_id: int, session: SessionDep) -> str:
    return (await session.get_one(User, user_id)).first_name  # no statement asks


@router.get("/form")
@cached(namespace="reported")
async def get_form(request: Request) -> str:
    token: str = request.scope["session"].setdefault("csrf", next(tokens))
    return token


@router.get("/tenant")
@cached(namespace="reported")
async def get_tenant(found: Annotated[Tenant, Depends(tenant)]) -> str:
    return found.name


@router.get("/search")
@cached(namespace="reported")
async def get_search(search: Annotated[Search, Query()]) -> str:
    return search._tenant


@router.get("/language")
@cached(namespace="reported")
async def get_language() -> ByLanguage:
    return ByLanguage(None)


@router.get("/page")
@cached(namespace="reported", vary=["Accept-Language"])
async def get_page(request: Request) -> str:
    return request.query_params["page"]


@router.get("/self")
@cached(namespace="reported")
async def get_self(self: Annotated[Tenant, Depends(tenant)]) -> str:
    return self.name


@router.get("/plain")
@cached(namespace="reported")
@plain
async def get_plain() -> str:
    return "plain"


@cached(namespace="reported:names")
async def names(session: AsyncSession) -> list[str]:
    return [*await session.scalars(select(User.first_name).order_by(User.id))]


@router.get("/names")
async def get_names(session: SessionDep) -> list[str]:
    return await names(session)


@router.post("/rename/{user_id}")
async def rename(user_id: int, session: SessionDep) -> list[str]:
    user = await session.get_one(User, user_id)
    user.first_name = "Renamed"  # and not flushed
    return await names(session)


@router.get("/inside")
@cached(namespace="reported:inside")
async def get_inside(request: Request) -> str:
    transport = httpx.ASGITransport(request.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://it") as client:
        return (await client.get("/reported/names")).text


class Around:
    """A middleware with a session, a tenant, and a principal of the owner's own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["session"] = {}
            scope.setdefault("state", {})["principal"] = "ann"
            tenant_now.set(Request(scope).headers.get("host", ""))
        await self.app(scope, receive, send)


@pytest.fixture
async def around(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings)
    app.include_router(router)
    app.add_middleware(Around)
    transport = httpx.ASGITransport(app)
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://it") as client,
    ):
        yield client


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (router,)


async def test_what_a_handler_puts_into_a_session_is_nobody_elses(
    around: httpx.AsyncClient,
) -> None:
    answers = [(await around.get("/reported/form")).text for _ in range(3)]
    assert len(set(answers)) == 3


@pytest.mark.parametrize("path", ["tenant", "search?term=x", "self"])
async def test_what_a_value_holds_is_told_apart(
    around: httpx.AsyncClient, path: str
) -> None:
    for host in ("a", "b", "a", "b"):
        answer = await around.get(f"/reported/{path}", headers={"Host": host})
        assert (answer.status_code, answer.json()) == (200, host)


async def test_a_response_that_looks_at_the_request_is_made_for_each(
    client: httpx.AsyncClient,
) -> None:
    for language in ("de", "fr", "de"):
        sent = {"Accept-Language": language}
        answer = await client.get("/reported/language", headers=sent)
        assert answer.text == language


async def test_vary_leaves_out_headers_only(client: httpx.AsyncClient) -> None:
    for page in ("1", "2", "1"):
        assert (await client.get(f"/reported/page?page={page}")).json() == page


async def test_a_wrapper_that_returns_a_coroutine_is_waited_for(
    client: httpx.AsyncClient,
) -> None:
    for _ in range(2):
        assert (await client.get("/reported/plain")).json() == "plain"


async def test_a_principal_of_ones_own_is_no_error(around: httpx.AsyncClient) -> None:
    assert (await around.get("/reported/names")).status_code == 200
    assert (await around.get("/reported/tenant")).status_code == 200


async def test_a_row_that_a_check_has_read_in_the_same_session_is_read(
    client: httpx.AsyncClient, database: Database, user: Person
) -> None:
    url = f"/reported/checked/{user.id}"
    for name in ("One", "Two", "Three"):
        async with database.session() as session:
            (await session.get_one(User, user.id)).first_name = name
        answers = [await client.get(url) for _ in range(3)]
        assert [answer.json() for answer in answers] == [name] * 3
        assert answers[2].headers["X-FastAPI-Cache"] == "HIT"


async def test_what_is_not_flushed_yet_is_in_a_cached_functions_value(
    client: httpx.AsyncClient, user: Person
) -> None:
    for _ in range(2):
        await client.get("/reported/names")
    renamed = await client.post(f"/reported/rename/{user.id}")
    assert renamed.json() == ["Renamed"]


def by_name(func: Callable[..., Any], *_: object, **__: object) -> str:
    return f"reported:{func.__name__}"


class Manager:
    """Reads by a session that it holds."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    @cached(key_builder=by_name)
    async def name_of(self, user_id: int) -> str:
        return (await self.session.get_one(User, user_id)).first_name

    @cached(key_builder=by_name)
    async def names(self) -> list[str]:
        return [*await self.session.scalars(select(User.first_name))]


async def test_what_is_not_flushed_yet_is_in_what_a_manager_reads(
    app: FastAPI, user: Person
) -> None:
    database: Database = app.state.database
    for _ in range(2):
        async with database.session(writes=False) as session:
            await Manager(session).names()
    async with database.session() as session:
        (await session.get_one(User, user.id)).first_name = "Renamed"
        assert await Manager(session).names() == ["Renamed"]


async def test_what_a_managers_session_has_read_before_is_not_stored(
    app: FastAPI, user: Person
) -> None:
    database: Database = app.state.database
    async with database.session() as session:
        await session.get_one(User, user.id)
        await session.commit()
        async with database.session() as another:
            await another.execute(update(User).values(first_name="Renamed"))
        await Manager(session).name_of(user.id)
    async with database.session(writes=False) as session:
        assert await Manager(session).name_of(user.id) == "Renamed"


async def test_a_request_to_ones_own_service_is_read_anew_after_a_change(
    client: httpx.AsyncClient, user: Person
) -> None:
    assert "Renamed" not in (await client.get("/reported/inside")).text
    await client.post(f"/reported/rename/{user.id}")
    assert "Renamed" in (await client.get("/reported/inside")).text


class Api:
    def __init__(self, url: str) -> None:
        self.url = url


class Hidden:
    def __init__(self, url: str) -> None:
        self._url = url
        self._calls = 0

    @property
    def url(self) -> str:
        self._calls += 1
        return self._url


ENCLOSED: dict[str, tuple[Callable[[str], Any], Callable[[Any], str]]] = {
    "attribute": (Api, lambda it: it.url),
    "private": (Hidden, lambda it: it.url),
    "list": (lambda url: [url], lambda it: it[0]),
    "dict": (lambda url: {"url": url}, lambda it: it["url"]),
    "client": (
        lambda url: httpx.AsyncClient(base_url=f"http://{url}"),
        lambda it: it.base_url.host,
    ),
}


@pytest.mark.parametrize("what", ENCLOSED)
async def test_functions_of_one_def_are_told_apart_by_what_they_enclose(
    app: FastAPI, what: str
) -> None:
    make, url_of = ENCLOSED[what]
    runs = 0

    def made(it: Any) -> Callable[[int], Awaitable[str]]:
        @cached(namespace="reported")
        async def fetch(number: int) -> str:
            nonlocal runs
            runs += 1
            return f"{url_of(it)}/{number}"

        return fetch

    assert app.state.settings.cache_enabled
    here, there = made(make("here")), made(make("there"))
    for _ in range(2):
        assert await here(1) == "here/1"
        assert await there(1) == "there/1"
    assert runs == 2


async def test_a_cached_function_on_another_loop_just_runs(app: FastAPI) -> None:
    @cached(namespace="reported")
    async def slow(number: int) -> int:
        await asyncio.sleep(0.05)
        return number

    def on_a_loop_of_its_own() -> int:
        return asyncio.run(slow(1))

    assert app.state.settings.cache_enabled
    calls = [asyncio.to_thread(on_a_loop_of_its_own) for _ in range(10)]
    async with asyncio.timeout(30):
        assert await asyncio.gather(*calls) == [1] * 10


def test_equal_texts_of_times_in_two_zones_are_two_values() -> None:
    one, other = (
        datetime(2026, 1, 1, tzinfo=ZoneInfo(zone))
        for zone in ("Europe/Paris", "Africa/Algiers")
    )
    assert one.isoformat() == other.isoformat()
    assert stable(one) != stable(other)


def test_what_cannot_be_looked_through_is_unstable_and_no_error() -> None:
    @dataclasses.dataclass
    class Tree:
        parent: Any = None

    tree = Tree()
    tree.parent = tree
    for value in (tree, User(id=1)):
        with pytest.raises(Unstable):
            stable(value)


def test_what_a_function_encloses_is_the_same_in_each_process() -> None:
    script = (
        "from app.cache.engine.values import _at_first\n"
        "def made(names):\n"
        "    return lambda name: name in names\n"
        "print(_at_first(made(frozenset('abcdefgh'))))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


def test_another_release_of_a_function_is_another_function() -> None:
    def first() -> str:
        return "price 10"

    def second() -> str:
        return "price 20"

    assert code_of(first) == code_of(first)
    assert code_of(first) != code_of(second)


@pytest.mark.parametrize("shape", [staticmethod, classmethod])
def test_what_cannot_be_cached_is_refused_with_what_to_write(shape: Any) -> None:
    with pytest.raises(ValueError, match="has to stand below"):
        cached()(shape(lambda: 1))


def test_an_object_is_refused_with_what_to_write() -> None:
    with pytest.raises(ValueError, match="write a `def` that calls it"):
        cached()(Api("here"))  # type: ignore[arg-type]  # that is the mistake
