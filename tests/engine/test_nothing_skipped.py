"""C13: whatever stands around or before a cached handler acts on a hit, too."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import wraps
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import SecurityScopes
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.cache import cached, provider
from app.config import Settings
from app.database import SessionDep
from app.main import create_app
from app.managers.auth import AuthManager, CurrentUser, Principal
from app.models.user import User
from tests.asgi import lifespan
from tests.engine.answers import outcome
from tests.people import MakeUser, Person

ran: Counter[str] = Counter()
refusing: set[str] = set()


def note(name: str) -> None:
    """Act as something that an owner adds: it counts, and it may refuse."""
    ran[name] += 1
    if name in refusing:
        raise PermissionError(name)


@pytest.fixture(autouse=True)
def _nothing_ran_yet() -> None:
    ran.clear()
    refusing.clear()


def counted(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(function)
    async def inner(*args: Any, **kwargs: Any) -> Any:
        note("decorator above")
        return await function(*args, **kwargs)

    return inner


def enveloped(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(function)
    async def inner(*args: Any, **kwargs: Any) -> Any:
        return {"data": await function(*args, **kwargs), "count": ran["envelope"]}

    return inner


async def route_dependency() -> None:
    note("route dependency")


def sync_dependency() -> None:
    note("sync dependency")


async def sub_dependency() -> None:
    note("sub-dependency")


async def above_it(_: Annotated[None, Depends(sub_dependency)]) -> None:
    note("above a sub-dependency")


async def yielding() -> AsyncIterator[None]:
    note("yield dependency")
    yield
    ran["after yield"] += 1


async def router_dependency() -> None:
    note("router dependency")


async def application_dependency() -> None:
    note("application dependency")


async def with_session(session: SessionDep) -> None:
    note("dependency with a session")


async def scoped(scopes: SecurityScopes) -> None:
    note(f"security {scopes.scope_str}")


@provider
async def made() -> int:
    ran["provider"] += 1
    return 1


class Rule(AuthManager):
    """A rule of the owner's own, beside those of the service."""

    def authorize(self, principal: Principal, request: HTTPConnection) -> None:
        note("rule")
        super().authorize(principal, request)


class CountedRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Any]:
        handler = super().get_route_handler()

        async def counted_handler(request: Request) -> Response:
            note("route class")
            answer: Response = await handler(request)
            return answer

        return counted_handler


class CountedMiddleware:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/skip"):
            note("middleware")
        await self._app(scope, receive, send)


def routes() -> APIRouter:
    router = APIRouter(prefix="/skip", dependencies=[Depends(router_dependency)])

    def add(path: str, *dependencies: Any, **more: Any) -> None:
        @router.get(path, dependencies=list(dependencies), **more)
        @cached(namespace="skip")
        async def handler(value: Annotated[int, Depends(made)]) -> int:
            ran["handler"] += 1
            return value

    add("/route", Depends(route_dependency))
    add("/sync", Depends(sync_dependency))
    add("/sub", Depends(above_it))
    add("/yield", Depends(yielding))
    add("/session", Depends(with_session))
    add("/security", Security(scoped, scopes=["a", "b"]))

    @router.get("/decorator")
    @counted
    @cached(namespace="skip")
    async def decorated() -> int:
        ran["handler"] += 1
        return 1

    @router.get("/envelope", response_model=None)
    @enveloped
    @cached(namespace="skip")
    async def in_envelope() -> int:
        ran["handler"] += 1
        return 1

    @router.get("/rule")
    @cached(namespace="skip")
    async def ruled(user: Annotated[User, Depends(Rule())]) -> int:
        ran["handler"] += 1
        return user.id

    own = APIRouter(route_class=CountedRoute)

    @own.get("/class")
    @cached(namespace="skip")
    async def of_class() -> int:
        ran["handler"] += 1
        return 1

    @own.get("/sync-class")
    @cached(namespace="skip")
    def of_class_in_a_thread() -> int:
        ran["handler"] += 1
        return 1

    router.include_router(own)
    return router


@pytest.fixture
async def app(settings: Settings, storage: str) -> AsyncIterator[FastAPI]:
    app = create_app(settings)
    app.router.dependencies.append(Depends(application_dependency))
    app.include_router(routes())
    app.add_middleware(CountedMiddleware)
    async with lifespan(app):
        yield app


TABLE = {
    "/skip/route": ["route dependency"],
    "/skip/sync": ["sync dependency"],
    "/skip/sub": ["sub-dependency", "above a sub-dependency"],
    "/skip/yield": ["yield dependency", "after yield"],
    "/skip/session": ["dependency with a session"],
    "/skip/security": ["security a b"],
    "/skip/decorator": ["decorator above"],
    "/skip/rule": ["rule"],
    "/skip/class": ["route class"],
    "/skip/sync-class": ["route class"],
}
ALWAYS = ["router dependency", "middleware"]


