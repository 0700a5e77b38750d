"""C6, C13: what stands around a handler has the effect that it has without a cache."""

from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.exceptions import ResponseValidationError
from fastapi.responses import JSONResponse

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
