import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.types import Receive, Scope, Send

from app.middleware.requests import route_path


@pytest.mark.parametrize("root_path", ["", "/api"])
@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/outer/inner/5", "/outer/inner/{thing}"),
        ("/mounted/outer/inner/5", "/mounted/outer/inner/{thing}"),
        ("/nowhere", None),
    ],
)
async def test_a_route_has_the_prefixes_of_routers_and_mounts(
    root_path: str, path: str, route: str | None
) -> None:
    inner, outer = APIRouter(), APIRouter(prefix="/outer")

    @inner.get("/{thing}")
    async def thing(thing: int) -> int:
        return thing

    outer.include_router(inner, prefix="/inner")
    app, mounted = FastAPI(), FastAPI()
    app.include_router(outer)
    mounted.include_router(outer)
    app.mount("/mounted", mounted)
    found: list[str | None] = []

    async def around(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)
        found.append(route_path(scope))

    transport = httpx.ASGITransport(around, root_path=root_path)
    async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
        await client.get(root_path + path)

    assert found == [route]