@pytest.mark.parametrize("path", TABLE)
async def test_it_runs_as_often_as_without_the_cache(
    client: httpx.AsyncClient, user: Person, path: str
) -> None:
    outcomes = []
    for times in range(1, 6):
        answer = await client.get(path, headers=user.headers)
        assert answer.status_code == 200, answer.text
        outcomes.append(outcome(answer))
        for name in (*TABLE[path], *ALWAYS):
            assert ran[name] == times, (name, times)
    assert outcomes == ["MISS", *["HIT"] * 4]
    assert ran["handler"] == 1


@pytest.mark.parametrize("path", TABLE)
@pytest.mark.parametrize("times", [1, 2, 5])
async def test_it_can_refuse_a_hit(
    client: httpx.AsyncClient, user: Person, path: str, times: int
) -> None:
    for _ in range(times):
        answer = await client.get(path, headers=user.headers)
        assert answer.status_code == 200
    for name in (TABLE[path][0], "router dependency"):
        refusing.add(name)
        answer = await client.get(path, headers=user.headers)
        assert answer.status_code == 500, name
        refusing.clear()


class Around:
    """An application that an owner puts around one route's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        note("around")

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-around", b"1")]
            await send(message)

        await self._app(scope, receive, marked)


@pytest.mark.parametrize("path", ["/around", "/sync-around"])
async def test_what_is_put_around_a_route_acts_on_a_hit(
    settings: Settings, storage: str, path: str
) -> None:
    app = create_app(settings)

    @app.get("/around")
    @cached(namespace="skip")
    async def inside() -> int:
        ran["handler"] += 1
        return 1

    @app.get("/sync-around")
    @cached(namespace="skip")
    def inside_in_a_thread() -> int:
        ran["handler"] += 1
        return 1

    for route in app.router.routes[-2:]:
        assert isinstance(route, APIRoute)
        route.app = Around(route.app)
    transport = httpx.ASGITransport(app)
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        for times in range(1, 4):
            answer = await client.get(path)
            assert outcome(answer) == ("HIT" if times > 1 else "MISS")
            assert answer.headers.get_list("x-around") == ["1"]
            assert ran["around"] == times
    assert ran["handler"] == 1


async def test_a_provider_is_made_with_the_handler_only(
    client: httpx.AsyncClient,
) -> None:
    for _ in range(5):
        assert (await client.get("/skip/route")).json() == 1
    assert (ran["provider"], ran["handler"]) == (1, 1)


async def test_what_a_decorator_makes_of_the_value_is_made_on_each_hit(
    client: httpx.AsyncClient,
) -> None:
    for count in range(3):
        ran["envelope"] = count
        answer = await client.get("/skip/envelope")
        assert answer.json() == {"data": 1, "count": count}
    assert ran["handler"] == 1


async def test_an_override_acts_at_once_and_ends_at_once(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    async def refuse() -> None:
        note("override")

    for _ in range(2):
        await client.get("/skip/route")
    app.dependency_overrides[route_dependency] = refuse
    for times in range(1, 4):
        assert (await client.get("/skip/route")).status_code == 200
        assert ran["override"] == times
    app.dependency_overrides.clear()
    assert outcome(await client.get("/skip/route")) == "HIT"


async def test_another_provider_by_an_override_makes_its_own(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    for number in (1, 1, 2, 3, 1):
        another = provider(lambda n=number: n)
        app.dependency_overrides = {} if number == 1 else {made: another}
        assert (await client.get("/skip/route")).json() == number


async def test_another_user_by_an_override_gets_his_own(
    app: FastAPI, client: httpx.AsyncClient, make_user: MakeUser
) -> None:
    ann, bob = await make_user(), await make_user()
    guard = next(
        each.call
        for route in app.routes
        for each in _dependencies(route)
        if isinstance(each.call, Rule)
    )
    for person in (ann, bob, ann, bob):
        app.dependency_overrides[guard] = lambda p=person: User(id=p.id)
        assert (await client.get("/skip/rule")).json() == person.id


def _dependencies(route: Any) -> Sequence[Any]:
    from fastapi.routing import iter_route_contexts

    contexts = iter_route_contexts([route])
    return [
        d for c in contexts if hasattr(c, "dependant") for d in c.dependant.dependencies
    ]


async def test_a_default_key_is_fresh_after_a_rename(
    settings: Settings, storage: str, make_user: MakeUser, app: FastAPI
) -> None:
    """An entry inherits what its dependencies used: here who asks."""
    router = APIRouter(prefix="/inherit")

    @router.get("/name")
    @cached()
    async def name(user: CurrentUser) -> str:
        return user.first_name

    other = create_app(settings.model_copy(update={"cache_prefix": "inherit"}))
    other.include_router(router)
    ann = await make_user()
    transport = httpx.ASGITransport(other)
    async with (
        lifespan(other),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        for name_now in ("Ann", "Anna"):
            body = {"first_name": name_now, "last_name": "Lee", "email": ann.email}
            changed = await client.put(
                f"/users/{ann.id}", json=body, headers=ann.headers
            )
            assert changed.status_code == 200, changed.text
            for wanted in ("MISS", "HIT"):
                answer = await client.get("/inherit/name", headers=ann.headers)
                assert (answer.json(), outcome(answer)) == (name_now, wanted)
