"""What all tables share."""

from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, MetaData
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

# Constraints need names, so that a migration can change them.
NAMING_CONVENTION = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# The id of a row, 64 bits. SQLite numbers rows by itself only in an INTEGER column,
# which has 64 bits there.
RowId = BigInteger().with_variant(Integer(), "sqlite")


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class UTCDateTime(TypeDecorator[datetime]):
    """A point in time: only values with a time zone go in, and UTC comes out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self,
        value: datetime | None,
        dialect: Dialect,
    ) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(
        self,
        value: datetime | None,
        dialect: Dialect,
    ) -> datetime | None:
        if value is None:
            return None
        # SQLite forgets the zone.
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class Hundredths(TypeDecorator[Decimal]):
    """A decimal with two places, such as a price, stored as a whole number of cents.

    SQLite has no exact decimals. Comparing with a Decimal, sorting, `sum`, `min` and
    `max` work in SQL as usual. What else is computed there comes back in cents, unless
    you say what it is: `type_coerce(func.sum(Item.price * Item.number), Hundredths)`.
    Multiplying two of them needs the factor of 100.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(
        self,
        value: Decimal | None,
        dialect: Dialect,
    ) -> int | None:
        if value is None:
            return None
        hundredths = value.scaleb(2)
        if hundredths != hundredths.to_integral_value():
            raise ValueError(f"{value!r} has more than two places")
        return int(hundredths)

    def process_result_value(
        self,
        value: int | None,
        dialect: Dialect,
    ) -> Decimal | None:
        return None if value is None else Decimal(value).scaleb(-2)


def utc_now() -> datetime:
    return datetime.now(UTC)
