"""C6, C13: what stands around a handler has the effect that it has without a cache."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import Annotated, Any

import httpx
import pytest
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Depends,
    FastAPI,
    Header,
    Request,
    Response,
)
from fastapi.exceptions import ResponseValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.cache import cached, provider
from app.config import Settings
from app.main import create_app
from tests.asgi import lifespan
from tests.engine.answers import outcome
from tests.engine.conftest import Serve
from tests.engine.each import on_one_storage

pytestmark = on_one_storage


def visit(response: Response, x_user: Annotated[str, Header()] = "nobody") -> None:
    response.set_cookie("user", x_user)
    response.headers["X-Left"] = "9"


async def test_a_response_of_the_handlers_own_has_no_header_of_a_dependency(
    serve: Serve,
) -> None:
    """FastAPI sends it as it was returned."""
    router = APIRouter(prefix="/own", dependencies=[Depends(visit)])

    @router.get("/response")
    @cached()
    async def response() -> Response:
        return JSONResponse(1, headers={"X-Left": "7"})

    @router.get("/value")
    @cached()
    async def value() -> int:
        return 1

    client = await serve(router)
    for expected in ("MISS", "HIT", "HIT"):
        answer = await client.get("/own/response", headers={"X-User": "Ann"})
        assert outcome(answer) == expected
        assert "set-cookie" not in answer.headers
        assert answer.headers.get_list("x-left") == ["7"]
        answer = await client.get("/own/value", headers={"X-User": "Ann"})
        assert outcome(answer) == expected
        assert "user=Ann" in answer.headers["set-cookie"]
        assert answer.headers.get_list("x-left") == ["9"]
        client.cookies.clear()


async def test_a_dependency_counts_each_request(serve: Serve) -> None:
    """As a rate limit does: its header on a hit is that of this request."""
    left = iter(range(9, 0, -1))

    async def limit(response: Response) -> None:
        response.headers["X-RateLimit-Remaining"] = str(next(left))

    router = APIRouter(dependencies=[Depends(limit)])

    @router.get("/limited")
    @cached(namespace="limited")
    async def limited() -> int:
        return 1

    client = await serve(router)
    for expected, remaining in (("MISS", "9"), ("HIT", "8"), ("HIT", "7")):
        answer = await client.get("/limited")
        assert outcome(answer) == expected
        assert answer.headers.get_list("x-ratelimit-remaining") == [remaining]


def draft(response: Response) -> None:
    response.headers["X-Draft"] = str(next(numbers) % 2)


numbers = iter(range(1000))
CHANGES: dict[str, Callable[[Response], None]] = {
    "delete": lambda response: response.headers.__delitem__("x-draft"),
    "set": lambda response: response.headers.__setitem__("x-draft", "0"),
    "append": lambda response: response.headers.append("x-draft", "0"),
    "clear": lambda response: response.raw_headers.clear(),
}


@pytest.mark.parametrize("how", CHANGES)
async def test_a_header_of_a_dependency_that_the_handler_changes(
    serve: Serve, how: str
) -> None:
    router = APIRouter(prefix="/draft", dependencies=[Depends(draft)])

    async def plain_handler(response: Response) -> int:
        CHANGES[how](response)
        return 1

    async def handler(response: Response) -> int:
        return await plain_handler(response)

    router.add_api_route("/plain", plain_handler)
    router.add_api_route("/cached", cached()(handler))
    client = await serve(router)
    for _ in range(4):  # with both values that the dependency sets
        plain = await client.get("/draft/plain")
        next(numbers)  # so that the next answer is given the same
        answer = await client.get("/draft/cached")
        same = answer.headers.get_list("x-draft") == plain.headers.get_list("x-draft")
        assert same, (answer.headers, plain.headers)


class Mailer:
    def __init__(self, tasks: BackgroundTasks) -> None:
        self.tasks = tasks


@pytest.mark.parametrize("value", [False, True])
async def test_a_task_that_is_added_by_what_a_dependency_made(
    serve: Serve, *, value: bool
) -> None:
    sent: list[str] = []

    def before(tasks: BackgroundTasks) -> None:
        tasks.add_task(sent.append, "dependency")

    async def handler(mailer: Annotated[Mailer, Depends(Mailer)]) -> int:
        mailer.tasks.add_task(sent.append, "handler")
        return 1

    router = APIRouter(prefix="/mail", dependencies=[Depends(before)])
    cached_handler = cached()(handler)
    router.add_api_route("/", above(cached_handler) if value else cached_handler)
    client = await serve(router)
    for times in range(1, 4):
        assert (await client.get("/mail/")).json() == 1
        assert sent == ["dependency", "handler"] * times


def raising(*_: object, **__: object) -> str:
    raise KeyError("token4711")


async def raising_later(*_: object, **__: object) -> str:
    raise KeyError("token4711")


@pytest.mark.parametrize("builder", [raising, raising_later])
@pytest.mark.parametrize("path", ["route", "value", "function"])
async def test_a_key_builder_that_raises(
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    builder: Callable[..., Any],
    path: str,
) -> None:
    router = APIRouter(prefix="/raising")

    @cached(key_builder=builder)
    async def handler() -> int:
        return 1

    @cached(key_builder=builder)
    async def function() -> int:
        return 1

    async def calling() -> int:
        return await function()

    router.add_api_route("/route", handler)
    router.add_api_route("/value", above(handler))
    router.add_api_route("/function", calling)
    client = await serve(router)
    for _ in range(3):
        answer = await client.get(f"/raising/{path}")
        assert (answer.status_code, answer.json(), outcome(answer)) == (200, 1, None)
    said = [r.getMessage() for r in caplog.records if "KeyError" in r.getMessage()]
    assert len(said) == 1
    assert "token4711" not in caplog.text


async def test_what_a_key_builder_sets_is_for_itself(serve: Serve) -> None:
    router = APIRouter(prefix="/setting")

    def by_device(*_: object, request: Request, **__: object) -> str:
        request.state.device = request.headers["user-agent"].partition("/")[0]
        return f"setting:{request.state.device}"

    @router.get("/")
    @cached(namespace="setting", key_builder=by_device)
    async def handler(request: Request) -> str | None:
        return getattr(request.state, "device", None)

    client = await serve(router)
    for version in ("1", "2", "3"):
        sent = {"User-Agent": f"phone/{version}"}
        answer = await client.get("/setting/", headers=sent)
        assert (answer.status_code, answer.json()) == (200, None)
    assert outcome(answer) == "HIT"


async def test_a_post_to_the_path_of_a_cached_get_is_no_mistake(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    router = APIRouter()

    @cached()
    async def handler() -> int:
        return 1

    for path, endpoint in (("/both", handler), ("/both/value", above(handler))):
        router.add_api_route(path, endpoint, methods=["GET", "POST"])
    client = await serve(router)
    for path in ("/both", "/both/value"):
        assert (await client.post(path)).json() == 1
    assert "is not cached" not in caplog.text


class Closed(Exception):
    """What the application answers with 200."""


def unready() -> int:
    raise Closed


async def closing() -> AsyncIterator[None]:
    yield
    raise Closed


@pytest.mark.parametrize("path", ["raised", "sync", "invalid", "provider", "teardown"])
async def test_what_the_handler_of_an_exception_answers_is_not_stored(
    settings: Settings, storage: str, path: str
) -> None:
    router = APIRouter(prefix="/exceptions")

    @router.get("/raised")
    @cached()
    async def raised() -> int:
        raise Closed

    @router.get("/sync")
    @cached()
    def sync() -> int:
        raise Closed

    @router.get("/invalid")
    @cached()
    async def invalid() -> int:
        return "no number"  # type: ignore[return-value]

    @router.get("/provider")
    @cached()
    async def provided(number: Annotated[int, Depends(provider(unready))]) -> int:
        return number

    @router.get("/teardown", dependencies=[Depends(closing, scope="function")])
    @cached()
    async def teardown() -> int:
        return 1

    app = create_app(settings)
    app.include_router(router)

    @app.exception_handler(Closed)
    @app.exception_handler(ResponseValidationError)
    async def sorry(request: Request, _: Exception) -> Response:
        return JSONResponse({"sorry": request.headers["accept-language"]})

    async with (
        lifespan(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://service"
        ) as client,
    ):
        for language in ("de", "en", "en"):
            headers = {"Accept-Language": language}
            answer = await client.get(f"/exceptions/{path}", headers=headers)
            assert (answer.status_code, answer.json()) == (200, {"sorry": language})
            assert outcome(answer) == "MISS"


def envelope(_: Request, answer: Response) -> Response:
    return JSONResponse({"data": json.loads(bytes(answer.body))})


def negotiate(request: Request, answer: Response) -> Response:
    if request.headers["accept"] == "text/plain":
        return PlainTextResponse(b"text " + bytes(answer.body))
    return answer


def greet(request: Request, answer: Response) -> Response:
    if "x-user" in request.headers:
        answer.headers["X-Welcome"] = request.headers["x-user"]
    return answer


@pytest.mark.parametrize("change", [envelope, negotiate, greet])
@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_route_class_works_once_on_each_answer(
    serve: Serve, change: Callable[[Request, Response], Response], *, in_thread: bool
) -> None:
    class Changing(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Any]:
            handler = super().get_route_handler()

            async def changed(request: Request) -> Response:
                return change(request, await handler(request))

            return changed

    def sync() -> dict[str, int]:
        return {"a": 1}

    async def handler() -> dict[str, int]:
        return sync()

    router = APIRouter(prefix="/class", route_class=Changing)
    router.add_api_route("/cached", cached()(sync if in_thread else handler))
    router.add_api_route("/plain", lambda: {"a": 1})
    client = await serve(router)
    for headers in (
        {"Accept": "text/plain", "X-User": "Ann"},
        {"Accept": "application/json", "X-User": "Bob"},
        {"Accept": "application/json"},
    ):
        plain = await client.get("/class/plain", headers=headers)
        for _ in range(2):
            answer = await client.get("/class/cached", headers=headers)
            assert answer.content == plain.content
            for name in ("content-type", "x-welcome"):
                assert answer.headers.get(name) == plain.headers.get(name)
        assert outcome(answer) == "HIT"
        same = headers | {"If-None-Match": answer.headers["etag"]}
        assert (await client.get("/class/cached", headers=same)).status_code == 304


class Opaque:
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Plain:
    def __init__(self, name: str) -> None:
        self.name = name


def through_header(scope: Scope, name: str) -> None:
    scope["headers"] = [*scope["headers"], (b"x-tenant", name.encode())]


def through_state(scope: Scope, name: str) -> None:
    scope["state"]["tenant"] = name


def through_copied_state(scope: Scope, name: str) -> None:
    scope["state"] = scope["state"] | {"tenant": name}


SETTERS: dict[str, Callable[[Scope, str], None]] = {
    "header": through_header,
    "state": through_state,
    "copied state": through_copied_state,
    "session": lambda scope, name: scope.update(session={"tenant": name}),
    "text": lambda scope, name: scope.update(tenant=name),
    "object": lambda scope, name: scope.update(tenant=Plain(name)),
    "slots": lambda scope, name: scope.update(tenant=Opaque(name)),
    "function": lambda scope, name: scope.update(tenant=lambda: name),
    "extension": lambda scope, name: scope.update(extensions={"tls": {"cn": name}}),
}


def tenant_of(request: Request) -> list[str]:
    """Return what any of the setters set."""
    scope = request.scope
    found = [request.headers.get("x-tenant"), scope.get("tenant")]
    found += [scope.get("session", {}).get("tenant")]
    found += [scope.get("extensions", {}).get("tls", {}).get("cn")]
    if not any(found):
        found.append(scope["state"].get("tenant"))
    return [_name(each) for each in found if each is not None]


def _name(value: Any) -> str:
    return str(value() if callable(value) else getattr(value, "name", value))


@pytest.mark.parametrize("how", SETTERS)
@pytest.mark.parametrize("path", ["handler", "value", "dependency"])
@pytest.mark.parametrize("mounted", [False, True])
async def test_what_a_middleware_tells_the_handler_tells_requests_apart(
    settings: Settings, storage: str, how: str, path: str, *, mounted: bool
) -> None:
    """Though nothing that the client sent differs."""
    now = ["a"]

    class Telling:
        def __init__(self, app: ASGIApp) -> None:
            self._app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                scope.setdefault("state", {})
                SETTERS[how](scope, now[0])
            await self._app(scope, receive, send)

    app = create_app(settings)
    inner = FastAPI() if mounted else app

    @inner.get("/handler")
    @cached()
    async def handler(request: Request) -> list[str]:
        return tenant_of(request)

    @inner.get("/value")
    @above
    @cached()
    async def value(request: Request) -> list[str]:
        return tenant_of(request)

    @inner.get("/dependency")
    @cached()
    async def dependency(tenant: Annotated[Any, Depends(tenant_in)]) -> list[str]:
        names: list[str] = tenant.name
        return names

    inner.add_middleware(Telling)
    if mounted:
        app.mount("/mounted", inner)
    async with (
        lifespan(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://service"
        ) as client,
    ):
        for name in ("a", "b", "a", "b"):
            now[0] = name
            answer = await client.get(f"{'/mounted' if mounted else ''}/{path}")
            assert answer.json() == [name]
        unseen = ("state", "copied state") if path == "value" else ()
        if how not in ("slots", "function", *unseen):
            assert outcome(answer) == "HIT"


def above(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(function)
    async def inner(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return inner


class Names:
    def __init__(self, name: list[str]) -> None:
        self.name = name


def tenant_in(request: Request) -> Names:
    return Names(tenant_of(request))


def joined(state: Any) -> Any:
    same = state
    state |= {"more": 1}
    assert state is same
    return state


async def test_a_state_is_joined_and_copied_as_a_dict(
    settings: Settings, storage: str
) -> None:
    app = create_app(settings)
    now = ["a"]
    ways: dict[str, Callable[[Any], Any]] = {
        "copy": lambda state: state.copy(),
        "or": lambda state: state | {"more": 1},
        "ror": lambda state: {"more": 1} | state,
        "ior": joined,
        "unpacked": lambda state: {**state},
        "dict": dict,
    }

    class Telling:
        def __init__(self, app: ASGIApp) -> None:
            self._app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                scope["state"] = {"tenant": now[0]}
            await self._app(scope, receive, send)

    @app.get("/cached/{way}")
    @cached()
    async def state(way: str, request: Request) -> str:
        return str(ways[way](request.scope["state"])["tenant"])

    @app.get("/plain/{way}")
    async def plain(way: str, request: Request) -> str:
        return str(ways[way](request.scope["state"])["tenant"])

    app.add_middleware(Telling)
    async with (
        lifespan(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://service"
        ) as client,
    ):
        for way in ways:
            for name in ("a", "b", "a", "b"):
                now[0] = name
                assert (await client.get(f"/plain/{way}")).json() == name
                answer = await client.get(f"/cached/{way}")
                assert answer.json() == name


@pytest.mark.parametrize("value", [False, True])
async def test_a_stream_begins_before_its_first_part(
    settings: Settings, storage: str, *, value: bool
) -> None:
    begun, may_go_on = asyncio.Event(), asyncio.Event()

    async def parts() -> AsyncIterator[str]:
        await may_go_on.wait()
        yield "late"

    async def handler() -> Response:
        return StreamingResponse(parts())

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            begun.set()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    app = create_app(settings)
    cached_handler = cached()(handler)
    app.add_api_route("/", above(cached_handler) if value else cached_handler)
    asgi = {"version": "3.0", "spec_version": "2.4"}
    scope: dict[str, Any] = {"type": "http", "asgi": asgi, "http_version": "1.1"}
    scope |= {"method": "GET", "path": "/", "query_string": b"", "headers": []}
    async with lifespan(app):
        request = asyncio.create_task(app(scope, receive, send))
        try:
            async with asyncio.timeout(5):
                await begun.wait()
        finally:
            may_go_on.set()
            await request
