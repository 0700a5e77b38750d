"""C6: a hit is what the miss was, or the answer is not stored."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException, Response
from fastapi.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    StreamingResponse,
)
from fastapi.sse import EventSourceResponse
from fastapi_cache.coder import JsonCoder, PickleCoder
from pydantic import BaseModel, Field
from starlette.background import BackgroundTask

from app.cache import cached
from app.config import Settings
from app.main import create_app
from app.middleware import SECURITY
from tests.cache.conftest import whole
from tests.engine.answers import contents, outcome
from tests.engine.each import on_any_storage, on_one_storage
from tests.engine.wire import WAYS, asking, until
from tests.environment import settings_from

pytestmark = on_one_storage


runs: Counter[str] = Counter()

STORED = [
    "json",
    "model",
    "alias",
    "exclude",
    "text",
    "html",
    "bytes",
    "none",
    "sync",
    "own-headers",
    "repeated-headers",
    "own-etag",
    "own-cache-control",
    "own-expires",
    "own-age",
    "own-vary",
    "headers-of-parameter",
    "response-class",
    "json-coder",
    "pickle-coder",
    "sync-pickle-coder",
]
NOT_STORED = [
    "created",
    "created-by-parameter",
    "empty",
    "redirect",
    "raised",
    "returned",
    "set-cookie",
    "set-cookie-of-parameter",
    "no-store",
    "no-cache",
    "stale",
    "expired",
    "garbled-expires",
    "aged",
    "vary-on-everything",
    "task-of-parameter",
    "task-of-response",
    "stream",
    "generator",
    "lines",
    "events",
    "file",
    "large",
    "coder-and-task",
    "coder-and-status",
    "coder-and-response",
    "coder-that-fails",
    "coder-that-changes",
    "json-coder-headers",
    "json-coder-model",
]


class Public(BaseModel):
    name: str
    full_name: str | None = Field(default=None, alias="fullName")


class Stored(Public):
    password_hash: str = "$argon2id$v=19$the-hash"


class Wider(Public):
    note: str = "not shown"


class BrokenCoder(JsonCoder):
    @classmethod
    def encode(cls, _: Any) -> bytes:
        raise RuntimeError("it cannot")


class ForgetfulCoder(JsonCoder):
    @classmethod
    def decode(cls, _: bytes) -> str:
        return "another"


def make_router(file: Path) -> APIRouter:
    """Return a route for each kind of answer."""
    router = APIRouter(prefix="/as")

    def ran(name: str) -> None:
        runs[name] += 1

    @router.get("/json")
    @cached()
    async def as_json() -> dict[str, Any]:
        ran("json")
        return {"é": [1, 2.5, None]}

    @router.get("/model")
    @cached()
    async def model() -> Public:
        ran("model")
        return Stored(name="Ada", fullName="Ada L")

    @router.get("/alias", response_model=Public, response_model_by_alias=False)
    @cached()
    async def alias() -> Any:
        ran("alias")
        return Stored(name="Ada", fullName="Ada L")

    @router.get("/exclude", response_model=Public, response_model_exclude={"name"})
    @cached()
    async def exclude() -> Any:
        ran("exclude")
        return Stored(name="Ada")

    @router.get("/text")
    @cached()
    async def text() -> PlainTextResponse:
        ran("text")
        return PlainTextResponse("plain ü")

    @router.get("/html", response_class=HTMLResponse)
    @cached()
    async def html() -> str:
        ran("html")
        return "<p>hypertext</p>"

    @router.get("/bytes")
    @cached()
    async def octets() -> Response:
        ran("bytes")
        return Response(bytes(range(256)))

    @router.get("/none")
    @cached()
    async def none() -> None:
        ran("none")

    @router.get("/sync")
    @cached()
    def sync() -> Public:
        ran("sync")
        return Stored(name="Ada")

    @router.get("/own-headers")
    @cached()
    async def own_headers() -> JSONResponse:
        ran("own-headers")
        headers = {"X-Own": "ü", "Content-Language": "en", "Last-Modified": "now"}
        return JSONResponse([], headers=headers)

    @router.get("/repeated-headers")
    @cached()
    async def repeated_headers() -> Response:
        ran("repeated-headers")
        response = Response("{}", media_type="application/json")
        for name in ("Link", "Cache-Control", "X-Twice"):
            response.headers.append(name, "max-age=9")
            response.headers.append(name, "must-revalidate")
        return response

    @router.get("/own-etag")
    @cached()
    async def own_etag() -> Response:
        ran("own-etag")
        return Response("x", headers={"ETag": 'W/"mine"'})

    @router.get("/own-cache-control")
    @cached()
    async def own_cache_control() -> Response:
        ran("own-cache-control")
        return Response("x", headers={"Cache-Control": "public, max-age=60"})

    @router.get("/own-expires")
    @cached()
    async def own_expires() -> Response:
        ran("own-expires")
        return Response("x", headers={"Expires": "Fri, 01 Jan 2100 00:00:00 GMT"})

    @router.get("/own-age")
    @cached()
    async def own_age() -> Response:
        ran("own-age")
        headers = {"Age": "50", "Cache-Control": "max-age=1, s-maxage=60"}
        return Response("x", headers=headers)

    @router.get("/own-vary")
    @cached()
    async def own_vary() -> Response:
        ran("own-vary")
        return Response("x", headers={"Vary": "Accept-Language, Cookie"})

    @router.get("/headers-of-parameter")
    @cached()
    async def headers_of_parameter(response: Response) -> str:
        ran("headers-of-parameter")
        response.headers["X-Own"] = "by parameter"
        return "x"

    @router.get("/response-class", response_class=PlainTextResponse)
    @cached()
    def response_class() -> str:
        ran("response-class")
        return "plain"

    @router.get("/json-coder")
    @cached(coder=JsonCoder)
    async def json_coder() -> dict[str, Any]:
        ran("json-coder")
        return {"name": "Ada", "at": [1, 2.5, None]}

    @router.get("/json-coder-model")
    @cached(coder=JsonCoder)
    async def json_coder_model() -> Public:
        ran("json-coder-model")
        return Stored(name="Ada", fullName="Ada L")

    @router.get("/json-coder-headers")
    @cached(coder=JsonCoder)
    async def json_coder_headers(response: Response) -> list[Public]:
        ran("json-coder-headers")
        response.headers["X-Own"] = "by parameter"
        return [Public(name="Ada")]

    @router.get("/pickle-coder", response_model=Public)
    @cached(coder=PickleCoder)
    async def pickle_coder() -> Any:
        ran("pickle-coder")
        return Wider(name="Ada")

    @router.get("/sync-pickle-coder")
    @cached(coder=PickleCoder)
    def sync_pickle_coder() -> Public:
        ran("sync-pickle-coder")
        return Wider(name="Ada")

    @router.get("/created", status_code=201)
    @cached()
    async def created() -> str:
        ran("created")
        return "x"

    @router.get("/created-by-parameter")
    @cached()
    async def created_by_parameter(response: Response) -> str:
        ran("created-by-parameter")
        response.status_code = 201
        return "x"

    @router.get("/empty", status_code=204)
    @cached()
    async def empty() -> None:
        ran("empty")

    @router.get("/redirect")
    @cached()
    async def redirect() -> RedirectResponse:
        ran("redirect")
        return RedirectResponse("/as/json")

    @router.get("/raised")
    @cached()
    async def raised() -> None:
        ran("raised")
        raise HTTPException(404, "nowhere")

    @router.get("/returned")
    @cached()
    async def returned() -> JSONResponse:
        ran("returned")
        return JSONResponse({"detail": "nowhere"}, 404)

    @router.get("/set-cookie")
    @cached()
    async def set_cookie() -> Response:
        ran("set-cookie")
        response = Response("x")
        response.set_cookie("session", "secret")
        return response

    @router.get("/set-cookie-of-parameter")
    @cached()
    async def set_cookie_of_parameter(response: Response) -> str:
        ran("set-cookie-of-parameter")
        response.set_cookie("session", "secret")
        return "x"

    @router.get("/no-store")
    @cached()
    async def no_store() -> Response:
        ran("no-store")
        return Response("x", headers={"Cache-Control": "No-Store"})

    @router.get("/no-cache")
    @cached()
    async def no_cache() -> Response:
        ran("no-cache")
        return Response("x", headers={"Cache-Control": "max-age=60, NO-CACHE"})

    @router.get("/stale")
    @cached()
    async def stale() -> Response:
        ran("stale")
        return Response("x", headers={"Cache-Control": "public, max-age=0"})

    @router.get("/expired")
    @cached()
    async def expired() -> Response:
        ran("expired")
        return Response("x", headers={"Expires": "Thu, 01 Jan 1970 00:00:00 GMT"})

    @router.get("/garbled-expires")
    @cached()
    async def garbled_expires() -> Response:
        ran("garbled-expires")
        return Response("x", headers={"Expires": "0"})

    @router.get("/aged")
    @cached()
    async def aged() -> Response:
        ran("aged")
        return Response("x", headers={"Age": "60", "Cache-Control": "max-age=60"})

    @router.get("/vary-on-everything")
    @cached()
    async def vary_on_everything() -> Response:
        ran("vary-on-everything")
        return Response("x", headers={"Vary": "*"})

    @router.get("/task-of-parameter")
    @cached()
    async def task_of_parameter(tasks: BackgroundTasks) -> str:
        tasks.add_task(ran, "task-of-parameter")
        return "x"

    @router.get("/task-of-response")
    @cached()
    async def task_of_response() -> Response:
        return Response("x", background=BackgroundTask(ran, "task-of-response"))

    @router.get("/stream")
    @cached()
    async def stream() -> StreamingResponse:
        ran("stream")
        return StreamingResponse(iter(["one", "two"]), media_type="text/plain")

    @router.get("/generator", response_class=StreamingResponse)
    @cached()
    def generator() -> Iterator[str]:
        ran("generator")
        yield from ("one", "two")

    @router.get("/lines")
    @cached()
    async def lines() -> AsyncIterator[Public]:
        ran("lines")
        yield Public(name="Ada")
        yield Public(name="Grace")

    @router.get("/events", response_class=EventSourceResponse)
    @cached()
    async def events() -> AsyncIterator[Public]:
        ran("events")
        yield Public(name="Ada")

    @router.get("/file")
    @cached()
    async def send_file() -> FileResponse:
        ran("file")
        return FileResponse(file)

    @router.get("/large")
    @cached()
    async def large() -> Response:
        ran("large")
        return Response(b"x" * 1_048_577)

    @router.get("/coder-and-task")
    @cached(coder=JsonCoder)
    async def coder_and_task(tasks: BackgroundTasks) -> str:
        tasks.add_task(ran, "coder-and-task")
        return "x"

    @router.get("/coder-and-status")
    @cached(coder=JsonCoder)
    async def coder_and_status(response: Response) -> str:
        ran("coder-and-status")
        response.status_code = 202
        return "x"

    @router.get("/coder-and-response")
    @cached(coder=PickleCoder)
    async def coder_and_response() -> StreamingResponse:
        ran("coder-and-response")
        return StreamingResponse(iter(["one"]))

    @router.get("/coder-that-fails")
    @cached(coder=BrokenCoder)
    async def coder_that_fails() -> str:
        ran("coder-that-fails")
        return "x"

    @router.get("/coder-that-changes")
    @cached(coder=ForgetfulCoder)
    async def coder_that_changes() -> str:
        ran("coder-that-changes")
        return "x"

    return router


@pytest.fixture(params=WAYS)
async def client(
    app: FastAPI, request: pytest.FixtureRequest
) -> AsyncIterator[httpx.AsyncClient]:
    """Ask on a connection that stays open, too."""
    async with asking(app, request.param) as client:
        yield client


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "file.txt"
    file.write_text("0123456789")
    return file


@pytest.fixture
def routers(file: Path) -> Sequence[APIRouter]:
    runs.clear()
    return (make_router(file),)


def ran_twice(name: str) -> bool:
    return runs[name] == 2


@on_any_storage
async def test_a_hit_is_what_the_miss_was(client: httpx.AsyncClient) -> None:
    for name in STORED:
        first = await client.get(f"/as/{name}")
        second = await client.get(f"/as/{name}")
        assert (outcome(first), outcome(second)) == ("MISS", "HIT"), name
        assert whole(second) == whole(first), name
        assert runs[name] == 1
        assert b"the-hash" not in first.content


@on_any_storage
async def test_what_could_not_be_repeated_is_not_stored(
    client: httpx.AsyncClient,
) -> None:
    for name in NOT_STORED:
        first = await client.get(f"/as/{name}")
        second = await client.get(f"/as/{name}")
        assert outcome(second) != "HIT", name
        assert whole(second) == whole(first), name
        await until(partial(ran_twice, name))  # a task runs after its answer has come
        assert "stored" not in first.headers.get("cache-status", "")


async def test_no_answer_differs_from_that_without_a_cache(
    settings: Settings, client: httpx.AsyncClient, file: Path
) -> None:
    with settings_from(CACHE_ENABLED="false"):
        plain = FastAPI()
        plain.include_router(make_router(file))
    added = {"etag", "vary", "cache-control", *(name.lower() for name in SECURITY)}
    transport = httpx.ASGITransport(plain)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as uncached:
        for name in STORED + NOT_STORED:
            if name in ("raised",):  # the service has its own way to say so
                continue
            wanted = await uncached.get(f"/as/{name}")
            for _ in range(2):
                got = await client.get(f"/as/{name}")
                assert got.status_code == wanted.status_code, name
                assert got.content == wanted.content, name
                missing = [
                    (key, value)
                    for key, value in wanted.headers.multi_items()
                    if key != "vary" and (key, value) not in got.headers.multi_items()
                ]
                assert not missing, name
                more = set(got.headers) - set(wanted.headers) - added
                assert {n for n in more if not n.startswith("x-")} <= {
                    *("age", "cache-status"),
                    *("date", "server", "transfer-encoding"),  # of a real server
                }


async def test_part_of_a_file_is_sent_as_asked(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        part = await client.get("/as/file", headers={"Range": "bytes=2-4"})
        assert (part.status_code, part.content) == (206, b"234")
    stored = await client.get("/as/text")
    part = await client.get("/as/text", headers={"Range": "bytes=0-1"})
    assert (part.status_code, part.content) == (200, stored.content)


async def test_a_hash_that_the_model_hides_is_not_even_stored(
    client: httpx.AsyncClient, storage: str
) -> None:
    for name in ("model", "alias", "exclude", "sync"):
        for _ in range(2):
            assert b"hash" not in (await client.get(f"/as/{name}")).content
    assert b"the-hash" not in await contents(storage)


def test_the_schema_does_not_depend_on_caching(settings: Settings, file: Path) -> None:
    on, off = FastAPI(), FastAPI()
    on.include_router(make_router(file))
    with settings_from(CACHE_ENABLED="false"):
        off.include_router(make_router(file))
    assert json.dumps(on.openapi()) == json.dumps(off.openapi())


def test_the_services_schema_does_not_depend_on_caching(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import json; from app.main import create_app; "
        "print(json.dumps(create_app().openapi()))"
    )
    monkeypatch.setenv("CACHE_ENABLED", "false")
    uncached = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert json.loads(uncached) == json.loads(
        json.dumps(create_app(settings).openapi())
    )


def _route_with_string_annotations() -> APIRouter:
    router = APIRouter()
    source = (
        "from __future__ import annotations\n"
        "from typing import Annotated\n"
        "from fastapi import Depends, Query\n"
        "def who() -> str: return 'me'\n"
        "async def route(n: Annotated[int, Query(ge=1)], me: Annotated[str, "
        "Depends(who)]) -> dict[str, int]: return {me: n}\n"
    )
    names: dict[str, Any] = {"__name__": "elsewhere"}
    exec(compile(source, "elsewhere", "exec"), names)  # noqa: S102 - as a module would
    router.get("/strings")(cached()(names["route"]))
    return router


async def test_annotations_may_be_strings(settings: Settings) -> None:
    app = FastAPI()
    app.include_router(_route_with_string_annotations())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        assert (await client.get("/strings?n=2")).json() == {"me": 2}
        assert (await client.get("/strings?n=0")).status_code == 422
