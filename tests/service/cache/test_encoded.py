"""Entity tags and an HTTP cache in front of the service (RFC 9110 8.8, RFC 9111)."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.cache import cached, setup
from app.config import Settings
from app.main import create_app
from app.middleware import KEEP_BODIES
from tests.asgi import lifespan


def with_a_route(settings: Settings, **update: object) -> FastAPI:
    app = create_app(settings.model_copy(update=update))

    @app.get("/long")
    @cached(namespace="long")
    async def long() -> str:
        return "x" * 5000

    return app


async def get(app: FastAPI, path: str = "/long", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    transport: Any = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://a.test") as web:
        return await web.get(path, headers=named)


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


class ByLanguage:
    """Makes a body for each language, and names it in Vary."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def translated(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                headers["Vary"] = f"{headers.get('Vary')}, Accept-Language"
                del headers["Content-Length"]
            elif scope["type"] == "http":
                language = Headers(scope=scope)["accept-language"].encode()
                message["body"] = language + message["body"]
            await send(message)

        await self.app(scope, receive, translated)


async def by_function(request: Request, call_next: Any) -> Any:
    answer = await call_next(request)
    answer.headers["X-Time"] = "1"
    return answer


def added(app: FastAPI) -> None:
    app.add_middleware(ByLanguage)


def below_another(app: FastAPI) -> None:
    app.add_middleware(ByLanguage)
    app.add_middleware(GZipMiddleware)


@pytest.mark.parametrize("add", [added, below_another])
async def test_what_is_changed_by_whom_nobody_knows_has_no_tag(
    settings: Settings, caplog: pytest.LogCaptureFixture, add: Callable[[FastAPI], None]
) -> None:
    app = with_a_route(settings)
    add(app)
    async with lifespan(app):
        for language in ("de", "fr", "de"):
            answer = await get(app, accept_language=language, if_none_match="*")
            assert (answer.status_code, answer.text[:2]) == (200, language)
            assert "ETag" not in answer.headers
    assert answer.headers["X-FastAPI-Cache"] == "HIT"
    assert caplog.text.count("ByLanguage may change their bodies") == 1


async def test_the_middleware_of_a_mount_may_change_a_body(settings: Settings) -> None:
    app, inner = create_app(settings), FastAPI()

    @inner.get("/long")
    @cached(namespace="long")
    async def long() -> Response:
        return Response("x", headers={"ETag": '"mine"'})

    app.router.routes.append(
        Mount(
            "/in",
            inner,
            middleware=[Middleware(GZipMiddleware), Middleware(ByLanguage)],
        )
    )
    async with lifespan(app):
        for _ in range(2):
            sent = {"Accept-Language": "de", "If-None-Match": '"mine"'}
            answer = await get(app, "/in/long", **sent)
            assert (answer.status_code, answer.text) == (200, "dex")


@pytest.mark.parametrize("known", [False, True])
async def test_who_is_said_to_keep_bodies_leaves_the_tag(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    if known:
        monkeypatch.setattr(setup, "KEEP_BODIES", {*KEEP_BODIES, by_function})
    app = with_a_route(settings)
    app.middleware("http")(by_function)
    async with lifespan(app):
        answer = await get(app)
        same = await get(app, if_none_match=answer.headers.get("ETag", "none"))
    assert answer.headers.get("ETag", "").startswith('"') == known
    assert same.status_code == (304 if known else 200)


async def test_no_shared_cache_keeps_an_answer(settings: Settings) -> None:
    app = with_a_route(settings)
    async with lifespan(app):
        for answer in (await get(app), await get(app)):
            assert answer.headers["Cache-Control"] == "private, no-cache"
            assert "Authorization" in answer.headers["Vary"]
