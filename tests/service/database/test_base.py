from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    func,
    insert,
    select,
    type_coerce,
)
from sqlalchemy.exc import StatementError
from sqlalchemy.schema import CreateTable, DropTable

from app.database import Database
from app.database.base import Hundredths
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


async def test_amounts_are_compared_and_summed_in_sql(database: Database) -> None:
    goods = Table(
        "goods", MetaData(), Column("price", Hundredths), Column("number", Integer)
    )
    async with database.session() as session:
        await session.execute(CreateTable(goods))
        for amount in (Decimal("9.90"), Decimal("5.00")):
            await session.execute(insert(goods).values(price=amount, number=2))
        price = goods.c.price
        assert await session.scalar(select(func.sum(price))) == Decimal("14.90")
        cheap = select(func.max(price)).where(price < Decimal(6))
        assert await session.scalar(cheap) == 5
        worth = type_coerce(func.sum(price * goods.c.number), Hundredths)
        assert await session.scalar(select(worth)) == Decimal("29.80")
        await session.execute(DropTable(goods))


async def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="no time zone"):
        async with database.session() as session:
            session.add(ada(datetime(2026, 1, 2)))
