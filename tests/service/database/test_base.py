from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import select
from sqlalchemy.exc import StatementError

from app.database import Database
from app.models import User


def ada(moment: datetime) -> User:
    return User(
        email="ada@example.com",
        first_name="Ada",
        last_name="Lovelace",
        password_hash="-",
        created_at=moment,
    )


async def test_a_point_in_time_comes_back_in_utc(database: Database) -> None:
    moment = datetime(2026, 1, 2, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    async with database.session() as session:
        session.add(ada(moment))
    async with database.session(writes=False) as session:
        stored = await session.scalar(select(User.created_at))
    assert stored == moment
    assert stored.tzinfo is UTC


async def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="no time zone"):
        async with database.session() as session:
            session.add(ada(datetime(2026, 1, 2)))
