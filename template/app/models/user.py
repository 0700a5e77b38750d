"""Users: who may log in, and as what."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Enum, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database.base import Base, RowId, UTCDateTime, utc_now


class Role(StrEnum):
    """What a user may do: `user` manages its own profile and keys, `admin` all."""

    user = "user"
    admin = "admin"


class User(Base):
    """A person's account. The e-mail address is the login name, in lower case."""

    __tablename__ = "users"
    # SQLite gives a deleted row's id to the next one unless told otherwise.
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    first_name: Mapped[str] = mapped_column(String(100))
    last_name: Mapped[str] = mapped_column(String(100))
    # Never loaded with the rest, so no response, log or cache can hold it by accident.
    password_hash: Mapped[str] = mapped_column(
        String(255), deferred=True, deferred_raiseload=True
    )
    role: Mapped[Role] = mapped_column(
        Enum(Role, native_enum=False, length=16), default=Role.user, index=True
    )
    banned: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(
        UTCDateTime, default=utc_now, onupdate=utc_now
    )
