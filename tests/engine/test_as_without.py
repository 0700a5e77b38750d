"""C6, C13: what stands around a handler has the effect that it has without a cache."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.exceptions import ResponseValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute

from app.cache import cached, provider
from app.config import Settings
from app.main import create_app
from tests.asgi import lifespan
from tests.engine.answers import outcome
from tests.engine.conftest import Serve


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
