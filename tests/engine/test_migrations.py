"""C1: after a migration nothing is served that was made before it."""

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy import select

from app.cache import cached
from app.cache.engine.cache import Cache
from app.cache.engine.exchange import running
from app.config import Settings
from app.database import Database, SessionDep, migrate
from app.models import User
from tests.people import Person
from tests.service.migrations import add_revision

router = APIRouter()


@router.get("/names")
@cached(namespace="users", expire=100)
async def names(session: SessionDep) -> list[str]:
    return list((await session.scalars(select(User.first_name))).all())


@pytest.fixture
def routers() -> tuple[APIRouter, ...]:
    return (router,)


@pytest.fixture
def data_migration(migrations: Path) -> None:
    """Add it to a copy of the folder: tests of other processes read the original."""
    add_revision(
        migrations,
        "op.execute(\"UPDATE users SET first_name = 'New'\")",
        undo="op.execute(\"UPDATE users SET first_name = 'Old'\")",
    )


async def test_a_data_migration_is_seen_by_the_running_service(
    client: httpx.AsyncClient,
    user: Person,
    settings: Settings,
    data_migration: None,
) -> None:
    async def seen() -> tuple[str, list[str]]:
        me = await client.get("/users/me", headers=user.headers)
        return me.json()["first_name"], (await client.get("/names")).json()

    before = await seen()
    assert await seen() == before
    await asyncio.to_thread(migrate.upgrade, settings)
    assert await seen() == ("New", ["New"] * len(before[1]))
    await asyncio.to_thread(migrate.downgrade, settings, "-1")
    assert await seen() == ("Old", ["Old"] * len(before[1]))


async def test_what_was_made_at_another_revision_is_a_miss(
    app: FastAPI, client: httpx.AsyncClient, settings: Settings, database: Database
) -> None:
    """As after a migration from a machine that does not reach the cache."""
    served = running[-1]
    for outcome in ("MISS", "HIT", "HIT"):
        answer = await client.get("/names")
        assert answer.headers["x-fastapi-cache"] == outcome
    current = ", ".join(await migrate.current_revisions(database))
    same = Cache(served.store, settings, current)
    later = Cache(served.store, settings, "the next one")
    assert same._seal == served._seal
    app.state.response_cache.cache = later
    running.append(later)
    try:
        answer = await client.get("/names")
        assert answer.headers["x-fastapi-cache"] == "MISS"
    finally:
        running.remove(later)
        app.state.response_cache.cache = served
