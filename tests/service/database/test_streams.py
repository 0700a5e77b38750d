"""A route that streams by `yield` has no session that has ended."""

from collections.abc import AsyncIterable, Callable, Iterable
from functools import partial, wraps
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.config import Settings
from app.database import Database, SessionDep, check_streams, get_session
from app.errors import StartupError
from app.main import create_app
from app.resources.dependencies import Users
from tests.asgi import lifespan, match_first

NUMBERS = text("SELECT 1 UNION SELECT 2")


async def by_session(session: SessionDep) -> AsyncIterable[int]:
    for number in await session.scalars(NUMBERS):
        yield number


def by_def(session: SessionDep) -> Iterable[int]:
    yield 1


async def by_manager(users: Users) -> AsyncIterable[int]:
    yield 1


class Handler:
    async def __call__(self, session: SessionDep) -> AsyncIterable[int]:
        yield 1


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


REFUSED = {
    "session": by_session,
    "def": by_def,
    "manager": by_manager,
    "object": Handler(),
    "decorated": decorated(by_session),
    "partial": partial(by_session),
}


@pytest.mark.parametrize("endpoint", REFUSED.values(), ids=REFUSED)
def test_a_session_that_ends_before_the_stream_is_refused(
    endpoint: Callable[..., Any],
) -> None:
    inner, router, app = APIRouter(), APIRouter(), FastAPI()
    inner.get("/rows")(endpoint)
    router.include_router(inner, prefix="/many")
    app.include_router(router)
    with pytest.raises(StartupError) as refused:
        check_streams(app)
    (line,) = str(refused.value).splitlines()
    assert line.startswith("GET /many/rows streams by yield")
    assert "async with request.app.state.database.session(writes=False)" in line


async def test_the_service_does_not_start_with_one(settings: Settings) -> None:
    app = create_app(settings)
    app.get("/rows")(by_session)
    with pytest.raises(RuntimeError, match="GET /rows streams by yield"):
        async with lifespan(app):
            pass


async def by_own_session(request: Request) -> AsyncIterable[int]:
    database: Database = request.app.state.database
    async with database.session(writes=False) as session:
        for number in await session.scalars(NUMBERS):
            yield number


async def until_the_end(
    session: Annotated[AsyncSession, Depends(get_session)],
) -> AsyncIterable[int]:
    for number in await session.scalars(NUMBERS):
        yield number


async def looks(session: SessionDep) -> None:
    await session.scalars(NUMBERS)


async def test_other_streams_give_their_connections_back(settings: Settings) -> None:
    app = create_app(settings)
    app.get("/of-a-test/own", dependencies=[Depends(looks)])(by_own_session)
    app.get("/of-a-test/until-the-end")(until_the_end)
    match_first(app, 2)
    async with lifespan(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://service"
        ) as client:
            for path in ["/of-a-test/own", "/of-a-test/until-the-end"] * 20:
                answer = await client.get(path)
                assert answer.text.split() == ["1", "2"]
        assert "Current Checked out connections: 0" in _pool(app)


def _pool(app: FastAPI) -> str:
    database: Database = app.state.database
    return database.engine.pool.status()
