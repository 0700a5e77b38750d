"""C2: whatever declares it, what an answer was made from tells requests apart."""

import asyncio
import functools
import inspect
import re
import weakref
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import AliasChoices, BaseModel
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import Receive, Scope, Send

from app.cache import authenticator, cached, provider
from app.config import Settings
from app.database import Database, SessionDep
from app.main import create_app
from app.models import User
from tests.asgi import lifespan
from tests.engine.answers import outcome
from tests.engine.conftest import Serve
from tests.engine.each import on_one_storage
from tests.people import Person

pytestmark = on_one_storage


router = APIRouter(prefix="/apart")
LENGTH = b"content-length"


class Made:
    """What no key can hold."""

    def __init__(self, of: Any) -> None:
        self.of = of


class Filter(BaseModel):
    active: bool = False


class Sent(BaseModel):
    x_tenant: IPv4Address


def by_header(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Take a header that the handler does not, and give it something made of that."""

    @functools.wraps(handler)
    async def wrapper(x_tenant: str) -> Any:
        return await handler(made=Made(x_tenant))

    declared = inspect.Parameter(
        "x_tenant", inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[str, Header()]
    )
    wrapper.__signature__ = inspect.Signature([declared])  # type: ignore[attr-defined]
    return wrapper


def above(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Call a handler, whose value is cached in place of its response."""

    @functools.wraps(handler)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await handler(*args, **kwargs)

    return wrapper


def of_alias(
    tenant: Annotated[str, Header(validation_alias="x-tenant")],
) -> Made:
    return Made(tenant)


def of_choices(
    tenant: Annotated[
        str, Header(validation_alias=AliasChoices("x-tenant", "x-other"))
    ],
) -> Made:
    return Made(tenant)


def of_path(thing: int) -> Made:
    return Made(thing)


def seven() -> int:
    return 7


@router.get("/own-header")
@cached()
async def own_header(x_tenant: Annotated[IPv4Address, Header()]) -> str:
    return str(x_tenant)


@router.get("/header-model")
@cached()
async def header_model(sent: Annotated[Sent, Header()]) -> str:
    return str(sent.x_tenant)


@router.get("/alias")
@cached()
async def alias(made: Annotated[Any, Depends(of_alias)]) -> str:
    return str(made.of)


@router.get("/choices")
@cached()
async def choices(made: Annotated[Any, Depends(of_choices)]) -> str:
    return str(made.of)


@router.get("/decorator")
@by_header
@cached()
async def decorator(made: Any) -> str:
    return str(made.of)


@pytest.mark.parametrize(
    "path", ["own-header", "header-model", "alias", "choices", "decorator"]
)
async def test_a_header_by_whatever_it_is_declared(serve: Serve, path: str) -> None:
    client = await serve(router)
    for tenant in ("10.0.0.1", "10.0.0.2", "10.0.0.1"):
        answer = await client.get(f"/apart/{path}", headers={"x-tenant": tenant})
        assert answer.json() == tenant


@router.get("/unset")
@cached()
async def unset(given: Annotated[Filter, Query()]) -> dict[str, Any]:
    return given.model_dump(exclude_unset=True)


async def test_a_default_that_was_sent_from_one_that_was_not(serve: Serve) -> None:
    client = await serve(router)
    assert (await client.get("/apart/unset")).json() == {}
    sent = await client.get("/apart/unset?active=false")
    assert sent.json() == {"active": False}


async def text_of(request: Request) -> Made:
    return Made((await request.body()).decode())


@router.get("/body")
@cached()
async def body(request: Request) -> str:
    return (await request.body()).decode()


@router.get("/body/value")
@above
@cached()
async def body_as_value(request: Request) -> str:
    return (await request.body()).decode()


@router.get("/body/dependency")
@cached()
async def body_of_dependency(made: Annotated[Made, Depends(text_of)]) -> str:
    return str(made.of)


async def test_the_body_of_a_get(serve: Serve) -> None:
    client = await serve(router)
    for sent in ("a", "b"):
        answer = await client.request("GET", "/apart/body", content=sent)
        assert answer.json() == sent


@router.get("/things/{thing}")
@cached()
async def things(
    made: Annotated[Any, Depends(of_path)], thing: Annotated[int, Depends(seven)]
) -> int:
    found: int = made.of
    return found


async def test_a_path_whose_name_means_something_else_to_the_handler(
    serve: Serve,
) -> None:
    client = await serve(router)
    for thing in (1, 2):
        assert (await client.get(f"/apart/things/{thing}")).json() == thing


# What seldom matters


WAYS: dict[str, Callable[[Request], Any]] = {
    "get": lambda request: request.headers.get("x-request-id"),
    "in": lambda request: "X-Request-ID" in request.headers,
    "dict": lambda request: dict(request.headers).get("x-request-id"),
    "another request": lambda request: Request(request.scope).headers.get(
        "x-request-id"
    ),
    "raw": lambda request: [
        value.decode() for name, value in request.headers.raw if name == b"x-request-id"
    ],
    "raw dict": lambda request: (
        str(dict(request.scope["headers"])[b"host"])
        + str(dict(request.scope["headers"]).get(b"x-request-id"))
    ),
    "text": lambda request: re.findall(
        r"b'x-request-id', b'(\w+)'", str(request.headers.raw)
    ),
}


def read_by_dependency(request: Request, way: str) -> Made:
    return Made(WAYS[way](request))


@router.get("/seldom/handler/{way}")
@cached()
async def seldom_by_handler(request: Request, way: str) -> Any:
    return WAYS[way](request)


@router.get("/seldom/dependency/{way}")
@cached()
async def seldom_by_dependency(
    found: Annotated[Made, Depends(read_by_dependency)],
) -> Any:
    return found.of


@router.get("/seldom/value/{way}")
@above
@cached()
async def seldom_by_value(request: Request, way: str) -> str:
    return str(WAYS[way](request))


@router.get("/language")
@cached()
async def by_language(request: Request) -> str:
    return request.headers["accept-language"]


@router.get("/version")
@cached()
async def by_version(request: Request) -> str:
    return str(request.scope["http_version"])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", ["handler", "dependency", "value"])
async def test_a_header_that_seldom_matters_counts_where_it_is_read(
    serve: Serve, path: str, way: str
) -> None:
    client = await serve(router)
    url = f"/apart/seldom/{path}/{way}"
    no_store = {"Cache-Control": "no-store"}
    for sent in ({}, {"X-Request-ID": "a"}, {"X-Request-ID": "b"}, {}):
        true = await client.get(url, headers=sent | no_store)
        for _ in range(2):
            answer = await client.get(url, headers=sent)
            assert answer.json() == true.json()
    assert (outcome(answer) == "HIT") == (path != "value")


async def test_a_header_that_seldom_matters_splits_nothing_where_nobody_reads_it(
    serve: Serve,
) -> None:
    client = await serve(router)
    for number in range(3):
        sent = {"Accept-Language": "de", "X-Request-ID": str(number)}
        answer = await client.get("/apart/language", headers=sent)
        assert outcome(answer) == ("HIT" if number else "MISS")


async def test_a_header_that_never_counts_splits_nothing(
    settings: Settings, storage: str
) -> None:
    app = create_app(
        settings.model_copy(update={"cache_ignored_headers": ("X-Request-ID",)})
    )
    app.include_router(router)
    transport = httpx.ASGITransport(app)
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        for number in range(3):
            sent = {"X-Request-ID": str(number)}
            answer = await client.get("/apart/seldom/handler/get", headers=sent)
            assert outcome(answer) == ("HIT" if number else "MISS")


@pytest.fixture
async def by_version_of_http(
    settings: Settings, storage: str
) -> AsyncIterator[Callable[[str], httpx.AsyncClient]]:
    """Yield a function that returns a client of this version of HTTP."""
    app = create_app(settings)
    app.include_router(router)

    def client(version: str) -> httpx.AsyncClient:
        async def of_version(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [pair for pair in scope["headers"] if pair[0] != LENGTH]
            kept = scope["headers"] if version < "2" else headers
            await app(
                {**scope, "http_version": version, "headers": kept}, receive, send
            )

        transport = httpx.ASGITransport(of_version)
        return httpx.AsyncClient(transport=transport, base_url="http://service")

    async with lifespan(app):
        yield client


async def test_the_version_of_http(
    by_version_of_http: Callable[[str], httpx.AsyncClient],
) -> None:
    for version in ("1.0", "1.1", "1.0"):
        async with by_version_of_http(version) as client:
            answer = await client.get("/apart/version")
            assert answer.json() == version
    assert outcome(answer) == "HIT"


@pytest.mark.parametrize("path", ["body", "body/value", "body/dependency"])
async def test_a_body_that_no_header_announces(
    by_version_of_http: Callable[[str], httpx.AsyncClient], path: str
) -> None:
    async with by_version_of_http("2") as client:
        for sent in ("", "a", "b", ""):
            answer = await client.request("GET", f"/apart/{path}", content=sent)
            assert answer.json() == sent
        for number in range(2):
            german = {"Accept-Language": "de"}
            answer = await client.get("/apart/language", headers=german)
            assert outcome(answer) == ("HIT" if number else "MISS")


flags = {"now": "a"}


def put_flag(request: Request) -> None:
    request.state.flag = flags["now"]


@router.get("/flag/of-middleware")
@cached()
async def by_flag_of_middleware(request: Request) -> str:
    return getattr(request.state, "given", "none")


def given(request: Request) -> str:
    return getattr(request.state, "given", "none")


@router.get("/flag/of-middleware/dependency")
@cached()
async def by_flag_of_dependency(found: Annotated[str, Depends(given)]) -> str:
    return found


numbers: list[int] = []


@router.get("/flag/of-middleware/all")
@cached()
async def by_all_flags(request: Request) -> str:
    given = [str(request.state[name]) for name in request.state if name == "given"]
    return given[0] if given else "none"


@router.get("/flag/of-middleware/number")
@cached()
async def by_number_of_flags(request: Request) -> str:
    numbers.append(len(request.state))
    return "none" if numbers[-1] == numbers[0] else str(request.state.given)


@router.get("/flag", dependencies=[Depends(put_flag)])
@cached()
async def by_flag(request: Request) -> str:
    flag: str = request.state.flag
    return flag


@router.get("/flag/value", dependencies=[Depends(put_flag)])
@above
@cached()
async def by_flag_as_value(request: Request) -> str:
    flag: str = request.state.flag
    return flag


@pytest.mark.parametrize("path", ["", "/dependency", "/all", "/number"])
async def test_what_a_middleware_puts_into_the_state_of_some_requests(
    settings: Settings, storage: str, path: str
) -> None:
    app, state = create_app(settings), dict[str, str]()
    app.include_router(router)

    async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": {**state}}, receive, send)

    transport = httpx.ASGITransport(with_state)
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        for flag in ("none", "a", "b", "none"):
            state.clear()
            state.update({} if flag == "none" else {"given": flag})
            for _ in range(2):
                answer = await client.get(f"/apart/flag/of-middleware{path}")
                assert answer.json() == flag
        # All of it has what differs each time, too.
        assert (outcome(answer) == "HIT") == (path in {"", "/dependency"})


@router.get("/flag/of-middleware/slow")
@cached()
async def by_flag_after_a_while(request: Request) -> str:
    await asyncio.sleep(0.2)
    return type(request.state.given).__name__


async def test_who_waits_may_have_a_state_that_no_key_can_have(
    settings: Settings, storage: str
) -> None:
    """Only the run that it waits for tells that the state counts."""
    app, states = create_app(settings), iter(["a", object()])
    app.include_router(router)

    async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": {"given": next(states)}}, receive, send)

    transport = httpx.ASGITransport(with_state)
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        asked = [client.get("/apart/flag/of-middleware/slow") for _ in range(2)]
        answers = await asyncio.gather(*asked)
    assert [answer.json() for answer in answers] == ["str", "object"]


@pytest.mark.parametrize("path", ["flag", "flag/value"])
async def test_what_a_dependency_puts_into_the_state(serve: Serve, path: str) -> None:
    client = await serve(router)
    for flag in ("a", "b", "a"):
        flags["now"] = flag
        answer = await client.get(f"/apart/{path}")
        assert answer.json() == flag
    assert (outcome(answer) == "HIT") == (path == "flag")


# What was read before the look-up


@provider
async def for_language(
    session: SessionDep, lang: Annotated[str, Query()] = "en"
) -> Made:
    return Made(await session.scalar(select(User.first_name)))


@provider
async def for_builder(session: SessionDep) -> Made:
    return Made(await session.scalar(select(User.first_name)))


def by_made(*_: object, kwargs: dict[str, Any], **__: object) -> str:
    return f"apart:{kwargs['made'] is not None}"


class Partner:
    """An authenticator that shares the request's session with the handler."""

    @authenticator
    async def __call__(self, request: Request, session: SessionDep) -> list[User]:
        request.state.principal = SimpleNamespace(user_id=1, scopes=frozenset())
        return list(await session.scalars(select(User)))


@router.get("/read/parameter")
@cached()
async def read_by_parameter(made: Annotated[Any, Depends(for_language)]) -> str:
    return str(made.of)


@router.get("/read/builder")
@cached(namespace="apart", key_builder=by_made)
async def read_by_builder(made: Annotated[Any, Depends(for_builder)]) -> str:
    return str(made.of)


@router.get("/read/identity-map/{of}", dependencies=[Depends(Partner())])
@cached()
async def read_by_authenticator(of: int, session: SessionDep) -> str:
    return (await session.get_one(User, of)).first_name


@pytest.mark.parametrize("path", ["parameter", "builder", "identity-map/{id}"])
async def test_what_was_read_before_the_look_up_counts(
    serve: Serve, database: Database, user: Person, path: str
) -> None:
    client = await serve(router)
    url = f"/apart/read/{path}".replace("{id}", str(user.id))
    for name in ("Ann", "Bea", "Cia"):
        session: AsyncSession
        async with database.session() as session:
            await session.execute(update(User).values(first_name=name))
        for _ in range(3):
            assert (await client.get(url)).json() == name


language_now: ContextVar[str] = ContextVar("language", default="en")


async def test_each_vary_of_an_answer_counts(serve: Serve) -> None:
    router = APIRouter()

    @router.get("/varying")
    @cached()
    async def varying(response: Response) -> str:
        response.headers.append("Vary", "Accept-Encoding")
        response.headers.append("Vary", "Accept-Language")
        return language_now.get()

    client = await serve(router)
    for language in ("de", "fr", "de", "fr"):
        language_now.set(language)  # as a middleware does
        sent = {"Accept-Language": language}
        assert (await client.get("/varying", headers=sent)).json() == language


class Slots:
    __slots__ = ("of",)

    def __init__(self, of: str) -> None:
        self.of = of


class Tool(Made):
    def __call__(self) -> Any:
        return self.of

    def read(self) -> Any:
        return self.of


class Items(dict[str, Any]):
    """A dict with attributes."""


def with_attribute(it: Any, of: str) -> Any:
    it.of = of
    return it


class German:
    language = "de"


class French:
    language = "fr"


# What a dependency makes of a language, and how the handler has it of that.
MADE: dict[str, tuple[Callable[[str], Any], Callable[[Any], Any]]] = {
    "slots": (Slots, lambda it: it.of),
    "slots held": (lambda of: Made(Slots(of)), lambda it: it.of.of),
    "dict": (lambda of: {"tool": object(), "of": of}, lambda it: it["of"]),
    "dict held": (lambda of: Made({"t": object(), "of": of}), lambda it: it.of["of"]),
    "dict with more": (
        lambda of: with_attribute(Items(tool=object()), of),
        lambda it: it.of,
    ),
    "dict by objects": (lambda of: {Made(of): object()}, lambda it: next(iter(it)).of),
    "list": (lambda of: [Made(of)], lambda it: it[0].of),
    "tuple": (lambda of: (object(), of), lambda it: it[1]),
    "partial": (lambda of: functools.partial(str, of), lambda it: it()),
    "closure": (lambda of: lambda: of, lambda it: it()),
    "partial with more": (
        lambda of: with_attribute(functools.partial(str), of),
        lambda it: it.of,
    ),
    "function with more": (
        lambda of: with_attribute(lambda: None, of),
        lambda it: it.of,
    ),
    "default": (lambda of: lambda default=of: default, lambda it: it()),
    "function": ({"de": lambda: "de", "fr": lambda: "fr"}.get, lambda it: it()),
    "built in": ({"de": min, "fr": max}.get, lambda it: it("de", "fr")),
    "method": (lambda of: Tool(of).read, lambda it: it()),
    "method of a dict": (lambda of: {"of": of}.get, lambda it: it("of")),
    "callable held": (lambda of: Made(Tool(of)), lambda it: it.of()),
    "class": ({"de": German, "fr": French}.get, lambda it: it.language),
    "object": (lambda of: {"de": German, "fr": French}[of](), lambda it: it.language),
}


@pytest.mark.parametrize("what", MADE)
async def test_what_a_dependency_makes_of_what_nobody_sees(
    serve: Serve, what: str
) -> None:
    make, language_of = MADE[what]
    router = APIRouter()

    def made() -> Any:
        return make(language_now.get())

    @router.get("/made")
    @cached()
    async def handler(it: Annotated[Any, Depends(made)]) -> Any:
        return language_of(it)

    client = await serve(router)
    outcomes = []
    for language in ("de", "fr", "de", "fr"):
        language_now.set(language)
        answer = await client.get("/made")
        assert answer.json() == language
        outcomes.append(outcome(answer))
    assert outcomes == ["MISS", "MISS", "HIT", "HIT"]


# What nobody can look into, or not for each request.
CLOSED: dict[str, Callable[[], Any]] = {
    "gone": lambda: [weakref.proxy(Made("gone"))],
    "many": lambda: [Made("one")] * 1000,
}


@pytest.mark.parametrize("what", CLOSED)
async def test_what_cannot_be_looked_into_is_not_shared_and_no_error(
    serve: Serve, what: str
) -> None:
    router = APIRouter()

    @router.get("/closed")
    @cached()
    async def handler(it: Annotated[Any, Depends(CLOSED[what])]) -> str:
        return "answer"

    answer = await (await serve(router)).get("/closed")
    assert answer.json() == "answer"
    assert "unshareable" in answer.headers["cache-status"]
