"""BEGIN and COMMIT as texts, on a connection that commits by itself."""

from collections.abc import Sequence

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy import select, text, update

from app.cache import cached
from app.database import SessionDep
from app.models import User
from tests.people import Person

router = APIRouter()


@router.get("/by-hand")
@cached(namespace="begun")
async def get_by_hand(session: SessionDep) -> list[str]:
    return [*await session.scalars(select(User.first_name).order_by(User.id))]


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (router,)


async def test_own_begin_and_commit_are_seen_without_a_transaction_of_sqlalchemy(
    app: FastAPI, client: httpx.AsyncClient, user: Person
) -> None:
    engine = app.state.database.engine
    await client.get("/by-hand")
    async with engine.connect() as connection:
        own = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await own.execute(text("BEGIN"))
        await own.execute(update(User).values(first_name="By hand"))
        await client.get("/by-hand")
        await own.execute(text("COMMIT"))
    assert "By hand" in (await client.get("/by-hand")).json()
