"""Entity tags and an HTTP cache in front of the service (RFC 9110 8.8, RFC 9111)."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from app.cache import cached
from app.config import Settings
from app.main import create_app
from tests.asgi import lifespan


def with_a_route(settings: Settings, **update: object) -> FastAPI:
    app = create_app(settings.model_copy(update=update))

    @app.get("/long")
    @cached(namespace="long")
    async def long() -> str:
        return "x" * 5000

    return app


async def get(app: FastAPI, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    transport: Any = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://a.test") as web:
        return await web.get("/long", headers=named)


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_what_is_encoded_has_a_weak_tag_that_is_found_again(
    settings: Settings, encoding: str
) -> None:
    app = with_a_route(settings)
    app.add_middleware(GZipMiddleware)
    async with lifespan(app):
        answer = await get(app, accept_encoding=encoding)
        again = await get(
            app, accept_encoding=encoding, if_none_match=answer.headers["ETag"]
        )

    assert answer.headers.get("Content-Encoding", "identity") == encoding
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert answer.headers["ETag"].startswith('W/"')
    assert again.status_code == 304


async def test_own_middleware_leaves_the_tag_strong(settings: Settings) -> None:
    app = with_a_route(settings, root_path="/api", allowed_hosts=("a.test",))
    async with lifespan(app):
        answer = await get(app)

    assert answer.headers["ETag"].startswith('"')


async def test_no_shared_cache_keeps_an_answer(settings: Settings) -> None:
    app = with_a_route(settings)
    async with lifespan(app):
        for answer in (await get(app), await get(app)):
            assert answer.headers["Cache-Control"] == "private, no-cache"
            assert "Authorization" in answer.headers["Vary"]
