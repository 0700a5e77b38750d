"""Routes of an owner's own beside the pages."""

import httpx
from fastapi import APIRouter

from app.config import Settings
from app.main import create_app
from tests.asgi import lifespan
from tests.test_pages import Page

router = APIRouter(prefix="/admin")


@router.get("/products")
async def products() -> list[str]:
    return ["apple"]


async def test_an_own_route_below_admin_comes_before_the_pages(
    settings: Settings,
) -> None:
    app = create_app(settings)
    app.include_router(router)
    transport = httpx.ASGITransport(app)
    for _ in range(2):  # an application may be started again
        async with (
            lifespan(app),
            httpx.AsyncClient(transport=transport, base_url="http://service") as client,
        ):
            assert (await client.get("/admin/products")).json() == ["apple"]
            login = await client.get("/admin/login")
            assert login.status_code == 200
            assert "Log in" in Page(login).text
            nothing = await client.get("/admin/nothing")
            assert nothing.status_code == 404
            assert nothing.headers["content-type"].startswith("text/html")
