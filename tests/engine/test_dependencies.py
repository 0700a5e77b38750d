"""C1 where an answer holds what a dependency found before the look-up."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from sqlalchemy import select, update

from app.cache import cached, invalidate_namespace, user_scoped_key_builder
from app.cache.engine.cache import Cache
from app.cache.engine.exchange import running
from app.database import Database
from app.managers.auth import AuthManager
from app.models.user import User
from app.schemas.user import UserOut
from tests.engine.each import on_one_storage
from tests.people import Person

pytestmark = on_one_storage


router = APIRouter()
meanwhile: list[Callable[[], Coroutine[Any, Any, None]]] = []


async def others_work() -> None:
    """Let others write, as if they were other requests, between two dependencies."""
    while meanwhile:
        await asyncio.create_task(meanwhile.pop()(), context=contextvars.Context())


async def name_in_database(request: Request) -> str:
    """Read in a transaction that ends with the dependency."""
    database: Database = request.app.state.database
    async with database.session(writes=False) as session:
        name: str | None = await session.scalar(select(User.last_name).limit(1))
    return name or ""


Others = Annotated[None, Depends(others_work)]


@router.get("/mine", response_model=UserOut)
@cached(namespace="user", key_builder=user_scoped_key_builder)
async def mine(user: Annotated[User, Depends(AuthManager())], _: Others) -> User:
    return user


@router.get("/first")
@cached(namespace="users:list")
async def first(name: Annotated[str, Depends(name_in_database)], _: Others) -> str:
    return name


shelf = {"books": 1}


@router.get("/later")
@cached(namespace="later")
async def later(_: Others) -> int:
    return shelf["books"]


@cached(namespace="later")
async def on_shelf() -> int:
    return shelf["books"]


@router.get("/counted")
@cached(namespace="later")
async def counted() -> int:
    return await on_shelf()


@router.post("/counted")
async def count_again(request: Request) -> list[int]:
    before, ours = await on_shelf(), running[-1]
    shelf["books"] += 1
    of_another_process = Cache(ours.store, request.app.state.settings)
    await of_another_process.invalidate(["later"], "a commit")
    return [before, await on_shelf()]


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (router,)


@pytest.mark.parametrize("known", [False, True], ids=["loaded", "remembered"])
@pytest.mark.parametrize("path", ["/mine", "/first"])
async def test_what_a_dependency_found_before_a_write_is_not_stored_after_it(
    app: FastAPI, client: httpx.AsyncClient, user: Person, path: str, known: bool
) -> None:
    async def write() -> None:
        async with app.state.database.session() as session:
            await session.execute(update(User).values(last_name="New"))

    if known:  # the principal comes from the cache
        await client.get("/users/keys", headers=user.headers)
    meanwhile.append(write)
    await client.get(path, headers=user.headers)
    assert "New" in (await client.get(path, headers=user.headers)).text
    assert "New" in (await client.get("/users/me", headers=user.headers)).text


async def test_what_a_dependency_found_is_stored_when_nothing_changed(
    client: httpx.AsyncClient, user: Person
) -> None:
    answers = [await client.get("/mine", headers=user.headers) for _ in range(2)]
    assert [a.headers["x-fastapi-cache"] for a in answers] == ["MISS", "HIT"]


async def test_what_was_read_ahead_is_not_served_after_a_write(
    client: httpx.AsyncClient,
) -> None:
    async def write() -> None:
        shelf["books"] += 1
        await invalidate_namespace("later")

    for _ in range(4):
        assert (await client.get("/later")).json() == shelf["books"]
        meanwhile.append(write)
        assert (await client.get("/later")).json() == shelf["books"]


async def test_nothing_is_read_ahead_for_a_post_to_the_path_of_a_cached_get(
    client: httpx.AsyncClient,
) -> None:
    for _ in range(2):
        await client.get("/counted")
    before, after = (await client.post("/counted")).json()
    assert (before, after) == (shelf["books"] - 1, shelf["books"])
