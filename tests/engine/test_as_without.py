"""C6, C13: what stands around a handler has the effect that it has without a cache."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response
from fastapi.responses import JSONResponse

from app.cache import cached
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
