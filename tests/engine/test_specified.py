"""The examples of the caching guide work as they stand there."""

from collections.abc import Sequence

import httpx
import pytest
from fastapi import APIRouter
from sqlalchemy import select

from app.cache import (
    invalidate_api_keys_cache,
    invalidate_namespace,
    invalidate_user_cache,
    invalidate_users_list_cache,
)
from app.database import Database
from app.models import User
from tests.engine import specified
from tests.engine.entries import Entries
from tests.people import Person


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return [specified.router]


async def outcomes(
    client: httpx.AsyncClient, path: str, person: Person | None = None
) -> list[str]:
    headers = person.headers if person else None
    answers = [await client.get(f"/specified{path}", headers=headers) for _ in "12"]
    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    assert answers[0].content == answers[1].content
    return [answer.headers["X-FastAPI-Cache"] for answer in answers]


async def test_basic_usage(client: httpx.AsyncClient) -> None:
    assert await outcomes(client, "/expensive-query") == ["MISS", "HIT"]


@pytest.mark.parametrize("path", ["/users/me", "/dashboard"])
async def test_a_user_scoped_route_answers_each_user(
    path: str, client: httpx.AsyncClient, user: Person, other: Person
) -> None:
    assert await outcomes(client, path, user) == ["MISS", "HIT"]
    assert await outcomes(client, path, other) == ["MISS", "HIT"]
    answer = await client.get(f"/specified{path}", headers=user.headers)
    assert "argon2" not in answer.text


async def test_a_custom_key_builder(client: httpx.AsyncClient) -> None:
    assert await outcomes(client, "/products?category=a") == ["MISS", "HIT"]
    assert await outcomes(client, "/products?category=b") == ["MISS", "HIT"]
    await invalidate_namespace("products:list_products:a")
    assert await outcomes(client, "/products?category=a") == ["MISS", "HIT"]
    assert await outcomes(client, "/products?category=b") == ["HIT", "HIT"]


async def test_the_helpers_drop_what_they_name(user: Person) -> None:
    of_user = {f"user:{user.id}", f"users:{user.id}:single"}
    of_keys = {f"apikeys:{user.id}"}
    lists = {"users:list"}
    products = {"products:123"}
    others = {f"user:{user.id}0", f"apikeys:{user.id}0", "users:9:single", "products:1"}
    entries = Entries(of_user | of_keys | lists | products | others)
    await entries.store()
    await invalidate_user_cache(user.id)
    assert await entries.dropped() == of_user
    await invalidate_users_list_cache()
    assert await entries.dropped() == lists
    await invalidate_api_keys_cache(user.id)
    assert await entries.dropped() == of_keys
    await invalidate_namespace("products:123")
    assert await entries.dropped() == products


async def test_the_helpers_are_called_after_commits(
    user: Person, database: Database
) -> None:
    entries = Entries({f"user:{user.id}", "users:list", f"apikeys:{user.id}"})
    await entries.store()
    async with database.sessions() as db:
        row = (await db.scalars(select(User).where(User.id == user.id))).one()
        await specified.after_updating_user_data(db, row)
        await specified.after_changing_roles(db)
        await specified.after_deleting_api_keys(db, row)
    await specified.after_changing_a_product()
    assert len(await entries.dropped()) == 3
