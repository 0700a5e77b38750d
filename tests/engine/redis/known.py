"""A service with a route for each outcome that the cache can have."""

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from fastapi_cache import FastAPICache
from fastapi_cache.coder import JsonCoder
from sqlalchemy import text
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.cache import cached, invalidate_namespace
from app.database import SessionDep
from app.errors import NotFound
from app.main import create_app

OPENED = Path("opened")  # lets those go on that wait, in the service's folder

router = APIRouter(prefix="/known")


def original() -> int:
    return 1


def replacement() -> int:
    return 2


def accepted(response: Response) -> None:
    response.status_code = 202


def someone(request: Request) -> None:
    request.scope["user"] = object()


@router.get("/value/{number}")
@cached(namespace="known")
async def value(number: int) -> int:
    return number


@router.get("/coded/{number}")
@cached(namespace="known", coder=JsonCoder)
async def coded(number: int) -> int:
    return number


@router.get("/slow")
@cached(namespace="known")
def slow() -> str:
    while not OPENED.exists():
        time.sleep(0.01)
    return "done"


@router.get("/cookie")
@cached(namespace="known")
async def cookie(response: Response) -> str:
    response.set_cookie("name", "value")
    return "done"


@router.get("/missing")
@cached(namespace="known")
async def missing() -> str:
    raise NotFound


@router.get("/failing")
@cached(namespace="known")
async def failing() -> str:
    raise RuntimeError("it fails")


@router.get("/large")
@cached(namespace="known")
async def large() -> str:
    return "x" * 2000


@router.get("/streamed")
@cached(namespace="known")
async def streamed() -> StreamingResponse:
    return StreamingResponse(iter([b"one", b"two"]))


@router.get("/yielded")
@cached(namespace="known")
async def yielded() -> AsyncIterator[int]:
    yield 1


@router.get("/status", dependencies=[Depends(accepted)])
@cached(namespace="known")
async def status() -> str:
    return "done"


@router.get("/overridden")
@cached(namespace="known")
async def overridden(given: int = Depends(original)) -> int:
    return given


@router.get("/unshareable", dependencies=[Depends(someone)])
@cached(namespace="known")
async def unshareable(request: Request) -> str:
    return request.url.path


@router.get("/coded-unshareable", dependencies=[Depends(someone)])
@cached(namespace="known", coder=JsonCoder)
async def coded_unshareable(request: Request) -> str:
    return request.url.path


@router.post("/explicit")
async def explicit() -> None:
    await invalidate_namespace("known")


@router.post("/clear")
async def clear() -> None:
    await FastAPICache.clear(namespace="known")


@router.post("/statement")
async def statement(session: SessionDep) -> None:
    await session.execute(text("CREATE TABLE unmodelled (id INTEGER)"))


@router.post("/unmodelled")
async def unmodelled(session: SessionDep) -> None:
    await session.execute(text("INSERT INTO unmodelled VALUES (1)"))


def create() -> ASGIApp:
    """Return the service; each response names its process."""
    app = create_app()
    app.include_router(router)
    app.dependency_overrides[original] = replacement
    name = (b"x-process", str(os.getpid()).encode())

    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], name]
            await send(message)

        await app(scope, receive, send_named)

    return named
